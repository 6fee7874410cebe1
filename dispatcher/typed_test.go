package dispatcher_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/embedded"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

type expiry struct {
	Why  string `json:"why"`
	Days int    `json:"days,omitempty"`
}

// A typed kind's job has its payload as JSON, and can be altered before it is enqueued.
func TestTypedKindMakesJobs(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		k := dispatcher.KindOf[expiry]("k")
		done, err := k.Enqueue(bg, h.Dispatcher, key("a"), expiry{Why: "old"})
		if err != nil || !done.Created || done.Subject != key("a") {
			t.Fatalf("enqueued %+v, %v", done, err)
		}
		job, err := k.Job(key("b"), expiry{"old", 30})
		h.ok(err)
		job.ID, job.MaxAttempts = "b1", 2
		h.enqueue(job)
		got := h.claimed("w", 2)
		for lane, want := range map[string]string{"a": `{"why":"old"}`, "b": `{"why":"old","days":30}`} {
			if c := got[lane]; c.Kind != "k" || string(c.Payload) != want {
				t.Errorf("lane %s has a %q with %s, want a k with %s", lane, c.Kind, c.Payload, want)
			}
		}
		if a, b := got["a"], got["b"]; a.ID != done.ID || b.ID != "b1" || b.MaxAttempts != 2 {
			t.Errorf("the ids are %q and %q with %d attempts, want %q and b1 with 2", a.ID, b.ID, b.MaxAttempts, done.ID)
		}
	})
}

// Rules that are set on a typed kind are those of its jobs, once it is registered.
func TestTypedKindDeclaresRules(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	k := dispatcher.KindOf[expiry]("expire")
	k.Owner, k.MaxAttempts, k.Subject = "storage", 7, "s"
	h := newHouse(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{k.Kind}})
	_, err := k.Enqueue(bg, h.Dispatcher, key("a"), expiry{})
	h.ok(err)
	if c := h.claimedKinds("w", 1, "expire")["a"]; c.MaxAttempts != 7 {
		t.Errorf("the job may be attempted %d times, want 7", c.MaxAttempts)
	}
	if _, err := k.Enqueue(bg, h.Dispatcher, subject.Of("other", 1), expiry{}); !errors.Is(err, dispatcher.ErrInvalid) {
		t.Errorf("a subject of another kind than declared: %v", err)
	}
}

type ring struct{ Next *ring }

type sealed string

func (s sealed) MarshalJSON() ([]byte, error) { return nil, errors.New("can't seal " + string(s)) }

type label struct{ text string }

func (l label) MarshalText() ([]byte, error) { return nil, errors.New("can't label " + l.text) }

// What JSON has no form for is said by its type, and not by what it holds.
func TestTypedKindThatCannotEncode(t *testing.T) {
	t.Parallel()
	round := &ring{}
	round.Next = round
	for name, c := range map[string]struct {
		payload any
		says    string
	}{
		"type":      {map[string]any{"secret": make(chan int)}, "a chan int"},
		"value":     {[]any{"secret", math.Inf(1)}, "a float64"},
		"cycle":     {round, "a *dispatcher_test.ring"},
		"marshaler": {sealed("secret"), "dispatcher_test.sealed"},
		"key":       {map[label]int{{"secret"}: 1}, "key of a map"},
		"number":    {json.Number("secret"), "no number"},
	} {
		_, rdb := redistest.Mini(t)
		h := newHouse(t, rdb, dispatcher.Config{})
		k := dispatcher.KindOf[any]("expire")
		job, err := k.Job(key("a"), c.payload)
		if !errors.Is(err, dispatcher.ErrInvalid) || job.Kind != "" {
			t.Errorf("%s: job %+v, %v; want none and ErrInvalid", name, job, err)
			continue
		}
		for _, hidden := range []string{"secret", "Inf"} {
			if strings.Contains(err.Error(), hidden) {
				t.Errorf("%s: the error shows %q: %v", name, hidden, err)
			}
		}
		for _, said := range []string{`kind "expire"`, c.says} {
			if !strings.Contains(err.Error(), said) {
				t.Errorf("%s: the error does not say %q: %v", name, said, err)
			}
		}
		if _, err := k.Enqueue(bg, h.Dispatcher, key("a"), c.payload); !errors.Is(err, dispatcher.ErrInvalid) {
			t.Errorf("%s: enqueued, %v", name, err)
		}
		h.none("w")
	}
}

