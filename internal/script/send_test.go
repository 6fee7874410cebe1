package script

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/subject"
)

// A caller has one request in flight (I9): one whose request was given up is not free until that
// has ended, or the server would take the next one for a repeat, or the late one for stale.
func TestI9_AGivenUpRequestKeepsItsCaller(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and answers nothing
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: silent.Addr().String(), MaxRetries: -1, DialerRetries: 1, ReadTimeout: time.Second})
	r := NewRunner(rdb, subject.Namespace{Name: "n", Partitions: 1}, nil)
	s := New("s", "return {}")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	first := r.Once(0, s, nil)
	r.Run(ctx, first)
	if _, err := first.Words(); !errors.Is(err, connect.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the request that was given up: %v", err)
	}
	if second := r.Once(0, s, nil); second.caller == first.caller {
		t.Fatal("its caller has a second request while it is under way")
	}
	_ = silent.Close()
	_ = rdb.Close()
	for ended := false; !ended; time.Sleep(time.Millisecond) { // it ends with its connection, and its caller is free
		r.mu.Lock()
		ended = len(r.idle) == 1 && r.idle[0] == first.caller
		r.mu.Unlock()
	}
	// What never set out frees its caller at once.
	third := r.Once(0, s, nil)
	r.Ride(ctx, third)
	if _, err := third.Words(); !errors.Is(err, ErrNotSent) || errors.Is(err, connect.ErrUnavailable) || len(r.idle) != 1 {
		t.Errorf("after the deadline: %v, %d callers are free", err, len(r.idle))
	}
}
