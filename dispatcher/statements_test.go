package dispatcher_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// C2: the claim counts the attempt, so a job that kills its worker each time has an end: it waits longer from crash to
// crash, is a dead letter after its last attempt, and its lane goes on. A hand-back in between costs it nothing.
func TestC2_AJobThatKillsItsWorkers(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "killer", MaxAttempts: 4})
		h.enqueued("a", "next")
		h.ok(h.HandBack(bg, h.head("drained", "killer", 1)))
		var waits []time.Duration
		for attempt := 1; attempt <= 4; attempt++ {
			h.head(fmt.Sprint("w", attempt), "killer", attempt)
			h.advance(10 * time.Second)
			r := h.reaped()
			if r.Expired != 1 || (r.Buried == 1) != (attempt == 4) {
				t.Fatalf("attempt %d: %+v", attempt, r)
			}
			if attempt == 4 {
				break
			}
			waited := time.Duration(0)
			for ; h.reaped().Next > 0; waited += 500 * time.Millisecond {
				h.advance(500 * time.Millisecond)
			}
			waits = append(waits, waited)
		}
		if want := []time.Duration{0, time.Second, 2 * time.Second}; !slices.Equal(waits, want) {
			t.Errorf("it waited %v between its attempts, want %v", waits, want)
		}
		dead, _, err := h.DeadLetters(bg, dispatcher.DeadFilter{}, inspect.Page{})
		if err != nil || len(dead) != 1 || dead[0].ID != "killer" || dead[0].Reason != "worker lost" || dead[0].Attempt != 4 {
			t.Errorf("dead letters %+v, %v", dead, err)
		}
		h.head("w5", "next", 1)
		h.clean()
	})
}
