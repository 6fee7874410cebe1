package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
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
		pool, err := newPool(Config{}, func(context.Context, session.Claimant, int) (source, error) {
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

// A pool does not start with a kind that it may not handle so: it would break a promise with its first job.
func TestPoolThatMayNotHandleAKind(t *testing.T) {
	t.Parallel()
	one := func(context.Context, []byte) error { return nil }
	many := func(context.Context, []dispatcher.Job) []error { return nil }
	halts, rated := dispatcher.Kind{Name: "k", OnFailure: dispatcher.Halt}, dispatcher.Kind{Name: "k", Every: time.Second}
	for name, c := range map[string]struct {
		kind  dispatcher.Kind
		check error
		batch int // of Config
		setUp func(*Pool)
		says  string
	}{
		"plain":                  {kind: dispatcher.Kind{Name: "k"}, batch: 5},
		"halt, one by one":       {kind: halts, batch: 1},
		"every, one by one":      {kind: rated, batch: 1},
		"of another pool":        {kind: dispatcher.Kind{Name: "k"}, check: errBoom, says: "boom"},
		"halt, in a batch":       {kind: halts, batch: 2, says: "must be 1"},
		"every, in a batch":      {kind: rated, batch: 2, says: "must be 1"},
		"halt, a batch handler":  {kind: halts, setUp: func(p *Pool) { p.HandleBatch("k", 1, many) }, says: "no batch handler"},
		"every, a batch handler": {kind: rated, setUp: func(p *Pool) { p.HandleBatch("k", 2, many) }, says: "must be 1"},
	} {
		cfg := Config{LaneBatch: map[string]int{"k": max(c.batch, 1)}, Logger: quiet()}
		joined := errors.New("joined") // nothing was in the way
		p, err := newPool(cfg, func(context.Context, session.Claimant, int) (source, error) { return nil, joined })
		if err != nil {
			t.Fatal(err)
		}
		p.check = func(string, string) error { return c.check }
		p.declared = func(string) (dispatcher.DeclaredKind, bool) { return dispatcher.DeclaredKind{Kind: c.kind}, true }
		if c.setUp == nil {
			c.setUp = func(p *Pool) { p.Handle("k", one) }
		}
		c.setUp(p)
		switch err := p.Run(t.Context()); {
		case c.says == "" && !errors.Is(err, joined):
			t.Errorf("%s: it does not start: %v", name, err)
		case c.says != "" && (err == nil || errors.Is(err, joined) || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: Run returned %v, want %q", name, err, c.says)
		}
		if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "only once") {
			t.Errorf("%s: a second Run returned %v", name, err)
		}
	}
}
