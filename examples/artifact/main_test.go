package main

import "testing"

// G2, G4, C8: without lanes the bug shows, with lanes but without the token it shows for those
// that hung and came back, and with both it is gone.
func TestG2G4C8_MoveAgainstExpire(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		lanes, checks bool
		leaks         bool
	}{
		{"without lanes", false, false, true}, {"without tokens", true, false, true}, {"with both", true, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := run(t.Context(), c.lanes, c.checks)
			if err != nil {
				t.Fatal(err)
			}
			if r.Leaked > 0 != c.leaks || c.lanes && r.Late > 0 == c.checks {
				t.Errorf("%+v", r)
			}
			if c.lanes && r.Leaked > hanging {
				t.Errorf("%d leaked, only %d moves hung", r.Leaked, hanging)
			}
		})
	}
}
