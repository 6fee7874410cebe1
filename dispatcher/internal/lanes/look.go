package lanes

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Lane is what a partition says of one lane at one moment. A record that can't be read counts as empty here,
// and is for the doctor to name.
type Lane struct {
	Subject string       // canonical
	Head    record.Entry // zero where there is none, or it can't be read
	HasHead bool
	Note    record.Note // of the head
	Behind  int         // jobs behind the head
	Leased  bool
	Lease   record.Lease
	Until   time.Time // end of the lease
	Asks    record.Asks
	Again   float64 // when a parked lane is looked at again, ms; 0 of one that is not parked
	Park    record.Park
}

// Empty reports whether there is nothing to say of a lane: no job, no lease, and nobody has stopped it. Such a
// lane leaves nothing behind in Redis.
func (l *Lane) Empty() bool { return !l.HasHead && !l.Leased && !l.Park.Stopped() }

// look is the answer about several lanes, each reply in the order of the subjects.
type look struct {
	heads, leases, asks, reasons, notes *redis.SliceCmd
	deadlines, parked                   *redis.FloatSliceCmd
	tails                               []*redis.IntCmd
}

// Look reads lanes of one partition, all at one moment, in their order: one trip for the heads, and then one
// transaction for the rest, of seven commands and one more for each lane. How many lanes a call takes the
// caller bounds.
func (n *Namespace) Look(ctx context.Context, p int, subjects []string) ([]Lane, error) {
	if len(subjects) == 0 {
		return nil, nil
	}
	l, err := n.lookAt(ctx, p, subjects)
	if err != nil {
		return nil, Wrap("read lanes", err)
	}
	lanes := make([]Lane, len(subjects))
	text := func(of *redis.SliceCmd, i int) string { s, _ := of.Val()[i].(string); return s }
	for i, s := range subjects {
		lane := Lane{Subject: s, Behind: int(l.tails[i].Val()), Again: l.parked.Val()[i]}
		head := text(l.heads, i)
		lane.HasHead = head != ""
		lane.Head, _ = record.ParseEntry(head)
		lane.Note, _ = record.ParseNote(text(l.notes, i))
		lane.Park, _ = record.ParsePark(text(l.reasons, i))
		lane.Asks, _ = record.ParseAsks(text(l.asks, i))
		if leased := text(l.leases, i); leased != "" {
			lane.Leased, lane.Lease = true, record.ParseLease(leased)
			lane.Until = time.UnixMilli(int64(l.deadlines.Val()[i])).UTC()
		}
		lanes[i] = lane
	}
	return lanes, nil
}

// LookAt is Look for one lane.
func (n *Namespace) LookAt(ctx context.Context, key subject.Key) (Lane, error) {
	lanes, err := n.Look(ctx, n.Partition(key), []string{key.Canonical()})
	if err != nil {
		return Lane{}, err
	}
	return lanes[0], nil
}

// lookAt asks what a partition says of lanes. Which notes are theirs is known only from their heads; so those
// are read before, and all again when one has changed until then. The third look counts in any case: in a lane
// that changes all the time the note may be of a job that is no longer its head.
//
// A try that is given up may go on beside its caller, so each has an answer of its own.
func (n *Namespace) lookAt(ctx context.Context, partition int, subjects []string) (l *look, err error) {
	keys := n.keys[partition]
	heads, err := n.Fields(ctx, keys.Heads(), subjects)
	for range 3 {
		if err != nil {
			return nil, err
		}
		ids := make([]string, len(heads))
		for i, head := range heads {
			text, _ := head.(string)
			e, _ := record.ParseEntry(text)
			ids[i] = e.ID
		}
		try := &look{tails: make([]*redis.IntCmd, len(subjects))}
		err = n.Atomically(ctx, func(tx redis.Pipeliner) {
			try.heads = tx.HMGet(ctx, keys.Heads(), subjects...)
			try.leases = tx.HMGet(ctx, keys.Leases(), subjects...)
			try.deadlines = tx.ZMScore(ctx, keys.Deadlines(), subjects...)
			try.parked = tx.ZMScore(ctx, keys.Parked(), subjects...)
			try.asks = tx.HMGet(ctx, keys.Asks(), subjects...)
			try.reasons = tx.HMGet(ctx, keys.ParkReasons(), subjects...)
			try.notes = tx.HMGet(ctx, keys.Notes(), ids...)
			for i, s := range subjects {
				try.tails[i] = tx.LLen(ctx, keys.Tail(s))
			}
		})
		if err == nil {
			l = try
			if slices.Equal(heads, l.heads.Val()) {
				break
			}
			heads = l.heads.Val()
		}
	}
	return l, err
}

// Decode reads a stored job. One that can't be read is an error beside a job that has all that is stored as its
// payload, and an id that can be shown: so it can be listed, looked at and discarded all the same.
func Decode(packed, stored string) (id string, job record.Job, err error) {
	id, job, err = record.DecodeJob(packed, stored)
	if err != nil {
		job = record.Job{Payload: []byte(stored)}
	}
	if id == "" {
		id = IDText(packed)
	}
	return id, job, err
}

