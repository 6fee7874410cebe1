package lanes

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// open opens a namespace of one partition that is this test's own.
func open(t *testing.T, rdb *redis.Client) *Namespace {
	t.Helper()
	n, err := Open(t.Context(), Config{Redis: rdb, Name: redistest.Namespace(t, rdb), PerMaster: 1})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// signal waits for a signal that must come.
func signal(t *testing.T, what string, heard <-chan struct{}) {
	t.Helper()
	select {
	case <-heard:
	case <-time.After(20 * time.Second):
		t.Fatalf("no signal %s", what)
	}
}

// channels are those of a namespace that anybody listens to.
func channels(t *testing.T, rdb *redis.Client, namespace string) []string {
	t.Helper()
	list, err := rdb.PubSubChannels(t.Context(), "{"+namespace+"*").Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// Whoever listens is told when that has begun, and again when it has ended or begun anew: what happened
// before was not heard, and has to be looked for.
func TestListenersLookWhenTheySubscribe(t *testing.T) {
	t.Parallel()
	proxy, rdb := redistest.NewProxy(t, redistest.Shared(t))
	n := open(t, rdb)
	a, b := n.Keys(0).News("a"), n.Keys(0).News("b")
	heard, leave := n.News.Listen(a, b)
	defer leave()
	n.News.Keep(heard)
	signal(t, "that listening has begun", heard)
	redistest.Until(t, "both are heard", func() bool {
		return n.News.Pace(a, 0) > LookAgain && n.News.Pace(b, 0) > LookAgain
	})
	if said := n.News.Take(heard); !said[""] {
		t.Errorf("what may have been missed is not among what was said: %v", said)
	}
	later, leaveLater := n.News.ListenToEach([]string{n.Keys(0).News("c")}, []string{n.Keys(0).News("d")})
	for i, heard := range later {
		signal(t, fmt.Sprint("that newcomer ", i, " is heard"), heard)
		defer leaveLater[i]()
	}
	for len(heard) > 0 {
		<-heard
	}
	proxy.Cut()
	signal(t, "that nothing is heard any more", heard)
	redistest.Until(t, "it hears again", func() bool { return n.News.Pace(a, 0) > LookAgain })
	if said := n.News.Take(heard); !said[""] {
		t.Errorf("after a new start: %v", said)
	}
}

// A channel is left when nobody listens to it any more, also while others are listened to, and all of
// them with the last listener: each wait leaked one.
func TestChannelsAreLeft(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	n := open(t, rdb)
	ns := n.Name
	a, b := n.Keys(0).News("a"), n.Keys(0).News("b")
	if got := channels(t, rdb, ns); len(got) != 0 {
		t.Fatalf("a fresh namespace has the channels %v", got)
	}
	heard, leaveA := n.News.Listen(a)
	again, leaveAgain := n.News.Listen(a, b)
	signal(t, "of the first", heard)
	signal(t, "of the second", again)
	redistest.Until(t, "both channels are there", func() bool { return slices.Equal(channels(t, rdb, ns), []string{a, b}) })
	n.News.Keep(again)
	leaveAgain()
	redistest.Until(t, "one of them is left, and the other stays", func() bool { return slices.Equal(channels(t, rdb, ns), []string{a}) })
	n.News.mu.Lock()
	if n.News.live[b] || !n.News.live[a] || len(n.News.said) > 0 {
		t.Errorf("it takes %v for heard, and keeps what is said for %v", n.News.live, n.News.said)
	}
	n.News.mu.Unlock()
	if err := rdb.Publish(t.Context(), a, "x").Err(); err != nil {
		t.Fatal(err)
	}
	signal(t, "of what is said to who stayed", heard)
	leaveA()
	redistest.Until(t, "none is listened to", func() bool { return len(channels(t, rdb, ns)) == 0 })
	n.News.mu.Lock()
	defer n.News.mu.Unlock()
	if len(n.News.listeners)+len(n.News.live)+len(n.News.said) > 0 {
		t.Errorf("it remembers %v, %v and %v", n.News.listeners, n.News.live, n.News.said)
	}
}
