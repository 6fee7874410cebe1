// Package doctor proves that what Redis has of a namespace agrees with itself, says what stands
// still and why, and repairs. It is for operators, and for programs that look after a system once
// an hour, say; applications and pools need none of it. A program begins with [New] on a
// dispatcher that it has opened, calls [Doctor.Examine], and calls [Doctor.Repair] when there are
// findings that are [Wrong].
//
// # What is examined
//
// The lanes and the stored jobs are the truth, and all else is an index of them that can be made
// anew. The doctor proves two of the invariants that package dispatcher lists: a lane with jobs
// is in exactly one of ready, leased and parked (I4), and a stored job stands in exactly one
// place (I7). Beside these it compares what jobs leave behind (unique keys, outcomes, notes), the
// numbers that a partition counts, and the limits that are enforced with those that are declared.
// It warns of settings of a server that lose jobs, and of lanes that wait for what nobody does.
//
// # How it looks
//
// Nobody is stopped. A survey reads a partition piece by piece, so it sees some jobs twice and
// some between two places. Therefore each suspicion is looked at again, at one moment, before it
// is reported or mended: what moves is no finding. Steps are small, 200 elements or 1 MiB, and
// the whole costs as much as there are jobs. The doctor's own process keeps ids and places of one
// partition in memory at a time, and no payloads.
//
// # What it never does
//
// It takes nothing away that a job is stored in: a job that has no place becomes a dead letter,
// and a key of a wrong type is renamed. It lets no lane go on whose reason to stand still is
// lost.
//
// Reading order: doctor.go examines and says when something is wrong; survey.go reads all keys of
// a partition; leftover.go, kept.go and limitcheck.go compare what jobs leave, outcomes, and
// limits; standstill.go and server.go warn; repair.go mends; unscanned.go does without a right.
package doctor
