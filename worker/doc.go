// Package worker runs the jobs of an application: it is for programs that have handlers. A
// [Pool] claims the heads of lanes, keeps their leases alive, calls the handler of each
// job's kind, and reports how it went. A program makes one with [New] on an opened
// dispatcher, gives it handlers with [Handle] or [Pool.Handle], and calls [Pool.Run], which
// goes on until its context ends, and then stops as is said below.
//
// # Who starts whom
//
//	Run ── join            the worker is listed, with a holder name of its own
//	    ├─ keeper          renews leases on a connection of its own (package lease)
//	    ├─ beat            says every few seconds that the worker is alive
//	    ├─ awaitWakeups    blocks on Redis while the pool has room and knows of no work
//	    └─ travel (four)   make round trips: what ended, what to claim, what to reap
//	         └─ work       one attempt after the other: last look, handler, end
//
// Travellers and attempts meet at the desk (desk.go): attempts lay their ends there,
// travellers take what has gathered and lay the answers there. While trips are in
// flight ends gather for the next, so batches grow with load, and a lone end never
// waits for company. An idle pool sends a few commands in ten seconds.
//
// # Who decides what
//
// The desk has the only lock, and decides nothing. Under it lie two that have none:
//
//   - the planner (plan.go) knows the partitions. It decides what goes into the next trip: ends,
//     a reap, how many lanes to ask for, a hint to pass on, an offer to refuse; and what an
//     answer teaches, down to how long a partition rests that was not served.
//   - the crew (crew.go) has the places. It decides which lane gets one, how many lanes are
//     claimed ahead, and when those that wait go back.
//
// Both are told what time it is, and so their tests are tables. What an answer means for the
// attempts that it is about is done beside the desk, by whoever travelled (settle.go).
//
// Lanes that were claimed ahead of fast handlers wait at the desk, and go back when
// they have waited too long. A goroutine that has nothing to do rests until there is
// a lane for it. Jobs that were claimed together with the head of their lane run in
// the same place, one after the other, while the lease lasts.
//
// # When the pool stops
//
// It claims no more, lets handlers finish for Config.StopTimeout, then cancels them.
// Those that return with an error are handed back with the attempt refunded; what
// returns nil has finished; what does not return is left to its lease. They must die
// but their jobs live on: running a job twice is better than losing it.
//
// # Reading the sources
//
// A pool knows no Redis. It knows an interface, source, of the verbs that it needs of
// dispatcher/session, and so its tests run on a fake in fake time. Numbers in comments,
// such as L8, are statements of docs/statements.md, or invariants of package dispatcher.
//
// Reading order: worker.go, handler.go and typed.go, handling.go, run.go, desk.go with plan.go and
// crew.go, attempt.go with context.go, watch.go and verdict.go, settle.go; ready.go is for tests.
package worker
