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

// call is one of the operator's.
func call(op Op, job string, begin int) Event {
	return Event{Op: op, Subject: "s", Job: job, Begin: at(begin), Return: at(begin + 1)}
}

// there says that all jobs are there still.
var there = World{Stored: map[string]bool{"a": true, "b": true, "x": true}}

// keyed is an enqueue of a job that has a unique key.
func keyed(e Event) Event { e.Kind, e.Key = "k", "key"; return e }

func along(e Event, jobs ...string) Event { e.Along = jobs; return e }
func goesOn(e Event) Event                { e.GoesOn = true; return e }
func of(kind string, e Event) Event       { e.Kind = kind; return e }
func in(subject string, e Event) Event    { e.Subject = subject; return e }
func again(e Event, attempt int) Event    { e.Attempt = attempt; return e }

func refused(e Event) Event { e.Refused = true; return e }
func open(e Event) Event    { e.Return = time.Time{}; return e }
func kept(e Event) Event    { e.Outcome = Kept; return e }
func loose(e Event) Event   { e.Loose = true; return e }
func maybe(e Event) Event   { e.Outcome = Maybe; return open(e) }

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
		"overtaken, for Redis forgot it before the answer to its claim was there": {
			events: []Event{
				enqueue("a", 0, 1), claim("a", "w", 1, 2), enqueue("b", 10, 11), claim("b", "v", 2, 12), start("b", "v", 2, 14), finish("b", "v", 2, 16),
				start("a", "w", 1, 18), refused(finish("a", "w", 1, 20)),
			},
			world: World{Forgot: []time.Time{at(6)}},
		},
		"overtaken long before Redis forgot": {
			events: []Event{
				enqueue("a", 0, 1), claim("a", "w", 1, 2), enqueue("b", 10, 11), claim("b", "v", 2, 12), start("b", "v", 2, 14), finish("b", "v", 2, 16),
				start("a", "w", 1, 18), refused(finish("a", "w", 1, 20)),
			},
			world: World{Forgot: []time.Time{at(30)}},
			want:  []string{"order"},
		},
		"overtaken after it was set aside by a worker that nobody heard of": {
			events: append([]Event{loose(enqueue("a", 0, 1)), enqueue("b", 2, 3)}, claim("b", "w", 1, 4), start("b", "w", 1, 6), finish("b", "w", 1, 8),
				again(claim("a", "w", 2, 10), 2), again(start("a", "w", 2, 12), 2), finish("a", "w", 2, 14)),
		},
		"overtaken, though it would have been set aside": {
			events: append([]Event{loose(enqueue("a", 0, 1)), enqueue("b", 2, 3)}, claim("b", "w", 1, 4), start("b", "w", 1, 6), finish("b", "w", 1, 8),
				claim("a", "w", 2, 10), again(start("a", "w", 2, 12), 1), finish("a", "w", 2, 14)),
			want: []string{"order"},
		},
		"overtaken after its worker died, and not set aside by that": {
			events: append([]Event{enqueue("a", 0, 1), enqueue("b", 2, 3)}, claim("b", "w", 1, 4), start("b", "w", 1, 6), finish("b", "w", 1, 8),
				again(claim("a", "w", 2, 10), 2), again(start("a", "w", 2, 12), 2), finish("a", "w", 2, 14)),
			want: []string{"lane", "order"},
		},
		"enqueued together": {
			events: []Event{
				enqueue("a", 0, 3), enqueue("b", 1, 2), claim("b", "w", 1, 4), start("b", "w", 1, 6), finish("b", "w", 1, 8),
				claim("a", "w", 2, 10), start("a", "w", 2, 12), finish("a", "w", 2, 14),
			},
		},
		"token falls": {
			events: append(good()[:6:6], claim("b", "w", 1, 20), finish("b", "w", 1, 26)),
			want:   []string{"given back", "lane", "token"},
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
			want:   []string{"given back", "lane", "repeat"},
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
		"starts after its cancel": {
			events: []Event{enqueue("a", 0, 1), call(Cancel, "a", 2), start("a", "w", 1, 10)},
			want:   []string{"cancel"},
		},
		"starts while it is cancelled": {
			events: []Event{enqueue("a", 0, 1), start("a", "w", 1, 3), open(call(Cancel, "a", 2))},
		},
		"claimed after its cancel": {
			events: []Event{enqueue("a", 0, 1), call(Cancel, "a", 2), claim("a", "w", 1, 10)},
			want:   []string{"lane"},
		},
		"ended after its lease was given back": {
			events: []Event{enqueue("a", 0, 1), claim("a", "w", 1, 2), kept(finish("a", "w", 1, 4)), finish("a", "w", 1, 8)},
			want:   []string{"given back", "lane"},
		},
		"ended after the end of the job before it gave the lease back": {
			events: []Event{enqueue("a", 0, 1), enqueue("b", 2, 3), along(claim("a", "w", 1, 4), "b"), finish("a", "w", 1, 6), finish("b", "w", 1, 8)},
			want:   []string{"given back", "lane"},
		},
		"ended under a lease that goes on": {
			events: []Event{enqueue("a", 0, 1), enqueue("b", 2, 3), along(claim("a", "w", 1, 4), "b"), goesOn(finish("a", "w", 1, 6)), finish("b", "w", 1, 8)},
		},
		"a batch that stays, and then goes on in its order": { // the second job was never the head, and its end went unexplained
			events: append([]Event{
				enqueue("a", 0, 1), enqueue("b", 2, 3), enqueue("c", 4, 5),
				along(claim("a", "w", 1, 4), "b"), goesOn(kept(finish("a", "w", 1, 6))), kept(finish("b", "w", 1, 6)),
			}, append(ran("a", 2, 20, "b", 3, 30), claim("c", "w", 4, 40), finish("c", "w", 4, 44))...),
		},
		"a batch that stays, and then goes on in another order": {
			events: []Event{
				enqueue("a", 0, 1), enqueue("b", 2, 3),
				along(claim("a", "w", 1, 4), "b"), goesOn(kept(finish("a", "w", 1, 6))), kept(finish("b", "w", 1, 6)), claim("b", "w", 2, 20),
			},
			want:  []string{"lane"},
			world: there,
		},
		"a batch whose first job stays": {
			events: []Event{
				enqueue("a", 0, 1), enqueue("b", 2, 3),
				along(claim("a", "w", 1, 4), "b"), goesOn(kept(finish("a", "w", 1, 6))), finish("b", "w", 1, 6), claim("b", "w", 2, 20),
			},
			want:  []string{"lane"},
			world: there,
		},
		"an unanswered failure that was the last": { // as many workers had failed it as may
			events: []Event{enqueue("a", 0, 1), enqueue("b", 2, 3), claim("a", "w", 1, 4), maybe(finish("a", "w", 1, 6)), claim("b", "w", 2, 20)},
			world:  there,
		},
		"an unanswered failure that was not the last": {
			events: []Event{enqueue("a", 0, 1), enqueue("b", 2, 3), claim("a", "w", 1, 4), maybe(finish("a", "w", 1, 6)), claim("a", "w", 2, 20)},
			world:  there,
		},
		"an unanswered failure of both of a batch, the second of them the last": {
			events: []Event{
				enqueue("a", 0, 1), enqueue("b", 2, 3), enqueue("x", 4, 5), along(claim("a", "w", 1, 6), "b"),
				goesOn(maybe(finish("a", "w", 1, 8))), maybe(finish("b", "w", 1, 8)), claim("a", "w", 2, 20), finish("a", "w", 2, 22), claim("x", "w", 3, 30),
			},
			world: there,
		},
		"an unanswered failure lets two jobs go": {
			events: []Event{
				enqueue("a", 0, 1), enqueue("b", 2, 3), enqueue("x", 4, 5), claim("a", "w", 1, 6), maybe(finish("a", "w", 1, 8)), claim("x", "w", 2, 20),
			},
			want:  []string{"lane"},
			world: there,
		},
		"an unanswered hand-back of a batch leaves its first job behind": {
			events: []Event{
				enqueue("a", 0, 1), enqueue("b", 2, 3), along(claim("a", "w", 1, 4), "b"),
				goesOn(open(kept(finish("a", "w", 1, 6)))), open(kept(finish("b", "w", 1, 6))), claim("b", "w", 2, 20),
			},
			want:  []string{"lane"},
			world: there,
		},
		"an unanswered hand-back lets its job go": {
			events: []Event{enqueue("a", 0, 1), enqueue("b", 2, 3), claim("a", "w", 1, 4), open(kept(finish("a", "w", 1, 6))), claim("b", "w", 2, 20)},
			want:   []string{"lane"},
			world:  there,
		},
		"token falls from worker to worker": {
			events: append(good()[:6:6], claim("b", "v", 0, 20)),
			want:   []string{"lane", "token"},
			world:  there,
		},
		"two workers have one token": {
			events: append(good()[:6:6], claim("b", "v", 1, 20)),
			want:   []string{"lane", "token"},
			world:  there,
		},
		"claimed while its lane is suspended": {
			events: []Event{enqueue("a", 0, 1), call(Suspend, "", 2), claim("a", "w", 1, 4), call(Resume, "", 8)},
			want:   []string{"suspension"},
			world:  there,
		},
		"claimed while it is suspended": {
			events: []Event{enqueue("a", 0, 1), call(Suspend, "a", 2), claim("a", "w", 1, 4)},
			want:   []string{"suspension"},
			world:  there,
		},
		"taken along while it is suspended": {
			events: []Event{enqueue("a", 0, 1), enqueue("b", 2, 3), call(Suspend, "b", 4), along(claim("a", "w", 1, 6), "b"), start("b", "w", 1, 9)},
			want:   []string{"suspension"},
			world:  there,
		},
		"came into a hand while it was suspended": {
			events: []Event{
				enqueue("x", 0, 1), enqueue("a", 0, 1), enqueue("b", 2, 3), along(claim("x", "w", 1, 4), "a"), call(Suspend, "b", 5),
				along(goesOn(finish("x", "w", 1, 7)), "b"), goesOn(finish("a", "w", 1, 9)), start("b", "w", 1, 11),
			},
			want:  []string{"suspension"},
			world: there,
		},
		"claimed before a suspended one": {
			events: []Event{enqueue("a", 0, 1), enqueue("b", 2, 3), call(Suspend, "b", 4), claim("a", "w", 1, 6), start("a", "w", 1, 9)},
			world:  there,
		},
		"claimed while it is resumed": {
			events: []Event{enqueue("a", 0, 1), call(Suspend, "", 2), claim("a", "w", 1, 6), call(Resume, "", 7)},
			world:  there,
		},
		"claimed after it was resumed": {
			events: []Event{enqueue("a", 0, 1), call(Suspend, "", 2), call(Suspend, "a", 4), call(Resume, "", 6), claim("a", "w", 1, 8), start("a", "w", 1, 9)},
			world:  there,
		},
		"claimed before it was suspended": {
			events: []Event{enqueue("a", 0, 1), claim("a", "w", 1, 2), call(Suspend, "", 4), start("a", "w", 1, 6), finish("a", "w", 1, 8)},
		},
		"suspension lost by Redis": {
			events: []Event{enqueue("a", 0, 1), call(Suspend, "", 2), claim("a", "w", 1, 14)}, world: World{Forgot: []time.Time{at(10)}},
		},
		"more than a limit": {
			events: []Event{
				of("few", start("a", "w", 1, 1)), in("t", of("few", start("b", "v", 1, 2))),
				of("few", stop("a", "w", 1, 3)), in("t", of("few", stop("b", "v", 1, 4))),
			},
			world: World{Limits: map[string]int{"few": 1}}, want: []string{"limit"},
		},
		"as many as a limit, and one that died": {
			events: []Event{
				of("few", start("x", "w", 1, 0)), of("few", start("a", "w", 1, 1)), of("few", stop("a", "w", 1, 3)),
				in("t", of("few", start("b", "v", 1, 3))), in("t", of("few", stop("b", "v", 1, 4))),
			},
			world: World{Limits: map[string]int{"few": 1}},
		},
		"two wait with one key": {
			events: []Event{keyed(enqueue("a", 0, 1)), keyed(enqueue("b", 2, 3)), claim("a", "w", 1, 4), start("a", "w", 1, 6)},
			want:   []string{"unique"},
			world:  there,
		},
		"one waits with a key while the other runs": {
			events: []Event{keyed(enqueue("a", 0, 1)), claim("a", "w", 1, 2), keyed(enqueue("b", 4, 5))},
			world:  there,
		},
		"one waits with a key while another one runs along": {
			events: []Event{enqueue("x", 0, 0), keyed(enqueue("a", 0, 1)), along(claim("x", "w", 1, 2), "a"), keyed(enqueue("b", 4, 5))},
			world:  there,
		},
		"one waits with a key while another one came into a hand": {
			events: []Event{
				enqueue("x", 0, 0), enqueue("y", 0, 0), keyed(enqueue("a", 0, 1)), along(claim("x", "w", 1, 2), "y"), along(goesOn(finish("x", "w", 1, 3)), "a"),
				keyed(enqueue("b", 5, 6)), goesOn(finish("y", "w", 1, 7)),
			},
			world: there,
		},
		"one waits with a key while the other ran unheard": {
			events: []Event{keyed(enqueue("a", 0, 1)), keyed(enqueue("b", 4, 5)), again(claim("a", "w", 1, 8), 2)},
			world:  there,
		},
		"merged into one that starts no more": {
			events: append(good(), call(Merge, "b", 40)),
			want:   []string{"merge"},
		},
		"merged into one that starts then": {
			events: append(good(), call(Merge, "b", 21)),
		},
		"merged into one that is there": {
			events: append(good(), call(Merge, "b", 40)), world: World{Stored: map[string]bool{"b": true}},
		},
		"done, and enqueued again because nobody answered": {
			events: append([]Event{enqueue("x", 0, 50)}, append(ran("x", 1, 10, "x", 2, 20), again(claim("x", "w", 3, 60), 1))...),
		},
		"replayed": {
			events: append(good(), call(Replay, "b", 30), claim("b", "w", 3, 40), start("b", "w", 3, 42), finish("b", "w", 3, 44)),
		},
		"started at the moment of its replay": {
			events: append(good(), start("b", "w", 3, 30), call(Replay, "b", 30), finish("b", "w", 3, 44)),
			want:   []string{"lane"}, // nobody claimed it
		},
		"replayed, and done twice": {
			events: append(good(), call(Replay, "b", 30), claim("b", "w", 3, 40), start("b", "w", 3, 42), finish("b", "w", 3, 44), start("b", "w", 4, 50)),
			want:   []string{"repeat"},
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
	together := Check([]Event{start("a", "w", 1, 4), start("b", "w", 1, 4), stop("b", "w", 1, 9), stop("a", "w", 1, 9)}, World{})
	if together.Overlaps != 0 {
		t.Errorf("a batch overlaps itself: %+v", together)
	}
}
