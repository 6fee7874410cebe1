// Package lanes is the engine: an opened namespace, and every verb that changes what is stored, each one .go
// file beside one .lua file of the same name. A Go twin makes the call and reads the reply; what the words of a
// reply mean to a user, the rooms above say. The invariants that scripts quote are in dispatcher/doc.go.
//
// Shared: namespace.go opens, ask.go asks, scan.go walks keys, look.go reads lanes and where a job stands,
// incomplete.go goes across partitions, news.go listens, holder.go knows what work holds, errors.go and text.go
// have what is said, scripts.go puts Lua together from parts/, from internal/record and from lease.
//
// A job's way: enqueue; turn, which finishes and claims; end, for all other ends; reap. A section's: section,
// leave, wait. Limits: limit, overtake; ready, slot, giveback around a turn. Operators, of whom actor.go has who acts: cancel, suspend, retry,
// resume, suspendjob, replay, discard. Workers: beat, measure, trail, hot, refund. Kinds: register, undeclare. Repairs:
// aside, leftover, mend, restore, recount, raise, keeprepair. Holds: hold, impose.
//
// The longer scripts read as their steps, whose functions are in parts/: of enqueue arriving, rivals and
// placing; of turn finishing, claiming, handing, lot, holding and leaving; of end and reap ending and fates; of mend cleaning and
// mending; of slot and giveback short; of the operators' acting. The other parts, lane, locate, notes, taken, kept and due, are for
// several scripts.
//
// Calls come in two sorts. A method that takes a context asks at once, and returns what Redis said. One that
// returns a [script.Call] only makes it: the caller sends several in one round trip, and a Read function, or a
// method of what was returned, reads the reply.
package lanes
