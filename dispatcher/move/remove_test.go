package move_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/move"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Namespaces are found by their markers, of whichever release they are; what only looks like a marker is none.
func TestFind(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		name := redistest.Namespace(t, rdb)
		d := opened(t, rdb, name, 3)
		for i := range 5 {
			enqueued(t, d, dispatcher.NewJob{Subject: key(fmt.Sprint(i))})
		}
		joined(t, d, "k")
		old, odd := name+"-old", name+".odd"
		rdb.HSet(bg, "{"+old+"}:meta", "partitions", 2, "schema", "3")
		k := subject.Namespace{Name: old, Partitions: 2}.Keys(0)
		rdb.HSet(bg, k.Jobs(), "a", "", "b", "")
		rdb.ZAdd(bg, k.Dead(), redis.Z{Member: "a"})
		rdb.HSet(bg, "{"+odd+"}:meta", "partitions", "many", "schema", "7")
		rdb.Set(bg, "{"+name+"-text}:meta", "no hash", time.Hour)
		rdb.HSet(bg, "{"+name+":0}:tail:x}:meta", "partitions", 1, "schema", "7")
		t.Cleanup(func() { rdb.Del(bg, "{"+old+"}:meta", k.Jobs(), k.Dead(), "{"+odd+"}:meta") })
		seen := 0
		all, err := move.Find(bg, rdb, func(keys int) { seen = keys })
		if err != nil || seen == 0 {
			t.Fatal(err, seen)
		}
		found := make(map[string]move.Namespace)
		for _, one := range all {
			if strings.HasPrefix(one.Name, name) {
				found[one.Name] = one
			}
		}
		if len(found) != 3 {
			t.Errorf("found %v, want 3", found)
		}
		if one := found[name]; one.Jobs != 5 || one.Dead != 0 || one.Partitions != 3 || !slices.Equal(one.Alive, []string{"worker"}) || one.Why != "" {
			t.Errorf("the present one: %+v", one)
		}
		if one := found[old]; one.Jobs != 1 || one.Dead != 1 || one.Partitions != 2 || one.Schema != "3" || !strings.Contains(one.Why, "namespace rm "+old) {
			t.Errorf("one of another release: %+v", one)
		}
		if one := found[odd]; one.Partitions != 0 || one.Jobs != 0 {
			t.Errorf("one that can't be read: %+v", one)
		}
	})
}

// All keys of the namespace go, and no others: however alike their names, and whatever stands in the braces.
func TestRemoveLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		name := redistest.Namespace(t, rdb)
		others := []string{
			"{" + name + "2}:meta", "{" + name + "2:0}:jobs", "{" + name + ".0}:meta", "{" + name + "-a:0}:jobs", "{" + name + ":a}:jobs", "{" + name + ":0.}:jobs",
			"{" + name, name, "{" + name + ":0", "x{" + name + ":0}:jobs", "{" + name + ":0}jobs", "{" + name + "}", "{{" + name + ":0}:jobs", "{" + name + ":0:1}:jobs",
		}
		for _, k := range others {
			rdb.Set(bg, k, "", time.Hour)
		}
		d := opened(t, rdb, name, 4)
		for i := range 300 {
			enqueued(t, d, dispatcher.NewJob{Subject: key(fmt.Sprint(i % 150)), Kind: fmt.Sprintf("k%d", i%40)})
		}
		if _, err := move.Remove(bg, rdb, name, false, nil); err != nil {
			t.Fatal(err)
		}
		for _, k := range others {
			if rdb.Exists(bg, k).Val() != 1 {
				t.Errorf("%s is gone", k)
			}
		}
		for _, k := range keysOf(t, rdb, "{"+name) {
			if !slices.Contains(others, k) {
				t.Errorf("%s is left", k)
			}
		}
		if _, err := move.Remove(bg, rdb, name, false, nil); !errors.Is(err, dispatcher.ErrNotFound) {
			t.Errorf("once more: %v", err)
		}
		opened(t, rdb, name, 2) // which is another one by now
	})
}

