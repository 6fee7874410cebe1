package dispatcher_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// H1: a section that panics or ends its goroutine gives its lease back, and the panic is the caller's.
func TestH1_SectionGivesItsLeaseBack(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		for name, end := range map[string]func(){"panic": func() { panic("ouch") }, "Goexit": runtime.Goexit} {
			for how, section := range map[string]func(fn func(context.Context) error) error{
				"Do": func(fn func(context.Context) error) error { return h.Do(bg, key("a"), 0, fn) },
				"DoOrEnqueue": func(fn func(context.Context) error) error {
					_, _, err := h.DoOrEnqueue(bg, dispatcher.NewJob{Subject: key("a"), Kind: "k"}, fn)
					return err
				},
			} {
				caught := make(chan any)
				go func() {
					defer func() { caught <- recover() }()
					_ = section(func(context.Context) error { end(); return nil })
				}()
				if got := <-caught; (got == "ouch") != (name == "panic") {
					t.Errorf("%s in %s: the caller gets %v", name, how, got)
				}
				if err := h.Do(bg, key("a"), 0, func(context.Context) error { return nil }); err != nil {
					t.Errorf("after a %s in %s: %v", name, how, err)
				}
			}
		}
	})
}
