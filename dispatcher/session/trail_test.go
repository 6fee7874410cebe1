package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// A sample has as many of each part as the part has of all, whether it was drawn at once or put together; and what is
// added after that has the same chance. Chance may be off by six times its deviation.
func TestSamplesAreUniform(t *testing.T) {
	t.Parallel()
	var s, o sample
	add := func(to *sample, n int, what string) {
		for i := range n {
			to.add(&Attempt{Subject: subject.Key{Kind: "s", ID: "a"}, ID: fmt.Sprint(what, i), Kind: "k", Holder: "w", Ending: EndFinished}, mostSampled)
		}
	}
	add(&s, 2000, "a")
	add(&o, 6000, "b")
	s.merge(&o, mostSampled)
	add(&s, 2000, "c")
	counts := make(map[byte]int)
	for _, entry := range s.entries(mostSampled) {
		a, ok := record.ParseAttempt(entry)
		if !ok || a.Of != 50 {
			t.Fatalf("%q is read as %+v", entry, a)
		}
		counts[a.ID[1]]++
	}
	if a, b, c := counts['a'], counts['b'], counts['c']; a+b+c != 200 || a < 6 || a > 74 || c < 6 || c > 74 {
		t.Errorf("of 2000, 6000 and 2000 it has %v", counts)
	}
}

// However many attempts there are, a sample has room for twice as many as it keeps, and of an error for a part of its first line.
func TestSamplesHaveABound(t *testing.T) {
	t.Parallel()
	var s sample
	a := Attempt{
		Subject: subject.Key{Kind: "s", ID: "a"}, ID: "j", Kind: "k", Holder: "w", Ending: EndFailed, StartedAt: time.UnixMilli(1), EndedAt: time.UnixMilli(2),
		Error: "\xff" + strings.Repeat("é", 100) + "\nsecond",
	}
	for range 100_000 {
		s.add(&a, mostSampled)
	}
	if len(s.kept) >= 2*mostSampled || cap(s.kept) != 2*mostSampled || s.seen != 100_000 {
		t.Errorf("it keeps %d of %d, with room for %d", len(s.kept), s.seen, cap(s.kept))
	}
	got, _ := record.ParseAttempt(s.entries(mostSampled)[0])
	if got.Error != strings.Repeat("é", 59) { // of 120 bytes, what is UTF-8
		t.Errorf("the error is %q", got.Error)
	}
}
