package inspect

import "testing"

// A cursor comes from a command line: no text makes reading it panic.
func FuzzCursors(f *testing.F) {
	for _, s := range []string{"", "0", "1.5:ij", "3:7", "\xff", "-1:x"} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, s string) {
		_, _ = parseDeadCursor(s)
		_, _ = parseCursor(s, 4)
		_, _ = parseTrailCursor(s)
		_, _ = parseScheduleCursor(s, 4)
	})
}
