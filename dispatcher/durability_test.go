package dispatcher_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// An enqueue that asks for a replica says whether one has the job, and says it about the
// job and not about a connection that wrote nothing (redis/redis#12439).
func TestDurability(t *testing.T) {
	t.Parallel()
	master := redistest.Own(t, "--repl-diskless-sync-delay", "0")
	replica := redistest.Replica(t, master)
	h := newHouse(t, redistest.ClientOf(t, master), dispatcher.Config{
		Durability: dispatcher.Durability{Replicas: 1, Within: 500 * time.Millisecond},
	})
	job := dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j1"}
	if done := h.enqueue(job); done.Acked != 1 || !done.Created {
		t.Fatalf("with a replica in step: %+v", done)
	}

	h.ok(replica.Signal(syscall.SIGSTOP))
	job.ID = "j2"
	done, err := h.Enqueue(bg, job)
	if !errors.Is(err, dispatcher.ErrNotReplicated) || !done.Created || done.Seq == 0 || done.Acked != 0 {
		t.Errorf("with the replica frozen: %+v, %v", done, err)
	}
	// The same again, from a client that has no connection yet: the job is there, on the
	// replica it is not.
	again := newHouseIn(t, redistest.ClientOf(t, master), h.cfg)
	if done, err := again.Enqueue(bg, job); !errors.Is(err, dispatcher.ErrNotReplicated) || done.Created {
		t.Errorf("repeated with the replica frozen: %+v, %v", done, err)
	}
	many, err := h.EnqueueMany(bg, []dispatcher.NewJob{{Subject: key("b"), Kind: "k", ID: "j3"}})
	if !errors.Is(err, dispatcher.ErrNotReplicated) || !errors.Is(many[0].Err, dispatcher.ErrNotReplicated) || !many[0].Created {
		t.Errorf("many with the replica frozen: %+v, %v", many, err)
	}

	h.ok(replica.Signal(syscall.SIGCONT))
	if done := h.enqueue(job); done.Acked != 1 || done.Created {
		t.Errorf("repeated once the replica has caught up: %+v", done)
	}
}

// newerWait makes WAIT behave as it does on Redis 8 and Valkey 8.0 and 8.1, tried there: it answers at
// once, that all replicas have it, on a connection whose commands have written nothing. Up to
// 7.0 WAIT waits for all that the server had written by then. The offset that it waits for is
// what tells, so that is looked at.
type newerWait struct {
	t      *testing.T
	admin  *redis.Client
	before string
	idle   int // WAITs that had nothing to wait for
}

func (w *newerWait) offset() string {
	info, err := w.admin.Info(bg, "replication").Result()
	if err != nil {
		w.t.Error(err)
	}
	_, rest, _ := strings.Cut(info, "master_repl_offset:")
	offset, _, _ := strings.Cut(rest, "\r\n")
	return offset
}

func (w *newerWait) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *newerWait) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		w.before = w.offset()
		return next(ctx, cmds)
	}
}

func (w *newerWait) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if wait, ok := cmd.(*redis.IntCmd); ok && cmd.Name() == "wait" && w.before == w.offset() {
			w.idle++
			wait.SetVal(1)
			return nil
		}
		return next(ctx, cmd)
	}
}

// G20: the durable answer about a job that exists does not depend on the server's version. What
// writes nothing for the job writes something else first: an enqueue that is repeated, one that
// is merged into a job that waits, one for which there was no section to run.
func TestG20_WaitHasSomethingToWaitFor(t *testing.T) {
	t.Parallel()
	master := redistest.Own(t, "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "3600")
	replica := redistest.Replica(t, master)
	h := newHouse(t, redistest.ClientOf(t, master), dispatcher.Config{
		Durability: dispatcher.Durability{Replicas: 1, Within: 300 * time.Millisecond},
	})
	h.ok(replica.Signal(syscall.SIGSTOP))
	job := dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j1"}
	merged := dispatcher.NewJob{Subject: key("b"), Kind: "k", ID: "j2", Unique: dispatcher.Coalesce}
	for _, j := range []dispatcher.NewJob{job, merged} {
		if _, err := h.Enqueue(bg, j); !errors.Is(err, dispatcher.ErrNotReplicated) {
			t.Fatalf("with the replica frozen: %v", err)
		}
	}

	wait := &newerWait{t: t, admin: h.rdb}
	rdb := redistest.ClientOf(t, master)
	rdb.AddHook(wait)
	again := newHouseIn(t, rdb, h.cfg)
	merged.ID = "j3"
	for name, repeat := range map[string]func() (dispatcher.EnqueueResult, error){
		"repeated": func() (dispatcher.EnqueueResult, error) { return again.Enqueue(bg, job) },
		"merged":   func() (dispatcher.EnqueueResult, error) { return again.Enqueue(bg, merged) },
		"no section": func() (dispatcher.EnqueueResult, error) {
			_, done, err := again.DoOrEnqueue(bg, job, func(context.Context) error { t.Error("the subject was free"); return nil })
			return done, err
		},
		"many": func() (dispatcher.EnqueueResult, error) {
			done, err := again.EnqueueMany(bg, []dispatcher.NewJob{job, merged})
			return done[0], err
		},
	} {
		done, err := repeat()
		if !errors.Is(err, dispatcher.ErrNotReplicated) || done.Created || done.Acked != 0 {
			t.Errorf("%s: %+v, %v: a replica that has nothing has acknowledged it", name, done, err)
		}
	}
	if wait.idle > 0 {
		t.Errorf("%d of the WAITs had nothing of their connection to wait for", wait.idle)
	}
	h.ok(replica.Signal(syscall.SIGCONT))
	if done, err := again.Enqueue(bg, job); err != nil || done.Acked != 1 {
		t.Errorf("once the replica has caught up: %+v, %v", done, err)
	}
}
