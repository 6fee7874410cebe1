package history

import (
	"slices"
	"testing"
	"time"
)

// at is a moment n milliseconds into a history.
func at(n int) time.Time { return time.UnixMilli(1_000_000 + int64(n)) }

func enqueue(job string, begin, end int) Event {
	return Event{Op: Enqueue, Subject: "s", Job: job, Begin: at(begin), Return: at(end)}
}

func claim(job, worker string, token int64, begin int) Event {
	return Event{Op: Claim, Subject: "s", Job: job, Worker: worker, Token: token, Begin: at(begin), Return: at(begin + 1)}
}

func start(job, worker string, token int64, begin int) Event {
	return Event{Op: Start, Subject: "s", Job: job, Worker: worker, Token: token, Begin: at(begin), Return: at(begin)}
}

func stop(job, worker string, token int64, begin int) Event {
	return Event{Op: Stop, Subject: "s", Job: job, Worker: worker, Token: token, Begin: at(begin), Return: at(begin)}
}

func finish(job, worker string, token int64, begin int) Event {
	return Event{Op: End, Subject: "s", Job: job, Worker: worker, Token: token, Begin: at(begin), Return: at(begin + 1), Outcome: Gone}
}

// delayed is an enqueue whose job takes its place n milliseconds later.
func delayed(e Event, n int) Event { e.Delay = time.Duration(n) * time.Millisecond; return e }

// ran is two jobs that were claimed, started and finished one after the other.
func ran(first string, token int64, begin int, second string, token2 int64, begin2 int) []Event {
	return []Event{
		claim(first, "w", token, begin), start(first, "w", token, begin+2), finish(first, "w", token, begin+4),
		claim(second, "w", token2, begin2), start(second, "w", token2, begin2+2), finish(second, "w", token2, begin2+4),
	}
}

func refused(e Event) Event { e.Refused = true; return e }
func open(e Event) Event    { e.Return = time.Time{}; return e }
func kept(e Event) Event    { e.Outcome = Kept; return e }

// good is a history in which two jobs run one after the other.
func good() []Event {
	return []Event{
		enqueue("a", 0, 1), enqueue("b", 2, 3),
		claim("a", "w", 1, 4), start("a", "w", 1, 6), stop("a", "w", 1, 9), finish("a", "w", 1, 10),
		claim("b", "w", 2, 20), start("b", "w", 2, 22), stop("b", "w", 2, 25), finish("b", "w", 2, 26),
	}
}

// without drops the events of one job from an op on.
func without(events []Event, op Op, job string) []Event {
	return slices.DeleteFunc(events, func(e Event) bool { return e.Op == op && e.Job == job })
}

