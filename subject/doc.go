// Package subject holds the nouns of Lanekeeper: the key whose jobs must not
// overlap, the partition it falls into, and the name of every Redis key. It
// does no I/O and imports only the standard library, so that all other rooms
// can agree on names without depending on each other.
//
// A subject has three faces:
//
//	text       artifact:42        what people type and logs print
//	canonical  "\x08artifact42"   length-prefixed bytes, what Redis stores
//	partition  11 (of 16)         a pure function of the canonical bytes
//
// The canonical bytes and the partition are part of the stored data: changing
// either would let two releases put one subject into two lanes. A golden file
// (testdata/partitions.golden) pins both.
//
// Reading order: key.go, namespace.go, keys.go.
package subject
