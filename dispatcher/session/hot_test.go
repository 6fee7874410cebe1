package session

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/subject"
)

// checked compares what a summary says with how it was: never too much, and too little by no more than a 65th of all.
func checked(t *testing.T, h *hot, was map[string]time.Duration) {
	t.Helper()
	var all time.Duration
	for _, long := range was {
		all += long
	}
	said := make(map[string]time.Duration)
	for _, s := range h.heat().Subjects {
		key, err := subject.FromCanonical(s.Subject)
		if _, twice := said[key.ID]; err != nil || twice {
			t.Fatalf("%q: %v, twice: %t", s.Subject, err, twice)
		}
		said[key.ID] = s.Took
	}
	if h.heat().All != all || len(said) > 64 {
		t.Errorf("%d subjects of %s, want %s", len(said), h.heat().All, all)
	}
	for id, long := range was {
		if said[id] > long || said[id] < long-all/65 {
			t.Errorf("%s took %s of %s, and it says %s", id, long, all, said[id])
		}
	}
	for id, long := range said {
		if long <= 0 || was[id] == 0 {
			t.Errorf("it says that %s took %s", id, long)
		}
	}
}

// However many subjects there are, whatever share each has, and however many summaries become one, what is said is a lower bound within a 65th.
func TestHotSubjects(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 0))
		var all hot
		was := make(map[string]time.Duration)
		for range 1 + random.IntN(4) {
			var h hot
			subjects := 1 + random.IntN(3000)
			part := make(map[string]time.Duration)
			for range random.IntN(5000) {
				id := fmt.Sprint(int(float64(subjects) * random.Float64() * random.Float64() * random.Float64()))
				long := time.Duration(random.IntN(1000))
				h.add(subject.Of("s", id), long)
				part[id], was[id] = part[id]+long, was[id]+long
			}
			checked(t, &h, part)
			all.merge(&h)
		}
		checked(t, &all, was)
	}
}

// 64 subjects are known exactly, and the 65th begins to be too many.
func TestHotPlaces(t *testing.T) {
	t.Parallel()
	var h hot
	rest := func() time.Duration {
		rest := h.all
		for _, s := range h.heat().Subjects {
			rest -= s.Took
		}
		return rest
	}
	for i := range 64 {
		h.add(subject.Of("s", i), time.Duration(i+1))
	}
	if rest() != 0 || len(h.places) != 64 {
		t.Errorf("of 64 %d is nobody's", rest())
	}
	h.add(subject.Of("s", 64), 10)
	if rest() != 65 || len(h.places) != 64 { // each gave up 1, which is all that the first had; the new one has 9
		t.Errorf("of 65 %d is nobody's, %d have a place", rest(), len(h.places))
	}
	rooms := func() map[*byte]bool {
		all := make(map[*byte]bool)
		for _, p := range h.places[:64] {
			all[&p.subject[:1][0]] = true
		}
		return all
	}
	before := rooms()
	for i := range 1000 {
		h.add(subject.Of("s", i), 3)
	}
	if !maps.Equal(rooms(), before) || cap(h.places) != 64 {
		t.Error("new subjects take new room")
	}
}

func BenchmarkHot(b *testing.B) {
	for _, subjects := range []int{10, 64, 1000, 100_000} {
		keys := make([]subject.Key, subjects)
		for i := range keys {
			keys[i] = subject.Of("artifact", i)
		}
		b.Run(fmt.Sprint(subjects), func(b *testing.B) {
			var h hot
			for i := 0; b.Loop(); i++ {
				h.add(keys[i%subjects], time.Duration(1+i%7)*time.Millisecond)
			}
		})
	}
}
