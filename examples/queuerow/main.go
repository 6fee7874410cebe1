// Command queuerow shows two producers that create the queue entry of one build: each looks
// whether there is one, and makes one when there is none. Both look before either has made it,
// and two entries appear. With a unique key one appears, and both get its id.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/embedded"
	"github.com/lanekeeper/lanekeeper/subject"
)

const builds = 200

// run lets a queue builder and a build manager each see to it that every build has an entry, and
// returns how many builds have two.
func run(ctx context.Context, unique bool) (twice int, err error) {
	server, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer server.Close()
	rdb := server.Client()
	defer rdb.Close()
	d, err := dispatcher.Open(ctx, dispatcher.Config{Redis: rdb})
	if err != nil {
		return 0, err
	}
	ensure := lookFirst
	if unique {
		ensure = withKey
	}
	for i := range builds {
		build := subject.Key{Kind: "build", ID: fmt.Sprint(i)}
		var both sync.WaitGroup
		errs := make([]error, 2)
		for producer := range 2 {
			both.Go(func() { errs[producer] = ensure(ctx, d, build) })
		}
		both.Wait()
		if err := errors.Join(errs...); err != nil {
			return 0, err
		}
		lane, err := inspect.New(d).Lane(ctx, build, inspect.Page{})
		if err != nil {
			return 0, err
		}
		if lane.Depth > 1 {
			twice++
		}
	}
	return twice, nil
}

// lookFirst is how it was done: look, then make.
func lookFirst(ctx context.Context, d *dispatcher.Dispatcher, build subject.Key) error {
	_, err := inspect.New(d).Lane(ctx, build, inspect.Page{})
	if !errors.Is(err, dispatcher.ErrNotFound) {
		return err
	}
	_, err = d.Enqueue(ctx, dispatcher.NewJob{Subject: build, Kind: "dispatch"})
	return err
}

// withKey leaves the look to Redis.
func withKey(ctx context.Context, d *dispatcher.Dispatcher, build subject.Key) error {
	_, err := d.Enqueue(ctx, dispatcher.NewJob{
		Subject: build, Kind: "dispatch",
		Unique: &dispatcher.Unique{Key: "queue entry", Scope: dispatcher.WhileWaitingOrRunning},
	})
	return err
}

func main() {
	for _, unique := range []bool{false, true} {
		twice, err := run(context.Background(), unique)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		how := map[bool]string{false: "look, then enqueue", true: "unique key"}[unique]
		fmt.Printf("%-20s %3d of %d builds have two queue entries\n", how, twice, builds)
		if unique && twice > 0 {
			os.Exit(4)
		}
	}
}