// Each history is wrong in one way, and the checker must say in which.
func TestWrongHistories(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		events []Event
		world  World
		want   []string // rules
	}{
		"all well":       {events: good()},
		"still there":    {events: without(good(), End, "b"), world: World{Stored: map[string]bool{"b": true}}},
		"lost":           {events: without(without(without(good(), End, "b"), Start, "b"), Stop, "b"), want: []string{"loss"}},
		"end not known":  {events: append(without(good(), End, "b"), open(finish("b", "w", 2, 26)))},
		"lost by Redis":  {events: without(good(), End, "b"), world: World{Forgot: []time.Time{at(30)}}},
		"lost before it": {events: append(good(), enqueue("c", 40, 41)), world: World{Forgot: []time.Time{at(30)}}, want: []string{"loss"}},
		"enqueue not known": {
			events: append([]Event{open(enqueue("x", 0, 0))}, good()...),
		},
		"overtaken": {
			events: []Event{
				enqueue("a", 0, 1), enqueue("b", 2, 3), claim("b", "w", 1, 4), start("b", "w", 1, 6), finish("b", "w", 1, 8),
				claim("a", "w", 2, 10), start("a", "w", 2, 12), finish("a", "w", 2, 14),
			},
			want: []string{"lane", "order"},
		},
		"overtaken by what came after it fell due": {
			events: append([]Event{delayed(enqueue("a", 0, 1), 10), enqueue("b", 20, 21)}, ran("b", 1, 30, "a", 2, 40)...),
			want:   []string{"order"},
		},
		"overtaken by what fell due later": {
			events: append([]Event{delayed(enqueue("a", 0, 1), 10), delayed(enqueue("b", 2, 3), 20)}, ran("b", 1, 30, "a", 2, 40)...),
			want:   []string{"order"},
		},
		"overtaken by what came before it fell due": {
			events: append([]Event{delayed(enqueue("a", 0, 1), 10), enqueue("b", 5, 6)}, ran("b", 1, 30, "a", 2, 40)...),
		},
		"due together": {
			events: append([]Event{delayed(enqueue("a", 0, 4), 10), delayed(enqueue("b", 3, 5), 9)}, ran("b", 1, 30, "a", 2, 40)...),
		},
		"enqueued together": {
			events: []Event{
				enqueue("a", 0, 3), enqueue("b", 1, 2), claim("b", "w", 1, 4), start("b", "w", 1, 6), finish("b", "w", 1, 8),
				claim("a", "w", 2, 10), start("a", "w", 2, 12), finish("a", "w", 2, 14),
			},
		},
		"token falls": {
			events: append(good()[:6:6], claim("b", "w", 1, 20), finish("b", "w", 1, 26)),
			want:   []string{"lane", "token"},
		},
		"stale end accepted": {
			events: []Event{
				enqueue("a", 0, 1), claim("a", "w", 1, 2), claim("a", "v", 2, 10), finish("a", "w", 1, 20),
			},
			want: []string{"lane", "stale"},
		},
		"stale end refused": {
			events: []Event{
				enqueue("a", 0, 1), claim("a", "w", 1, 2), claim("a", "v", 2, 10), refused(finish("a", "w", 1, 20)), finish("a", "v", 2, 21),
			},
		},
		"done again": {
			events: append(good(), claim("b", "v", 3, 40), start("b", "v", 3, 42), kept(finish("b", "v", 3, 43))),
			want:   []string{"lane", "repeat"},
		},
		"started twice under one token": {
			events: append(without(good(), End, "b"), start("b", "v", 2, 30), finish("b", "w", 2, 40)),
			want:   []string{"repeat"},
		},
		"started late, under a token of before": {
			events: append(good(), start("b", "v", 1, 40)),
		},
		"done twice": {
			events: append(good(), finish("b", "w", 2, 40)),
			want:   []string{"lane", "repeat"},
		},
		"done again after Redis forgot": {
			events: append(good(), claim("b", "v", 3, 40), start("b", "v", 3, 42), finish("b", "v", 3, 43)),
			world:  World{Forgot: []time.Time{at(30)}},
		},
		"claimed out of nothing": {
			events: []Event{enqueue("a", 10, 11), claim("a", "w", 1, 2), finish("a", "w", 1, 20)},
			want:   []string{"lane"},
		},
		"claimed while held": { // the first holder's end shows that its lease was alive
			events: []Event{
				enqueue("a", 0, 1), claim("a", "w", 1, 2), claim("a", "v", 2, 10), finish("a", "w", 1, 20), refused(finish("a", "v", 2, 22)),
			},
			want: []string{"lane", "stale"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slices.SortStableFunc(c.events, func(a, b Event) int { return a.Begin.Compare(b.Begin) })
			r := Check(c.events, c.world)
			var got []string
			for _, v := range r.Violations {
				got = append(got, v.Rule)
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("violations %v, want %v", r.Violations, c.want)
			}
		})
	}
}

func TestOverlapsAreMeasured(t *testing.T) {
	t.Parallel()
	r := Check([]Event{
		enqueue("a", 0, 1), claim("a", "w", 1, 2), start("a", "w", 1, 4),
		claim("a", "v", 2, 10), start("a", "v", 2, 12), stop("a", "w", 1, 15), stop("a", "v", 2, 30), finish("a", "v", 2, 31),
	}, World{})
	if r.Overlaps != 1 || r.LongestOverlap != 3*time.Millisecond || r.Executions != 2 || r.Repeats != 1 {
		t.Errorf("%+v", r)
	}
}
