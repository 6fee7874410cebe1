package dispatcher

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

//go:embed slot.lua
var slotLua string

//go:embed giveback.lua
var givebackLua string

var (
	slotScript     = verb("slot", slotLua)
	givebackScript = verb("give back", givebackLua)
)

// A limit of N is N slots, which are leases: whoever starts a job of the kind, or of the pool,
// takes one first, keeps it alive like the lane's, and gives it back at the end. So a limit
// holds across partitions, which no script could count over on a cluster, and after a
// crash; and what it costs is paid by those who have one.

func kindLimit(kind string) string { return "kind/" + kind }
func poolLimit(pool string) string { return "pool/" + pool }

// limitRecord is what stands among the limits: "<most at once> <ms between two starts>".
func limitRecord(most int, every time.Duration) string {
	return fmt.Sprintf("%d %d", most, every.Milliseconds())
}

// limitHome is the partition that a limit's slots are in.
func (d *Dispatcher) limitHome(name string) int { return d.ns.Partition(subject.Slot(name, 1)) }

// registerLimits writes limits to where they are enforced. A kind without one has one of "0 0",
// which limits nothing: those who knew another one find that, and not none.
func (d *Dispatcher) registerLimits(ctx context.Context, limits map[string]string) error {
	if len(limits) == 0 {
		return nil
	}
	_, err := d.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for name, record := range limits {
			pipe.HSet(ctx, d.keys[d.limitHome(name)].Limits(), name, record)
		}
		return nil
	})
	return wrap("register limits", err)
}

// limit is one limit that a session's claims are under.
type limit struct {
	name  string
	kinds []string // of the session's kinds, those that it limits
}

// limitsOf returns the limits of a claimant: those of its kinds, and that of its pool.
func (d *Dispatcher) limitsOf(ctx context.Context, who *Claimant) ([]limit, error) {
	var limits []limit
	for _, kind := range who.Kinds {
		if k, ok := d.registry[kind]; ok && (k.Limit > 0 || k.Every > 0) {
			limits = append(limits, limit{kindLimit(kind), []string{kind}})
		}
	}
	if who.Pool != "" {
		name := poolLimit(who.Pool)
		known, err := d.rdb.HExists(ctx, d.keys[d.limitHome(name)].Limits(), name).Result()
		if err != nil {
			return nil, wrap("read the limit of the pool", err)
		}
		if known {
			limits = append(limits, limit{name, who.Kinds})
		}
	}
	return limits, nil
}

// taken is what a session got of one limit for one turn.
type taken struct {
	*limit
	starts int
	mark   string
	slots  []lease.Lease // not used yet; none where the limit is a rate only
	later  time.Duration // until more may be had; negative when that is not known
}

// limited makes a turn of a session whose claims are under limits: slots first, then lanes for
// as many jobs as there are slots, then back with what was left.
func (s *Session) limited(ctx context.Context, t Turn) Turned {
	want := 0
	if t.Claim {
		want = min(t.Want, MaxClaim)
	}
	// What has ended is reported meanwhile: it must not wait for a server that has the limits.
	var reported Turned
	var both sync.WaitGroup
	both.Go(func() {
		reported = s.d.turns(ctx, &s.who, []Turn{{Partition: t.Partition, Ends: t.Ends, Reap: t.Reap}})[0]
	})
	got, failed := s.exchange(ctx, t.Ends, want)
	both.Wait()

	who := s.who
	later := who.fit(got, want, &t)
	answer := s.d.turns(ctx, &who, []Turn{{Partition: t.Partition, Claim: t.Claim, Want: t.Want}})[0]
	for i := range answer.Claims {
		for k := range got {
			got[k].hand(&answer.Claims[i])
		}
	}
	s.giveRest(ctx, got)
	answer.Ended, answer.Reaped = reported.Ended, reported.Reaped
	answer.Err = cmp.Or(answer.Err, reported.Err, failed)
	if later >= 0 && answer.limited {
		answer.Later = max(later, time.Millisecond)
	}
	return answer
}

