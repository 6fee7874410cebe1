package dispatcher_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/doctor"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// H1: a section that panics or ends its goroutine gives its lease back, and the panic is the caller's.
func TestH1_SectionGivesItsLeaseBack(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		for name, end := range map[string]func(){"panic": func() { panic("ouch") }, "Goexit": runtime.Goexit} {
			for how, section := range map[string]func(fn func(context.Context) error) error{
				"Do": func(fn func(context.Context) error) error { return h.Do(bg, key("a"), 0, fn) },
				"DoOrEnqueue": func(fn func(context.Context) error) error {
					_, _, err := h.DoOrEnqueue(bg, dispatcher.NewJob{Subject: key("a"), Kind: "k"}, fn)
					return err
				},
			} {
				caught := make(chan any)
				go func() {
					defer func() { caught <- recover() }()
					_ = section(func(context.Context) error { end(); return nil })
				}()
				if got := <-caught; (got == "ouch") != (name == "panic") {
					t.Errorf("%s in %s: the caller gets %v", name, how, got)
				}
				if err := h.Do(bg, key("a"), 0, func(context.Context) error { return nil }); err != nil {
					t.Errorf("after a %s in %s: %v", name, how, err)
				}
			}
		}
	})
}

// H2: what the server does when memory is full is known without CONFIG, which nobody asks for more than one
// parameter; and a server that tells nothing is trusted.
func TestH2_NobodyNeedsConfig(t *testing.T) {
	t.Parallel()
	s := redistest.Own(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes", "--appendfsync", "no",
		"--slowlog-log-slower-than", "0", "--slowlog-max-len", "10000")
	admin := redistest.ClientOf(t, s)
	as := func(name string, rules ...any) *redis.Client {
		args := append([]any{"acl", "setuser", name, "on", ">pw", "~*", "&*", "+@all"}, rules...)
		if err := admin.Do(bg, args...).Err(); err != nil {
			t.Fatal(err)
		}
		rdb := connect.New(&redis.Options{Addr: s.Addr, Username: name, Password: "pw"})
		t.Cleanup(func() { _ = rdb.Close() })
		return rdb
	}
	if _, err := dispatcher.Open(bg, dispatcher.Config{Redis: as("plain", "-config")}); !errors.Is(err, dispatcher.ErrEviction) {
		t.Errorf("a server that evicts is opened: %v", err)
	}
	for name, c := range map[string]struct {
		rules []any
		says  string
	}{
		"may ask": {nil, "maxmemory-policy appendfsync"}, "without CONFIG": {[]any{"-config"}, "maxmemory-policy"},
		"without INFO": {[]any{"-info"}, "INFO"}, "without SCAN": {[]any{"-config", "-scan"}, "SCAN maxmemory-policy"},
	} {
		rdb := as("user", c.rules...)
		if err := admin.ConfigSet(bg, "maxmemory-policy", "noeviction").Err(); err != nil {
			t.Fatal(err)
		}
		d, err := dispatcher.Open(bg, dispatcher.Config{Redis: rdb})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := admin.ConfigSet(bg, "maxmemory-policy", "allkeys-lru").Err(); err != nil {
			t.Fatal(err)
		}
		findings, err := doctor.New(d).Examine(bg, nil)
		var says []string
		for _, f := range findings {
			says = append(says, f.Where)
		}
		if got := strings.Join(says, " "); err != nil || got != c.says {
			t.Errorf("%s: doctor says %q, want %q: %v", name, got, c.says, err)
		}
	}
	var asked []string
	for _, entry := range admin.SlowLogGet(bg, 10_000).Val() { // every command is slow there
		if text := strings.ToLower(strings.Join(entry.Args, " ")); strings.HasPrefix(text, "config get") {
			asked = append(asked, text)
		}
	}
	if got := strings.Join(asked, ", "); got != "config get appendfsync" {
		t.Errorf("CONFIG was asked for %q", got)
	}
}

// H2: who may not list keys finds all but what no index names.
func TestH2_DoctorWithoutScan(t *testing.T) {
	t.Parallel()
	s := redistest.Own(t)
	h := newHouse(t, redistest.ClientOf(t, s), dispatcher.Config{Partitions: 1})
	h.enqueued("a", "a1", "a2", "a3")
	h.lanes("k", 250) // so that there are more keys than are asked for at once
	h.ok(h.rdb.Do(bg, "acl", "setuser", "user", "on", ">pw", "~*", "&*", "+@all", "-scan").Err())
	rdb := connect.New(&redis.Options{Addr: s.Addr, Username: "user", Password: "pw"})
	t.Cleanup(func() { _ = rdb.Close() })
	cfg := h.cfg
	cfg.Redis = rdb
	d, err := dispatcher.Open(bg, cfg)
	h.ok(err)
	wrong := func() (where []string) {
		findings, err := doctor.New(d).Examine(bg, nil)
		h.ok(err)
		if !slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.What == "server" && f.Where == "SCAN" }) {
			t.Errorf("of a server that lists no keys it says nothing: %+v", findings[0])
		}
		for _, f := range findings {
			if f.Severity == doctor.Wrong {
				where = append(where, f.What)
			}
		}
		return where
	}
	if found := wrong(); len(found) > 0 {
		t.Errorf("of a whole namespace it says %v", found)
	}
	h.ok(h.rdb.Del(bg, h.Namespace().Keys(0).Ready("k")).Err())
	if found := wrong(); len(found) != 251 {
		t.Errorf("of 251 lanes that are not listed it finds %d: %v", len(found), found)
	}
}