// Standing is where a stored job stands (I7): among the dead letters, on the schedule, as head of its lane, or
// else behind the head. It is the one answer to that question; the inspector and outcomes show it.
type Standing struct {
	ID  string
	Job record.Job // see [Decode]

	Dead      bool
	Died      float64 // ms
	Reason    string  // the record of a dead letter's reason
	Note      record.Note
	Scheduled bool
	RunAt     float64 // ms; infinite of one that an operator keeps there
	Head      *Lane   // its lane, when it is the head there
}

// Standing says where a job stands of which that is stored in a partition. Only a dead letter may be one that
// can't be read. It costs one transaction of four commands, and those of Look for a job that is in its lane. A
// job that ends between the two may be said to wait.
func (n *Namespace) Standing(ctx context.Context, p int, packed, stored string) (s Standing, err error) {
	var unread error
	s.ID, s.Job, unread = Decode(packed, stored)
	canonical, member := s.Job.Subject.Canonical(), ""
	if unread == nil {
		member = record.Scheduled(canonical, s.Job.Order, s.Job.Entry(packed).String())
	}
	if err := n.readStanding(ctx, p, packed, member, &s); err != nil || s.Dead {
		return s, err
	}
	if unread != nil {
		return s, fmt.Errorf("%w; 'lanekeeper doctor --fix' sets it aside", unread)
	}
	if s.Scheduled {
		return s, nil
	}
	lanes, err := n.Look(ctx, p, []string{canonical})
	if err == nil && lanes[0].Head.ID == packed {
		s.Head = &lanes[0]
	}
	return s, err
}

// readStanding reads what does not depend on the job's lane, all at one moment: whether it is dead, and on the
// schedule as `member`, and its note. member is "" of a job that can't be read; nothing stands under that.
func (n *Namespace) readStanding(ctx context.Context, p int, packed, member string, s *Standing) error {
	keys := n.keys[p]
	var died, runAt *redis.FloatCmd
	var noted, reason *redis.StringCmd
	err := n.Atomically(ctx, func(tx redis.Pipeliner) {
		died = tx.ZScore(ctx, keys.Dead(), packed)
		reason = tx.HGet(ctx, keys.Reasons(), packed)
		runAt = tx.ZScore(ctx, keys.Scheduled(), member)
		noted = tx.HGet(ctx, keys.Notes(), packed)
	})
	if err = answer(err); err != nil {
		return Wrap("read job", err)
	}
	s.Dead, s.Died, s.Reason = died.Err() == nil, died.Val(), reason.Val()
	s.Scheduled, s.RunAt = runAt.Err() == nil, runAt.Val()
	s.Note, _ = record.ParseNote(noted.Val())
	return nil
}

// State is the state of the job, one of the words below. Behind a section's lease its lane's head waits: it was
// not claimed, and its lane is leased all the same.
func (s *Standing) State() string {
	switch {
	case s.Dead:
		return Dead
	case s.Head != nil && !s.Head.InSection():
		return s.Head.State()
	case s.Note.Suspended:
		return Suspended
	case s.Scheduled:
		return Scheduled
	}
	return Waiting
}

// The states of a lane with jobs, of which its head has the same, and those of other jobs.
const (
	Ready     = "ready"
	Leased    = "leased"
	Delayed   = "delayed"
	Suspended = "suspended"
	Barred    = "barred"
	Waiting   = "waiting"
	Scheduled = "scheduled"
	Dead      = "dead"
)

// State is the lane's state, leased before parked before ready (I4). One that is parked for a reason that is
// lost counts as suspended: only a repair lets it go on.
func (l *Lane) State() string {
	switch {
	case l.Leased:
		return Leased
	case l.Park.Stopped(), l.Again > 0 && l.Park == (record.Park{}):
		return Suspended
	case !l.Park.Backoff.IsZero():
		return Delayed
	case l.Park.Hold != nil:
		return Barred
	}
	return Ready
}

// Why says since when and why an operator, who is named where that is known, or its head keeps the lane from going on, or will
// when its lease ends; halted is for a head that has failed for good. A backoff is no such reason: that ends by itself. All
// are empty of a lane that nothing stops.
func (l *Lane) Why() (stop record.Stop, halted bool) {
	if l.Leased {
		if s := l.Asks.Suspend; s != nil {
			stop = *s
		}
		return stop, false
	}
	if l.State() == Suspended && !l.Park.Stopped() {
		return record.Stop{Why: "nobody knows why: 'lanekeeper doctor'"}, false
	}
	if l.Park.Job {
		stop.Why = "its head is suspended"
	}
	if s := l.Park.Suspended; s != nil {
		stop = *s
	}
	if h := l.Park.Halted; h != nil {
		why := "halted: " + h.Why
		if stop.Why != "" {
			why += "; suspended: " + stop.Why
		}
		return record.Stop{At: h.At, By: stop.By, Why: why}, true
	}
	return stop, false
}

// Attempt is the head's running attempt, from 1, or how many have ended when none runs.
func (l *Lane) Attempt() int {
	if l.Leased && l.Lease.Use == record.ForJob && l.IsJob() {
		return l.Note.Attempts + 1 // the lease stands for an attempt that is not over
	}
	return l.Note.Attempts
}

// InSection reports whether the lease is for a section.
func (l *Lane) InSection() bool { return l.Leased && l.Lease.Use == record.ForSection }

// IsJob reports whether the head is a job: not a ticket, and readable.
func (l *Lane) IsJob() bool { return l.Head.ID != "" && !l.Head.IsTicket() }
