package boot

import (
	"sync/atomic"
	"testing"
	"time"
)

// What Slept says changes with a suspension and never otherwise, and the kernel is asked only when the clocks
// have moved apart.
func TestH20_SleptChangesWithSuspensionsAlone(t *testing.T) {
	t.Parallel()
	var last atomic.Pointer[told]
	const before = time.Hour // suspended before anybody asked
	for _, c := range []struct {
		name                   string
		apart, measured, wants time.Duration
		asks                   bool
	}{
		{"the first", 0, before, before, true},
		{"nothing has happened", 0, before + time.Second, before, false},
		{"what readings differ by", time.Millisecond / 2, before + time.Second, before, false},
		{"the wall clock was set forward", time.Minute, before + time.Millisecond, before, true},
		{"and stays so", time.Minute, 0, before, false},
		{"suspended for a minute", 2 * time.Minute, before + time.Minute, before + time.Minute, true},
		{"and awake", 2 * time.Minute, 0, before + time.Minute, false},
		{"the wall clock was set back", -time.Minute, before + time.Minute, before + time.Minute, true},
		{"suspended, the wall clock still back", 0, before + 2*time.Minute, before + 2*time.Minute, true},
	} {
		asked := false
		got := answer(&last, c.apart, func() time.Duration { asked = true; return c.measured })
		if got != c.wants || asked != c.asks {
			t.Errorf("%s: %s, asked %t; want %s and %t", c.name, got, asked, c.wants, c.asks)
		}
	}
	if a, b := Slept(), Slept(); a != b || a < 0 {
		t.Errorf("the machine has slept for %s, and at once for %s", a, b)
	}
}

func BenchmarkSlept(b *testing.B) {
	for b.Loop() {
		Slept()
	}
}
