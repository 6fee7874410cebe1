package inspect_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"slices"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/embedded"
	"github.com/lanekeeper/lanekeeper/subject"
	"github.com/lanekeeper/lanekeeper/worker"
)

// Dead letters are listed page by page and put back in their order; then their lane is listed.
func Example() {
	server, err := embedded.Start("127.0.0.1:0") // use your Redis here
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	d, err := dispatcher.Connect(ctx, server.URL())
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	threeDie(ctx, d)

	look := inspect.New(d)
	var letters []inspect.JobInfo
	for page := (inspect.Page{Limit: 2}); ; {
		more, next, err := look.DeadLetters(ctx, dispatcher.DeadFilter{}, page) // the latest first
		if err != nil {
			log.Fatal(err)
		}
		for _, letter := range more {
			fmt.Printf("%s of %s died after %d attempt: %s\n", letter.ID, letter.Subject, letter.Attempt, letter.Error)
		}
		letters = append(letters, more...)
		if next == "" {
			break
		}
		fmt.Println("the next page:")
		page.Cursor = next
	}
	slices.SortFunc(letters, func(a, b inspect.JobInfo) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, letter := range letters {
		if _, err := d.Replay(ctx, letter.Ref(), false); err != nil {
			log.Fatal(err)
		}
	}

	lanes, _, err := look.Lanes(ctx, inspect.LaneFilter{State: inspect.Ready}, inspect.Page{})
	if err != nil {
		log.Fatal(err)
	}
	for _, lane := range lanes {
		fmt.Printf("%s is %s with %d jobs, first %s\n", lane.Subject, lane.State, lane.Depth, lane.HeadID)
	}
	// Output:
	// e3 of artifact:42 died after 1 attempt: no such bucket
	// e2 of artifact:42 died after 1 attempt: no such bucket
	// the next page:
	// e1 of artifact:42 died after 1 attempt: no such bucket
	// artifact:42 is ready with 3 jobs, first e1
}

// threeDie makes three dead letters of one lane.
func threeDie(ctx context.Context, d *dispatcher.Dispatcher) {
	for _, id := range []string{"e1", "e2", "e3"} {
		if _, err := d.Enqueue(ctx, dispatcher.NewJob{Subject: subject.Of("artifact", 42), Kind: "expire", ID: id}); err != nil {
			log.Fatal(err)
		}
	}
	pool, err := worker.New(d, worker.Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(ctx)
	pool.Handle("expire", func(ctx context.Context, _ []byte) error {
		if claim, _ := worker.FromContext(ctx); claim.ID == "e3" {
			stop()
		}
		return worker.Permanent(errors.New("no such bucket"))
	})
	if err := pool.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
