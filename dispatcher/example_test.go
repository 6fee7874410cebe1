package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/embedded"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

func ExampleDispatcher_Claim() {
	server, err := embedded.Start("127.0.0.1:0") // use your Redis here
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := server.Client()
	defer rdb.Close()

	ctx := context.Background()
	d, err := dispatcher.Open(ctx, dispatcher.Config{Redis: rdb})
	if err != nil {
		log.Fatal(err)
	}
	build := subject.Key{Kind: "build", ID: "17"}
	if _, err := d.Enqueue(ctx, dispatcher.NewJob{Subject: build, Kind: "publish", ID: "p1"}); err != nil {
		log.Fatal(err)
	}

	me := dispatcher.Claimant{Holder: dispatcher.NewHolder(), Kinds: []string{"publish"}, TTL: 30 * time.Second}
	claims, err := d.Claim(ctx, me, 10)
	if err != nil {
		log.Fatal(err)
	}
	claim := claims[0]
	fmt.Println(claim.ID, "of", claim.Subject, "attempt", claim.Attempt)
	fmt.Println("finish:", d.Finish(ctx, claim))
	fmt.Println("finish again is refused:", errors.Is(d.Finish(ctx, claim), lease.ErrLost))
	// Output:
	// p1 of build:17 attempt 1
	// finish: <nil>
	// finish again is refused: true
}
