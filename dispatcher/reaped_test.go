package dispatcher_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// C14: whoever reaps learns of each attempt that was lost which job's it was, whose, under which
// token, and what became of the job.
func TestC14_ReapedTellsWhatWasLost(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{
			{Name: "k", Owner: "o"}, {Name: "batch", Owner: "o"}, {Name: "halt", Owner: "o", OnFailure: dispatcher.Halt},
			{Name: "skip", Owner: "o", OnFailure: dispatcher.Skip},
		}})
		put := func(kind, id string, attempts int) {
			h.enqueue(dispatcher.NewJob{Subject: key(strings.TrimRight(id, "123")), Kind: kind, ID: id, MaxAttempts: attempts})
		}
		put("k", "again", 3)
		put("k", "dies", 1)
		put("k", "stops", 3)
		put("halt", "halts", 1)
		put("skip", "steps aside", 3)
		for i := 1; i <= 3; i++ {
			put("batch", fmt.Sprint("batch", i), i)
		}
		who := session.Claimant{
			Holder: "gone", Kinds: []string{"k", "batch", "halt", "skip"}, TTL: time.Second, LaneBatch: map[string]int{"batch": 3},
		}
		claims, err := h.Claim(bg, who, 10)
		h.ok(err)
		if len(claims) != 6 {
			t.Fatalf("claimed %d lanes", len(claims))
		}
		_, err = h.Cancel(bg, ref("stops"))
		h.ok(err)
		h.advance(time.Minute) // long after the leases have ended, which is what counts
		r := h.reaped()
		var got []string
		for _, l := range r.Lost {
			i := slices.IndexFunc(claims, func(c session.Claim) bool { return c.Subject == l.Subject })
			if i < 0 || l.Token != claims[i].Lease.Token || l.Holder != "gone" || l.Attempt != 1 || l.Along != (l.Took == 0) || !l.Along && l.Took != time.Second {
				t.Errorf("%+v", l)
			}
			got = append(got, fmt.Sprintf("%s %s %s %t", l.Kind, l.Job, l.Became, l.Along))
		}
		slices.Sort(got)
		want := []string{
			"batch batch1 dead false", "batch batch2  true", "batch batch3  true",
			"halt halts halted false", "k again  false", "k dies dead false", "k stops cancelled false", "skip steps aside  false",
		}
		if !slices.Equal(got, want) || r.Buried != 2 {
			t.Errorf("lost %q, %d buried, want %q and 2", got, r.Buried, want)
		}
		h.clean()
	})
}
