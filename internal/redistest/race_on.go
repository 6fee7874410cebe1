//go:build race

package redistest

// Race is whether the race detector watches. It makes interpreters of scripts some ten times slower, so tests that are
// many cases of one thread each take a share of them then: 'make test' runs them whole without it.
const Race = true
