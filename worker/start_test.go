package worker

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/lanekeeper/lanekeeper/dispatcher"
)

// A pool that is told to stop before its start is done has not failed; one that can't start has.
func TestD9_StopBeforeTheStart(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	for _, c := range []struct {
		stop bool
		join error
		want error
	}{
		{true, context.Canceled, nil},
		{true, fmt.Errorf("beat: %w", context.Canceled), nil},
		{true, away, nil}, // whatever else is wrong: nobody wants to know any more
		{false, away, away},
	} {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		pool, err := newPool(Config{}, func(context.Context, dispatcher.Claimant, int) (Source, error) {
			if c.stop {
				stop()
			}
			return nil, c.join
		})
		if err != nil {
			t.Fatal(err)
		}
		pool.Handle("k", func(context.Context, []byte) error { return nil })
		if err := pool.Run(ctx); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("join says %v and stop is %t: Run returns %v, want %v", c.join, c.stop, err, c.want)
		}
	}
}