// A malformed name or key is found when a job is enqueued.
func TestTypedKindIsCheckedAtEnqueue(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	h := newHouse(t, rdb, dispatcher.Config{})
	for name, try := range map[string]func() (dispatcher.EnqueueResult, error){
		"kind": func() (dispatcher.EnqueueResult, error) {
			return dispatcher.KindOf[int]("a b").Enqueue(bg, h.Dispatcher, key("a"), 1)
		},
		"subject": func() (dispatcher.EnqueueResult, error) {
			return dispatcher.KindOf[int]("k").Enqueue(bg, h.Dispatcher, key(""), 1)
		},
	} {
		if _, err := try(); !errors.Is(err, dispatcher.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want one that says so", name, err)
		}
	}
}

func ExampleKindOf() {
	server, err := embedded.Start("127.0.0.1:0") // use your Redis here
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	type Expiry struct{ Why string }
	expire := dispatcher.KindOf[Expiry]("expire")
	expire.Owner, expire.MaxAttempts = "storage", 3

	ctx := context.Background()
	d, err := dispatcher.Connect(ctx, server.URL(), expire.Kind)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	done, err := expire.Enqueue(ctx, d, subject.Of("artifact", 42), Expiry{Why: "old"})
	fmt.Println(done.Subject, done.Created, err)
	// Output:
	// artifact:42 true <nil>
}

// Rules are fields of the kind. They count because its Kind is passed to Connect.
func ExampleKindOf_rules() {
	server, err := embedded.Start("127.0.0.1:0") // use your Redis here
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	type Expiry struct{ Why string }
	expire := dispatcher.KindOf[Expiry]("expire")
	expire.Owner = "storage"                                                 // required of a kind that is declared
	expire.MaxAttempts = 5                                                   // four retries
	expire.Backoff = dispatcher.Backoff{Base: time.Second, Cap: time.Minute} // 0.75 to 1 s, 1.5 to 2 s, and so on
	expire.Limit, expire.Every = 10, 100*time.Millisecond                    // at once, and between starts, in all processes
	expire.OnFailure = dispatcher.Skip                                       // the lane goes on meanwhile

	ctx := context.Background()
	d, err := dispatcher.Connect(ctx, server.URL(), expire.Kind)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	kind, _ := d.Declared("expire")
	fmt.Printf("%s of %s: %d attempts, %d at once, version %d\n", kind.Name, kind.Owner, kind.MaxAttempts, kind.Limit, kind.Version)
	_, err = d.Enqueue(ctx, dispatcher.NewJob{Subject: subject.Of("artifact", 42), Kind: "move"})
	fmt.Println("another kind is refused:", errors.Is(err, dispatcher.ErrUndeclared))
	// Output:
	// expire of storage: 5 attempts, 10 at once, version 1
	// another kind is refused: true
}

func ExampleTypedKind_Job() {
	notify := dispatcher.KindOf[[]string]("notify")
	job, err := notify.Job(subject.Of("repo", "main"), []string{"ann", "bob"})
	if err != nil {
		log.Fatal(err)
	}
	job.ID, job.Delay = "tell-1", time.Minute // then d.Enqueue(ctx, job), or several with d.EnqueueMany
	fmt.Printf("%s of %s: %s\n", job.Kind, job.Subject, job.Payload)
	// Output:
	// notify of repo:main: ["ann","bob"]
}
