package main

import "testing"

// C7: the order of each crate is kept, with many handlers as with one.
func TestC7_CratesInParallel(t *testing.T) {
	t.Parallel()
	if _, disorder, err := run(t.Context(), 50); err != nil || disorder > 0 {
		t.Errorf("%d out of order, %v", disorder, err)
	}
}
