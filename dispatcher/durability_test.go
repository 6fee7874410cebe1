package dispatcher_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

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