// exchange gives the slots of jobs that have ended back, and takes as many as are wanted of each
// limit. Of a limit that does not answer it has none: nothing of that starts.
func (s *Session) exchange(ctx context.Context, ends []End, want int) (got []taken, failed error) {
	ended := make(map[string][]lease.Lease)
	for _, e := range ends {
		if !e.GoesOn {
			for _, slot := range e.Claim.Slots {
				ended[limitName(slot)] = append(ended[limitName(slot)], slot)
			}
		}
	}
	var calls []*script.Call
	for i := range s.limits {
		if slots := ended[s.limits[i].name]; len(slots) > 0 {
			calls = append(calls, s.giveBack(&s.limits[i], "-", slots))
		}
	}
	back := len(calls)
	for i := range s.limits {
		if l := &s.limits[i]; want > 0 {
			calls = append(calls, s.d.run.Once(s.d.limitHome(l.name), slotScript, nil,
				l.name, s.who.Holder, s.who.TTL.Milliseconds(), want))
		}
	}
	sent := time.Now()
	s.d.run.Run(ctx, calls...)
	for i, call := range calls[back:] {
		g, err := s.readSlots(call, &s.limits[i], sent)
		if err != nil {
			failed = err
			g = taken{limit: &s.limits[i], later: -1}
		}
		got = append(got, g)
	}
	return got, failed
}

// fit makes a claim ask for no more than what was got of the limits that are in its way, and
// returns how long until one of them may give more, or less than 0.
func (c *Claimant) fit(got []taken, want int, t *Turn) (later time.Duration) {
	later = -1
	c.budget = make(map[string]int)
	for i := range got {
		g := &got[i]
		if g.starts == want {
			continue // it is not in the way
		}
		if g.later >= 0 && (later < 0 || g.later < later) {
			later = g.later
		}
		for _, kind := range g.kinds {
			if n, ok := c.budget[kind]; !ok || g.starts < n {
				c.budget[kind] = g.starts
			}
		}
		if len(g.kinds) == len(c.Kinds) { // all of them share it
			t.Want = min(t.Want, g.starts)
		}
	}
	return later
}

// hand gives a claim what it needs of a limit.
func (g *taken) hand(c *Claim) {
	if !slices.Contains(g.kinds, c.Kind) || g.starts == 0 {
		return
	}
	g.starts--
	if len(g.slots) > 0 {
		c.Slots = append(c.Slots, g.slots[0])
		g.slots = g.slots[1:]
	}
}

// giveRest gives back what no claim has used.
func (s *Session) giveRest(ctx context.Context, got []taken) {
	var calls []*script.Call
	for i := range got {
		if g := &got[i]; g.starts > 0 {
			calls = append(calls, s.giveBack(g.limit, g.mark, g.slots))
		}
	}
	if len(calls) > 0 {
		s.d.run.Run(ctx, calls...) // what does not arrive ends by itself
	}
}

func (s *Session) giveBack(l *limit, mark string, slots []lease.Lease) *script.Call {
	args := []any{l.name, s.who.Holder, mark}
	for _, slot := range slots {
		args = append(args, slotNumber(slot), slot.Token.String())
	}
	return s.d.run.Once(s.d.limitHome(l.name), givebackScript, nil, args...)
}

// limitName and slotNumber are the parts of a slot's name, "<limit>#<number>".
func limitName(slot lease.Lease) string {
	name, _, _ := cutLast(slot.Subject.ID)
	return name
}

func slotNumber(slot lease.Lease) string {
	_, n, _ := cutLast(slot.Subject.ID)
	return n
}

func cutLast(s string) (before, after string, found bool) {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '#' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

func (s *Session) readSlots(call *script.Call, l *limit, sent time.Time) (taken, error) {
	g := taken{limit: l, later: -1}
	words, err := call.Words()
	if err != nil {
		return g, err
	}
	if words[0] == "none" {
		return g, fmt.Errorf("%w: limit %s is gone; start a process that declares it", ErrMismatch, l.name)
	}
	g.starts, err = strconv.Atoi(words[2])
	token, bad := lease.ParseToken(words[4])
	if err != nil || bad != nil {
		return g, fmt.Errorf("slot: reply %q", words)
	}
	g.mark = words[3]
	if ms, err := strconv.ParseInt(words[1], 10, 64); err == nil {
		g.later = time.Duration(ms) * time.Millisecond
	}
	for _, n := range words[5:] {
		number, err := strconv.Atoi(n)
		if err != nil {
			return g, fmt.Errorf("slot: reply %q", words)
		}
		g.slots = append(g.slots, lease.Lease{
			Subject: subject.Slot(l.name, number), Token: token, Holder: s.who.Holder, Proven: sent, TTL: s.who.TTL,
		})
	}
	return g, nil
}
