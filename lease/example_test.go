package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/embedded"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

func ExampleStore_Acquire() {
	server, err := embedded.Start("127.0.0.1:0") // use your Redis here
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := server.Client()
	defer rdb.Close()

	ctx := context.Background()
	store := lease.NewStore(rdb, subject.Namespace{Name: "demo", Partitions: 8}, nil)
	artifact := subject.Key{Kind: "artifact", ID: "42"}

	mine, err := store.Acquire(ctx, artifact, "me", 30*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	_, err = store.Acquire(ctx, artifact, "somebody else", 30*time.Second)
	fmt.Println("held by somebody:", errors.Is(err, lease.ErrHeld))
	fmt.Println("released:", store.Release(ctx, mine))
	// Output:
	// held by somebody: true
	// released: <nil>
}
