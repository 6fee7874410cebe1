// Command hello enqueues a job and runs it, and all others of its kind, until it is interrupted.
// It is what a first program needs, and no more.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/subject"
	"github.com/lanekeeper/lanekeeper/worker"
)

var expire = dispatcher.KindOf[string]("expire")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	d, err := dispatcher.Connect(ctx, os.Getenv("LANEKEEPER_REDIS"))
	check(err)
	defer d.Close()
	_, err = expire.Enqueue(ctx, d, subject.Of("artifact", 42), "it is old")
	check(err)
	pool, err := worker.New(d, worker.Config{})
	check(err)
	worker.Handle(pool, expire, func(ctx context.Context, why string) error {
		claim, _ := worker.FromContext(ctx)
		log.Printf("expiring %s: %s, token %s", claim.Subject, why, claim.Lease.Token)
		return nil
	})
	check(pool.Run(ctx))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
