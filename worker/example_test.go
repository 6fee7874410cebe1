package worker_test

import (
	"context"
	"fmt"
	"log"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/embedded"
	"github.com/lanekeeper/lanekeeper/subject"
	"github.com/lanekeeper/lanekeeper/worker"
)

func Example() {
	server, err := embedded.Start("127.0.0.1:0") // use your Redis here
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := server.Client()
	defer rdb.Close()

	ctx, stop := context.WithCancel(context.Background())
	d, err := dispatcher.Open(ctx, dispatcher.Config{Redis: rdb})
	if err != nil {
		log.Fatal(err)
	}
	artifact := subject.Key{Kind: "artifact", ID: "42"}
	for _, kind := range []string{"move", "expire"} {
		if _, err := d.Enqueue(ctx, dispatcher.NewJob{Subject: artifact, Kind: kind}); err != nil {
			log.Fatal(err)
		}
	}

	pool, err := worker.New(d, worker.Config{})
	if err != nil {
		log.Fatal(err)
	}
	pool.Handle("move", func(ctx context.Context, _ []byte) error {
		claim, _ := worker.FromContext(ctx)
		fmt.Println("moving", claim.Subject)
		return nil
	})
	pool.Handle("expire", func(context.Context, []byte) error {
		fmt.Println("expiring it, after the move")
		stop()
		return nil
	})
	fmt.Println("stopped:", pool.Run(ctx))
	// Output:
	// moving artifact:42
	// expiring it, after the move
	// stopped: <nil>
}
