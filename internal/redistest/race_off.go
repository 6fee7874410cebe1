//go:build !race

package redistest

// Race is whether the race detector watches.
const Race = false
