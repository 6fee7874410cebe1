package worker_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"testing"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/embedded"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
	"github.com/lanekeeper/lanekeeper/worker"
)

type expiry struct{ Why string }

func newTypedPool(t *testing.T) (*dispatcher.Dispatcher, *worker.Pool) {
	t.Helper()
	_, rdb := redistest.Mini(t)
	d, err := dispatcher.Open(t.Context(), dispatcher.Config{Redis: rdb})
	if err != nil {
		t.Fatal(err)
	}
	p, err := worker.New(d, worker.Config{Concurrency: 1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return d, p
}

// What is enqueued with a typed kind arrives in its handler as it was; what is of another form does not arrive.
func TestHandleGetsWhatWasEnqueued(t *testing.T) {
	t.Parallel()
	d, p := newTypedPool(t)
	expire, lane := dispatcher.KindOf[expiry]("expire"), subject.Of("artifact", 42)
	if _, err := d.Enqueue(t.Context(), dispatcher.NewJob{Subject: lane, Kind: "expire", ID: "bad", Payload: []byte(`{"Why":17}`)}); err != nil {
		t.Fatal(err)
	}
	if _, err := expire.Enqueue(t.Context(), d, lane, expiry{Why: "old"}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var got []expiry
	worker.Handle(p, expire, func(ctx context.Context, e expiry) error {
		defer stop()
		got = append(got, e)
		if claim, ok := worker.FromContext(ctx); !ok || claim.Subject != lane || claim.Lease.Token == 0 {
			t.Errorf("it runs under %+v, %t", claim.Lease, ok)
		}
		return nil
	})
	if err := p.Run(ctx); err != nil {
		t.Error(err)
	}
	if len(got) != 1 || got[0].Why != "old" {
		t.Errorf("the handler got %+v, want what was enqueued", got)
	}
	if n := p.Counts(); n.Finished != 1 || n.Dead != 1 {
		t.Errorf("%+v, want one finished and one dead", n)
	}
}

// Mistakes in a program are found before the first job.
func TestHandlePanics(t *testing.T) {
	t.Parallel()
	_, p := newTypedPool(t)
	fine := func(context.Context, int) error { return nil }
	worker.Handle(p, dispatcher.KindOf[int]("there"), fine)
	for name, try := range map[string]func(){
		"malformed": func() { worker.Handle(p, dispatcher.KindOf[int]("a b"), fine) },
		"twice":     func() { worker.Handle(p, dispatcher.KindOf[int]("there"), fine) },
		"none":      func() { worker.Handle(p, dispatcher.KindOf[int]("k"), nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: it is taken", name)
				}
			}()
			try()
		}()
	}
}

func ExampleHandle() {
	server, err := embedded.Start("127.0.0.1:0") // use your Redis here
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	ctx, stop := context.WithCancel(context.Background())
	d, err := dispatcher.Connect(ctx, server.URL())
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	type Expiry struct{ Why string }
	expire := dispatcher.KindOf[Expiry]("expire")
	if _, err := expire.Enqueue(ctx, d, subject.Of("artifact", 42), Expiry{Why: "old"}); err != nil {
		log.Fatal(err)
	}

	pool, err := worker.New(d, worker.Config{})
	if err != nil {
		log.Fatal(err)
	}
	worker.Handle(pool, expire, func(ctx context.Context, e Expiry) error {
		claim, _ := worker.FromContext(ctx) // claim.Lease.Token goes along to stores that check it
		fmt.Println("expiring", claim.Subject, "because it is", e.Why)
		stop()
		return nil
	})
	fmt.Println("stopped:", pool.Run(ctx))
	// Output:
	// expiring artifact:42 because it is old
	// stopped: <nil>
}
