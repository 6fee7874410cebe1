package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/embedded"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

func ExampleSession_Turns() {
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

	me := session.Claimant{Holder: session.NewHolder(), Kinds: []string{"publish"}, TTL: 30 * time.Second}
	s, err := session.Join(ctx, d, me, 10)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)
	p := d.Namespace().Partition(build)
	turned := s.Turns(ctx, []session.Turn{{Partition: p, Claim: true, Want: 10}})[0]
	if turned.Err != nil {
		log.Fatal(turned.Err)
	}
	claim := turned.Claims[0]
	fmt.Println(claim.ID, "of", claim.Subject, "attempt", claim.Attempt)
	done := []session.Turn{{Partition: p, Ends: []session.End{{Claim: &claim, Outcome: session.Finished}}}}
	fmt.Println("finish:", s.Turns(ctx, done)[0].Ended[0].Err)
	fmt.Println("finish again is refused:", errors.Is(s.Turns(ctx, done)[0].Ended[0].Err, lease.ErrLost))
	// Output:
	// p1 of build:17 attempt 1
	// finish: <nil>
	// finish again is refused: true
}
