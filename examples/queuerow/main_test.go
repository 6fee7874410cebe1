package main

import "testing"

// L1: two rows without a unique key, one with it.
func TestL1_TwoProducersOneRow(t *testing.T) {
	t.Parallel()
	if twice, err := run(t.Context(), false); err != nil || twice == 0 {
		t.Errorf("the bug does not show: %d, %v", twice, err)
	}
	if twice, err := run(t.Context(), true); err != nil || twice != 0 {
		t.Errorf("%d builds have two entries, %v", twice, err)
	}
}
