package move_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

func TestMain(m *testing.M) { redistest.Main(m) }

var bg = context.Background()

func key(id string) subject.Key { return subject.Key{Kind: "s", ID: id} }

// opened opens a namespace, which is made with so many partitions when it is new.
func opened(t *testing.T, rdb redis.UniversalClient, name string, partitions int) *dispatcher.Dispatcher {
	t.Helper()
	d, err := dispatcher.Open(bg, dispatcher.Config{Redis: rdb, Namespace: name, Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func enqueued(t *testing.T, d *dispatcher.Dispatcher, jobs ...dispatcher.NewJob) {
	t.Helper()
	for _, job := range jobs {
		if job.Kind == "" {
			job.Kind = "k"
		}
		if _, err := d.Enqueue(bg, job); err != nil {
			t.Fatal(err)
		}
	}
}

// joined is a worker that lives until the test ends.
func joined(t *testing.T, d *dispatcher.Dispatcher, kinds ...string) *session.Session {
	t.Helper()
	s, err := session.Join(bg, d, session.Claimant{Holder: "worker", Kinds: kinds, TTL: time.Minute}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(bg) })
	return s
}

// keysOf are the names of all keys that begin like a namespace's.
func keysOf(t *testing.T, rdb *redis.Client, prefix string) (keys []string) {
	t.Helper()
	iter := rdb.Scan(bg, 0, prefix+"*", 1000).Iterator()
	for iter.Next(bg) {
		keys = append(keys, iter.Val())
	}
	if iter.Err() != nil {
		t.Fatal(iter.Err())
	}
	return keys
}

// mover is a run that moves a namespace, and may write in all its partitions.
func mover(t *testing.T, rdb redis.UniversalClient, name, doing string) *lanes.Mover {
	t.Helper()
	meta, _, err := lanes.ReadMeta(bg, rdb, name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := lanes.Closed(rdb, meta.Namespace).TakeOver(bg, meta, doing)
	if err == nil {
		_, err = m.Fence(bg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}
