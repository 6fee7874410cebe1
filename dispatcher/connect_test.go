package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/embedded"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// disconnected fails unless all connections to a server end.
func disconnected(t *testing.T, m *miniredis.Miniredis) {
	t.Helper()
	redistest.Until(t, "nobody is connected", func() bool { return m.CurrentConnectionCount() == 0 })
}

// What Connect opens is the default namespace, with the kinds that it was given.
func TestConnectOpensTheDefaultNamespace(t *testing.T) {
	t.Parallel()
	m, rdb := redistest.Mini(t)
	expire := dispatcher.Kind{Name: "expire", Owner: "storage", MaxAttempts: 3}
	d, err := dispatcher.Connect(t.Context(), "redis://"+m.Addr(), expire, dispatcher.Kind{Name: "move", Owner: "storage"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if _, err := d.Enqueue(t.Context(), dispatcher.NewJob{Subject: key("a"), Kind: "expire", ID: "j"}); err != nil {
		t.Fatal(err)
	}
	other, err := dispatcher.Open(t.Context(), dispatcher.Config{Redis: rdb})
	if err != nil {
		t.Fatal(err)
	}
	lane, err := inspect.New(other).Lane(t.Context(), key("a"), inspect.Page{})
	if err != nil || lane.Depth != 1 || lane.Jobs[0].ID != "j" || lane.Jobs[0].MaxAttempts != 3 {
		t.Errorf("the lane of the default namespace is %+v, %v", lane, err)
	}
	if kinds, err := other.Kinds(t.Context()); err != nil || len(kinds) != 2 {
		t.Errorf("registered are %+v, %v", kinds, err)
	}
}

// An empty address is one that can be read: nobody is asked here, for who knows what runs there.
func TestConnectToNowhereInParticular(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dispatcher.Connect(ctx, ""); !errors.Is(err, context.Canceled) || errors.Is(err, dispatcher.ErrInvalid) {
		t.Errorf("with an empty address and no time: %v", err)
	}
}

// No error shows a password, whatever is wrong: with the address, the server, or the password.
func TestConnectKeepsThePassword(t *testing.T) {
	t.Parallel()
	const password = `can"ry/p@ss %1`
	m, _ := redistest.Mini(t)
	m.RequireAuth("another")
	nobody := deserted(t)
	for address, want := range map[string]error{
		"redis://:PASSWORD@" + m.Addr():                                         nil, // the server's own words
		"redis://u:PASSWORD@" + nobody:                                          dispatcher.ErrUnavailable,
		"rediss://u:PASSWORD@" + m.Addr():                                       dispatcher.ErrUnavailable,
		"redis+sentinel://u:PASSWORD@" + nobody + "/lanes":                      dispatcher.ErrUnavailable,
		"redis+sentinel://" + nobody + "/lanes?sentinel_password=PASSWORD":      dispatcher.ErrUnavailable,
		"redis+cluster://u:PASSWORD@" + nobody + "," + nobody:                   dispatcher.ErrUnavailable,
		"redis://u:PASSWORD@h:port":                                             dispatcher.ErrInvalid,
		"redis://u:PASSWORD@h?nope=1":                                           dispatcher.ErrInvalid,
		"redis+sentinel://u:PASSWORD@h:1,h:2":                                   dispatcher.ErrInvalid,
		"redis+cluster://u:PASSWORD@h:1,h:2/3":                                  dispatcher.ErrInvalid,
		"redis+sentinel://h:1/lanes?sentinel_password=PASSWORD&sentinel_nope=1": dispatcher.ErrInvalid,
		"u:PASSWORD@h":          dispatcher.ErrInvalid,
		"redis://u:RAW@h":       dispatcher.ErrInvalid,
		"http://u:PASSWORD@h:1": dispatcher.ErrInvalid,
	} {
		encoded := strings.ReplaceAll(url.QueryEscape(password), "+", "%20")
		address = strings.NewReplacer("PASSWORD", encoded, "RAW", password).Replace(address)
		t.Run("", func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // a client dials for longer
			defer cancel()
			d, err := dispatcher.Connect(ctx, address)
			if err == nil {
				_ = d.Close()
				t.Fatalf("%s is opened", address)
			}
			if want != nil && !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", address, err, want)
			}
			for _, secret := range append(connect.Secrets(address), password, `can"ry`, "p@ss") {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%s: the error shows %q: %v", address, secret, err)
				}
			}
		})
	}
}

// deserted is an address at which nobody listens.
func deserted(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// When Open refuses, the client goes: nobody else could close it.
func TestConnectLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	m := miniredis.RunT(t)
	if _, err := dispatcher.Connect(t.Context(), "redis://"+m.Addr(), dispatcher.Kind{Name: "of nobody"}); !errors.Is(err, dispatcher.ErrInvalid) {
		t.Fatalf("a kind without an owner: %v", err)
	}
	if m.TotalConnectionCount() == 0 {
		t.Fatal("it was refused before there was a connection")
	}
	disconnected(t, m)
}

// Close ends what Connect began, once and for all.
func TestCloseOfConnect(t *testing.T) {
	t.Parallel()
	m := miniredis.RunT(t)
	d, err := dispatcher.Connect(t.Context(), "redis://"+m.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	disconnected(t, m)
	if _, err := d.Enqueue(t.Context(), dispatcher.NewJob{Subject: key("a"), Kind: "k"}); !errors.Is(err, redis.ErrClosed) {
		t.Errorf("enqueue after it: %v", err)
	}
	if _, err := inspect.New(d).Stats(t.Context()); !errors.Is(err, redis.ErrClosed) {
		t.Errorf("a look after it: %v", err)
	}
}

// Close leaves the client of Open alone: it is the caller's.
func TestCloseOfOpen(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	h := newHouse(t, rdb, dispatcher.Config{})
	h.ok(h.Close())
	h.enqueued("a", "j")
	h.ok(rdb.Ping(bg).Err())
}

func ExampleConnect() {
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
	done, err := d.Enqueue(ctx, dispatcher.NewJob{Subject: subject.Of("artifact", 42), Kind: "expire", ID: "e1"})
	fmt.Println(done.ID, "of", done.Subject, "in", d.Namespace().Name, err)
	// Output:
	// e1 of artifact:42 in lanekeeper <nil>
}
