// Package session is how a pool talks with a namespace: it joins, claims lanes and reports the ends of attempts in
// turns, keeps its leases, listens, and says that it is alive. It is for those who write a pool of their own.
// Applications use package worker, which is such a pool.
//
// A pool calls [Join], then [Session.Turns] for each trip: the ends of attempts, whether to reap, and how many
// lanes it can take. It runs what it claims under [Claim.Lease] and [Claim.Slots], which it renews with
// [Session.Renew] well before their end; whoever runs a job must have stopped before its lease expires.
// [Session.Wait] blocks until there may be work, [Session.Asked] tells that an operator wants something, and
// [Session.Beat] is due every [BeatEvery]. Hints may get lost: a pool asks every now and then without one, and
// reaps.
//
// Without limits a trip is one round trip. Under limits it takes up to five: starts are asked for before
// lanes, in turn with all who are short of them, and starts that no claim has used go back (I13 and I15 of
// the invariants that package dispatcher lists).
//
// Reading order: session.go; claim.go and end.go, what is claimed and what is said of it; turn.go; for limits
// limit.go, which of them apply, permit.go, the steps of a trip, starts.go, taking and giving back, line.go,
// places in line, and lost.go, answers that did not come; rank.go for priorities; reap.go, beat.go,
// durations.go, what is measured, with trail.go for what ran, and hot.go for which subjects took most; prune.go; blame.go.
package session
