// Package lease keeps the one record of who holds a subject, and for how long.
//
// # Authority
//
// Redis is the authority. A subject is held while the leases hash of its
// partition has a record for it, "<token> <use> <holder>"; the deadlines index says
// until when, by Redis's own clock. Every call that changes anything carries the
// token, and one Lua function, fenced, compares it. What a holder believes about
// its lease is never asked.
//
// A slot of a limit is a lease that comes with no lane ("slot"). What an operator asks of a holder stands beside
// the record, which says by one byte that there is something ("job!"). One function, free, is the way out of every
// lease, and says which lanes are to be parked then; renewing tells of a cancellation. A lane that nobody may have
// is parked: it has reasons, and no lease.
//
// # Life of a lease
//
//	        acquire, claim (token n)            renew
//	free ───────────────────────────► held ◄─────────┐
//	  ▲                                │ └────────────┘
//	  │ release, finish, retry,        │ deadline passes
//	  │ dead-letter, hand back         ▼
//	  ├────────────────────────────── over
//	  │                                │
//	  └────────────────────────────────┘
//	     reap; acquire over an empty lane
//
// A lease that is over stays its holder's until somebody reaps it: its holder can
// still report an end, but can't renew. The next lease has a larger token, and
// from then on the old token changes nothing.
//
// # Trust window
//
// A holder may work until
//
//	trusted until = request sent + TTL - margin
//
// where "request sent" is its local time before it sent the request that Redis
// granted. Redis counted the same TTL from a later moment, so the window closes at
// least margin before the lease can pass to another, however long the reply took.
// A [Keeper] renews at TTL/3 on a connection of its own, goes on trying when a
// renewal fails, and at the end of the window cancels the work's context with
// cause [ErrLost]. Local clocks only ever stop work earlier.
//
// # What is not answered
//
// Acquire, Renew and Release end with their contexts, and after ten seconds at the latest. What Redis
// has not answered then may have been done: the error wraps the dispatcher's ErrUnavailable, and
// a lease that was acquired so runs out.
//
// # What is not promised
//
// No lease, on any store, can keep two programs from touching a third thing at
// the same time: work may ignore its context, and a process may be frozen for
// longer than its lease between a check and a write. Work that writes elsewhere
// should send the token along and let the store refuse smaller ones. See
// docs/guarantees.md.
//
// If Redis loses acknowledged writes (failover, power cut), two holders may both
// believe in their leases until the first one's next renewal. Tokens still rise,
// because they follow the clock and not only a counter.
//
// Reading order: lease.go, fence.lua, lease.lua, handover.lua, acquire, renew, release, keeper.go.
package lease