// Nothing goes under a worker that lives, unless that is said; a namespace of another release goes too.
func TestRemoveUnderWorkers(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	name := redistest.Namespace(t, rdb)
	d := opened(t, rdb, name, 2)
	enqueued(t, d, dispatcher.NewJob{Subject: key("a")})
	joined(t, d, "k")
	rdb.HSet(bg, "{"+name+"}:meta", "schema", "4")
	if _, err := move.Remove(bg, rdb, name, false, nil); !errors.Is(err, move.ErrAlive) || !strings.Contains(err.Error(), "1 worker lives: worker") {
		t.Errorf("%v", err)
	}
	if one, err := move.Look(bg, rdb, name); err != nil || one.Jobs != 1 || one.Doing != "" {
		t.Errorf("%+v, %v", one, err)
	}
	if _, err := move.Remove(bg, rdb, name, true, nil); err != nil {
		t.Error(err)
	}
}

// A removal that was interrupted keeps everybody out, and goes on.
func TestRemoveGoesOn(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	name := redistest.Namespace(t, rdb)
	d := opened(t, rdb, name, 2)
	for i := range 250 {
		enqueued(t, d, dispatcher.NewJob{Subject: key(fmt.Sprint(i))}, dispatcher.NewJob{Subject: key(fmt.Sprint(i))})
	}
	ctx, cancel := context.WithCancel(bg)
	_, err := move.Remove(ctx, rdb, name, false, func(keys int) {
		if keys >= 100 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || len(keysOf(t, rdb, "{"+name)) == 0 {
		t.Fatalf("interrupted: %v", err)
	}
	_, err = dispatcher.Open(bg, dispatcher.Config{Redis: rdb, Namespace: name})
	if !errors.Is(err, dispatcher.ErrMismatch) || !strings.Contains(err.Error(), "'lanekeeper namespace rm "+name+"' goes on") {
		t.Errorf("it is opened meanwhile: %v", err)
	}
	if _, err := move.Remove(bg, rdb, name, false, nil); err != nil || len(keysOf(t, rdb, "{"+name)) > 0 {
		t.Errorf("%v, %v are left", err, keysOf(t, rdb, "{"+name))
	}
}

// Who writes on while a namespace is removed is noticed, and the namespace stays closed.
func TestRemoveNoticesWriters(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	name := redistest.Namespace(t, rdb)
	d := opened(t, rdb, name, 1)
	enqueued(t, d, dispatcher.NewJob{Subject: key("a")})
	_, err := move.Remove(bg, rdb, name, false, func(int) { enqueued(t, d, dispatcher.NewJob{Subject: key("a")}) })
	if !errors.Is(err, move.ErrWritten) {
		t.Errorf("%v", err)
	}
	if _, err := dispatcher.Open(bg, dispatcher.Config{Redis: rdb, Namespace: name}); !errors.Is(err, dispatcher.ErrMismatch) {
		t.Errorf("%v", err)
	}
}

// On a cluster markers and keys are on all masters.
func TestNamespacesOfACluster(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a cluster takes seconds")
	}
	cluster := redistest.OwnCluster(t)
	rdb, err := connect.Parse(cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer rdb.Close()
	for _, name := range []string{"shop", "shop2", "a", "b", "c"} {
		d := opened(t, rdb, name, 12)
		for i := range 30 {
			enqueued(t, d, dispatcher.NewJob{Subject: key(fmt.Sprint(i))}, dispatcher.NewJob{Subject: key(fmt.Sprint(i))})
		}
	}
	if _, err := move.Remove(bg, rdb, "shop", false, nil); err != nil {
		t.Fatal(err)
	}
	all, err := move.Find(bg, rdb, nil)
	if err != nil || len(all) != 4 {
		t.Errorf("%v, %v", all, err)
	}
	for _, one := range all {
		if one.Name == "shop" || one.Jobs != 60 {
			t.Errorf("%+v", one)
		}
	}
	d := opened(t, rdb, "shop", 3)
	if n := d.Namespace().Partitions; n != 3 {
		t.Errorf("%d partitions", n)
	}
}
