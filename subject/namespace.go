package subject

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// MaxPartitions bounds how finely a namespace may be cut. Each partition costs
// an idle worker a script call now and then, so more is not better.
const MaxPartitions = 1024

// Namespace is one independent set of lanes, cut into a fixed number of
// partitions. All keys of a lane live in its partition, under one hash tag.
type Namespace struct {
	Name       string
	Partitions int
}

// CheckName returns an error that wraps [ErrInvalid] unless name is 1 to 64
// letters, digits, dots, dashes or underscores. Nothing else may enter a hash
// tag: a brace in it would change the slot of every key.
func CheckName(name string) error {
	if name == "" || len(name) > 64 {
		return fmt.Errorf("%w: namespace %q must be 1 to 64 bytes long", ErrInvalid, name)
	}
	for _, c := range []byte(name) {
		if !word(c) && c != '.' && c != '-' {
			return fmt.Errorf("%w: namespace %q may hold only letters, digits, '.', '-' and '_'",
				ErrInvalid, name)
		}
	}
	return nil
}

func word(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// Partition returns the partition that k belongs to: the 64-bit FNV-1a hash of
// its canonical bytes, folded to 32 bits, modulo the number of partitions. Of a slot
// the number counts for nothing.
func (ns Namespace) Partition(k Key) int {
	if k.Kind == SlotKind {
		k.ID, _, _ = strings.Cut(k.ID, "#")
	}
	h := fnv.New64a()
	h.Write([]byte(k.Canonical()))
	sum := h.Sum64()
	return int(uint32(sum^sum>>32) % uint32(ns.Partitions))
}
