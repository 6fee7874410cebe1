package worker

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// A pool says how many dead letters it has removed of each kind, or why it could not look, and looks again after
// either.
func TestPoolPrunes(t *testing.T) {
	t.Parallel()
	f, d := newFake(), &diary{}
	f.pruned = map[string]int{"b": 1, "a": 30}
	f.pruning = errors.New("boom")
	_, err := pooled(t, Config{Logger: d.logger(slog.LevelInfo)}, f, func(p *Pool) {
		p.Handle("k", func(context.Context, []byte) error { return nil })
	}, func(*Pool) {
		time.Sleep(time.Minute)
		f.set(func() { f.pruned, f.pruning = map[string]int{"c": 2}, nil })
		time.Sleep(session.PruneEvery)
		f.set(func() { f.pruned = nil })
		time.Sleep(3 * session.PruneEvery)
	})
	if err != nil {
		t.Fatal(err)
	}
	d.once(t, "dead letters were not looked at", map[string]any{"level": "WARN", "err": "boom"})
	removed := make(map[any]any)
	for _, line := range d.says(t, "dead letters removed") {
		if line["level"] != "INFO" {
			t.Errorf("it is said as %v", line)
		}
		removed[line["kind"]] = line["count"]
	}
	if len(removed) != 3 || removed["a"] != 30.0 || removed["b"] != 1.0 || removed["c"] != 2.0 {
		t.Errorf("removed are %v", removed)
	}
}
