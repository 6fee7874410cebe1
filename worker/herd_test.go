package worker

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Many idle workers lose their server at once, and find it again: not all in one moment,
// and work goes on before the last of them is back.
func TestHerd(t *testing.T) {
	workers := 150
	if redistest.ChaosTime() > 0 {
		workers = 1000
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		limit.Cur = limit.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	s := redistest.Own(t, "--appendonly", "yes", "--maxclients", "20000")
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	var ran atomic.Int64
	open := func() *dispatcher.Dispatcher {
		rdb := connect.New(&redis.Options{Addr: s.Addr})
		t.Cleanup(func() { _ = rdb.Close() })
		d, err := dispatcher.Open(ctx, dispatcher.Config{Redis: rdb, Namespace: "herd", Partitions: 4})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for range workers {
		p, err := New(open(), Config{Concurrency: 1, LeaseTTL: 5 * time.Second, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		p.Handle("k", func(context.Context, []byte) error { ran.Add(1); return nil })
		all.Go(func() { _ = p.Run(ctx) })
	}
	rdb := redistest.ClientOf(t, s)
	number := func(section, name string) int {
		return int(redistest.InfoNumber(rdb.Info(ctx, section).Val(), name+":"))
	}
	waiting := func() bool { return number("clients", "blocked_clients") == workers }
	redistest.Until(t, "all wait", waiting)

	s.Kill()
	time.Sleep(2 * time.Second) // away for a while
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	producer := open()
	if _, err := producer.Enqueue(ctx, dispatcher.NewJob{Subject: subject.Key{Kind: "s", ID: "a"}, Kind: "k"}); err != nil {
		t.Fatal(err)
	}
	var first time.Duration
	most, before := 0, number("stats", "total_connections_received")
	for !waiting() {
		next := time.Now().Add(100 * time.Millisecond)
		for time.Now().Before(next) {
			time.Sleep(5 * time.Millisecond)
			if first == 0 && ran.Load() > 0 {
				first = time.Since(begin)
			}
		}
		now := number("stats", "total_connections_received")
		most, before = max(most, now-before), now
		if time.Since(begin) > time.Minute {
			t.Fatalf("after a minute %d of %d workers wait again", number("clients", "blocked_clients"), workers)
		}
	}
	took := time.Since(begin)
	redistest.Until(t, "the job has run", func() bool { return ran.Load() == 1 })
	if first == 0 {
		first = took
	}
	total := number("stats", "total_connections_received")
	// Were all to come at once, a tenth of a second would see all of them.
	if most > total/2 {
		t.Errorf("%d of %d connections came within 100ms", most, total)
	}
	if first > 10*time.Second {
		t.Errorf("the first job ran only after %s", first)
	}
	redistest.Figure(t, fmt.Sprintf("%d idle workers and a Redis restart", workers),
		"all back after %s, a job ran after %s; %d connections, at most %d of them within 100ms",
		took.Round(10*time.Millisecond), first.Round(10*time.Millisecond), total, most)
}
