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
// A job's id is bytes too, and has a text form by the same rules. What is printed one a line has a
// third form, a word of a shell, which xargs takes for the text.
//
// Reading order: key.go, of.go, id.go, namespace.go, keys.go.
package subject
