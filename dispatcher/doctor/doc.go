// Package doctor proves that the indexes of a namespace agree with its lanes (I4, I7), says what stands still and why, and
// repairs. It takes nothing away that a job is stored in.
//
// Reading order: doctor.go examines and says when something is wrong; survey.go reads all keys of a partition; leftover.go,
// kept.go and limitcheck.go compare what jobs leave, outcomes, and limits; standstill.go and server.go warn; repair.go
// mends. Each suspicion is looked at again at one moment before it is reported or mended.
package doctor
