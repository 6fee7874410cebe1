// Package dispatcher puts jobs into lanes, waits for their ends, runs sections, and stops, cancels and replays for
// operators. Applications that enqueue begin here, with [Connect] or, for any other setting, [Open]; both return a
// [Dispatcher], whose methods are the verbs. [KindOf] ties a kind to the type of its payloads.
//
// Other packages do the rest. Package worker runs handlers. Package dispatcher/inspect lists lanes, jobs and dead
// letters, dispatcher/doctor examines and repairs, dispatcher/move does something with a whole namespace, and dispatcher/session is for those who write a pool of their own.
//
// # Promise
//
// Ordered, Exclusive, At-least-once, Fair. Jobs of one subject first start in the
// order in which their enqueues were acknowledged. A subject has at most one lease,
// and a superseded token changes nothing. An acknowledged enqueue is attempted
// until it finishes or is a dead letter. A lane takes its turn, and no busy, stuck
// or deep lane slows another one. What is not promised is in docs/guarantees.md.
//
// # Life of a lane
//
//	       enqueue                  claim (new token)
//	none ────────────► ready ──────────────────────────► leased
//	  ▲                ▲   ▲                              │ │ │
//	  │                │   │ finish, dead-letter,         │ │ │
//	  │                │   │ hand back, retry after 0,    │ │ │
//	  │                │   └─ reap after a first crash ◄──┘ │ │
//	  │                │                                    │ │
//	  │   reap: wait   │        retry, reap after           │ │
//	  │   is over      └── parked ◄─── further crashes ─────┘ │
//	  │                                                       │
//	  └─────────── finish or dead-letter of the last job ◄────┘
//
// A lane whose jobs are gone leaves nothing behind: what must outlast it, the last
// token and the last sequence number, is kept once for the partition. A claim may take
// waiting jobs of a lane along with its head (session.Claim); they stay in the lane, and
// become its head one by one under the same lease. A lane is parked for reasons: its head's backoff, a suspension,
// a halt, a head that is suspended by itself; it goes on when the last one is gone.
//
// # Invariants
//
// They hold between any two commands that Redis runs. Lua comments and tests quote
// them by number.
//
//	I1   A subject has at most one lease.
//	I2   Tokens of one subject only rise: across crashes, empty lanes, clock jumps.
//	I3   The head of a leased lane changes only under the lease's own token.
//	I4   A lane with jobs is in exactly one of ready, leased, parked. A lane is parked as long
//	     as there is a reason for it.
//	I5   Jobs of one lane first start in the order of their sequence numbers.
//	I6   An attempt counts from its claim on. A crash counts for every job that was
//	     claimed, a hand-back does not, and no job starts more than MaxAttempts times, unless
//	     an operator gives it its attempts again.
//	I7   A stored job stands in exactly one place: head of its lane, behind it, on
//	     the schedule, or among the dead letters.
//	I8   Times come from one clock, Redis's, read once in each script.
//	I9   A request that go-redis repeats has one effect and one answer.
//	I10  When memory is full an enqueue is refused whole; ends, claims, renewals and
//	     reaping go on.
//	I11  A lane is given only to a claimant that handles the kind of its head.
//	I12  A subject and kind have at most one job with a unique key; it goes with its job.
//	I13  A job of a limited kind or pool runs only under a slot of the limit, and a limit of N
//	     has N slots.
//	I14  A job takes its place in its lane at the moment when it falls due by Redis's clock: what
//	     comes into the lane after that comes behind it. Jobs that fall due together keep the
//	     order of their numbers.
//	I15  Starts under a limit go to those who are short of them in the order in which they came: a
//	     partition of a session has a place for as many starts as it had ready lanes, and what
//	     it wants after that comes behind all others.
//	I16  No script reads or writes more than 2 MiB of jobs, or one job if that has more; what is
//	     kept after a job's end has a most in each partition.
//	I17  Nothing in the scope of a hold that a partition knows gets a lease there; its policy is that of the
//	     namespace, or an earlier one until the next sign of life of any worker.
//
// # When things fail
//
// A worker that dies keeps its lanes until their leases are over; whoever reaps next
// puts the crashed job first in line, and makes it wait unless that was its first attempt. A
// reply that is lost is repeated by go-redis, and answered from memory (I9). A
// wake-up that is lost costs its lane at most a pool's reaping interval. A script
// cache that is flushed is filled again. Redis refusing for want of memory is an
// error to the producer and nothing to the worker. On a cluster a partition whose slot
// moves, or whose master is gone, stands still until that is over; the others go on.
// A lost key, or a hand in Redis, may break an invariant all the same: package dispatcher/doctor
// finds that and mends it.
//
// # For the packages beside this one
//
// Some names are exported for packages worker, dispatcher/session, dispatcher/inspect and dispatcher/doctor alone,
// which work on what is opened here. Applications have no use for them, and they change without notice:
//
//   - [Dispatcher.Engine] and [Dispatcher.Leases] hand out what a Dispatcher works with;
//   - [Dispatcher.Find] and [JobOf] read a stored job, and [Job.Entry] is its place in a lane;
//   - [Dispatcher.CheckHandled] is what a pool asks before it starts, and [Dispatcher.Prunes] whether it has dead letters to remove.
//
// # Reading the sources
//
// Comments and names of tests quote the invariants above by number, and others that begin with another letter, such as
// L3: docs/statements.md says what each one claims.
//
// Reading order: connect.go, job.go, kind.go and typed.go; enqueue.go, with singles.go and unique.go; section.go, wait.go and outcome.go for
// who waits; actor.go, moved.go, ref.go, cancel.go, suspend.go, retry.go, watch.go, dead.go, replay.go and discard.go for operators, and deadfilter.go,
// deadset.go and deadall.go for many letters. What asks Redis is in
// internal/lanes, each verb a .go beside a .lua; its doc.go goes on from there. What is stored has its forms in internal/record.
// A script starts with those and with what internal/script gives to all; then come lease/*.lua and those of internal/lanes/parts
// that it uses.
package dispatcher
