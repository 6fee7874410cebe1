// Command crates publishes 200 crates, 3 versions each, at once: with one worker for all, as a
// serial queue needs, and with a lane for each crate.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/embedded"
	"github.com/lanekeeper/lanekeeper/subject"
	"github.com/lanekeeper/lanekeeper/worker"
)

const (
	crates   = 200
	versions = 3
	takes    = 5 * time.Millisecond // to publish one
)

// run publishes everything and returns how long it took, and how many versions were published
// before an earlier one of their crate.
func run(ctx context.Context, workers int) (took time.Duration, disorder int, err error) {
	server, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		return 0, 0, err
	}
	defer server.Close()
	rdb := server.Client()
	defer rdb.Close()
	d, err := dispatcher.Open(ctx, dispatcher.Config{Redis: rdb})
	if err != nil {
		return 0, 0, err
	}
	var jobs []dispatcher.NewJob
	for version := range versions {
		for crate := range crates {
			jobs = append(jobs, dispatcher.NewJob{
				Subject: subject.Key{Kind: "crate", ID: fmt.Sprint(crate)}, Kind: "publish", Payload: []byte{byte(version)},
			})
		}
	}
	for from := 0; from < len(jobs); from += dispatcher.MaxBatch {
		if _, err := d.EnqueueMany(ctx, jobs[from:min(from+dispatcher.MaxBatch, len(jobs))]); err != nil {
			return 0, 0, err
		}
	}
	pool, err := worker.New(d, worker.Config{Concurrency: workers, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		return 0, 0, err
	}
	var mu sync.Mutex
	published, n := make(map[string]int), 0
	all := make(chan struct{})
	pool.Handle("publish", func(ctx context.Context, payload []byte) error {
		claim, _ := worker.FromContext(ctx)
		time.Sleep(takes)
		mu.Lock()
		defer mu.Unlock()
		if published[claim.Subject.ID] != int(payload[0]) {
			disorder++
		}
		published[claim.Subject.ID]++
		if n++; n == len(jobs) {
			close(all)
		}
		return nil
	})
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	begin := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	select {
	case <-all:
	case err := <-ended:
		return 0, 0, err
	}
	took = time.Since(begin)
	stop()
	return took, disorder, <-ended
}

func main() {
	for _, workers := range []int{1, 50} {
		took, disorder, err := run(context.Background(), workers)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Printf("%2d handlers: %d crates x %d versions in %5.2f s, %d out of order\n", workers, crates, versions, took.Seconds(), disorder)
		if disorder > 0 {
			os.Exit(4)
		}
	}
}
