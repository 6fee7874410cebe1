package dispatcher_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/doctor"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// full puts something into every index: a ready lane, a leased one, a delayed one, a
// suspended one, a scheduled job and a dead letter, each lane with a job behind its head; a
// suspended job, a unique key, an outcome that is kept, a ticket, and failures of a job.
func full(h *house) {
	for _, lane := range []string{"dead", "delayed", "leased", "ready"} {
		h.enqueued(lane, lane+"1", lane+"2", lane+"3")
		switch lane {
		case "dead":
			h.ok(h.DeadLetter(bg, h.head("w", "dead1", 1), "why", ""))
			h.ok(h.Finish(bg, h.head("w", "dead2", 1)))
			h.ok(h.Finish(bg, h.head("w", "dead3", 1)))
		case "delayed":
			_, err := h.Retry(bg, h.head("w", "delayed1", 1), time.Hour, "boom")
			h.ok(err)
		case "leased":
			h.head("w", "leased1", 1)
		}
	}
	h.enqueue(dispatcher.NewJob{Subject: key("later"), Kind: "k", ID: "later", Delay: time.Hour})
	_, err := h.Suspend(bg, key("stopped"), "for a while")
	h.ok(err)
	h.enqueued("stopped", "stopped1", "stopped2")
	h.enqueued("paused", "paused1", "paused2", "paused3")
	h.ok(h.SuspendJob(bg, ref("paused2")))
	h.enqueue(dispatcher.NewJob{Subject: key("paused"), Kind: "k", ID: "named", Unique: &dispatcher.Unique{Key: "u"}})
	h.enqueue(dispatcher.NewJob{Subject: key("paused"), Kind: "k", ID: "kept", Keep: 24 * time.Hour})
	_, err = h.Cancel(bg, ref("kept"))
	h.ok(err)
	k := h.Namespace().Keys(0)
	h.ok(h.rdb.RPush(bg, k.Tail(canonical("leased")), ticketEntry).Err())
	h.ok(h.rdb.ZAdd(bg, k.Expiring(), redis.Z{
		Score: float64(h.ms.Load() + 60_000), Member: fmt.Sprintf("t%d %s%s", len(canonical("leased")), canonical("leased"), ticketEntry),
	}).Err())
}

// ticketEntry stands in a lane for somebody who waits to run a section.
const ticketEntry = "\x07\x01iticket~1"

func canonical(id string) string { return key(id).Canonical() }

// corruptions lose each key of the schema and give it a wrong type, and disturb each index
// in each way that a defect or an operator's hand could.
func corruptions() map[string]func(rdb *redis.Client, k subject.Keys) error {
	all := map[string]func(rdb *redis.Client, k subject.Keys) error{
		"jobs lost":                   func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Jobs()).Err() },
		"heads lost":                  func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Heads()).Err() },
		"leases lost":                 func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Leases()).Err() },
		"deadlines lost":              func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Deadlines()).Err() },
		"parked lost":                 func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Parked()).Err() },
		"reasons of parked ones lost": func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.ParkReasons()).Err() },
		"scheduled lost":              func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Scheduled()).Err() },
		"dead lost":                   func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Dead()).Err() },
		"ready lost":                  func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Ready("k")).Err() },
		"tail lost":                   func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Tail(canonical("ready"))).Err() },
		"kinds lost":                  func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Kinds()).Err() },
		"listed twice": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.RPush(bg, k.Ready("k"), canonical("ready")).Err()
		},
		"listed while leased": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.RPush(bg, k.Ready("k"), canonical("leased")).Err()
		},
		"listed while delayed": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.RPush(bg, k.Ready("k"), canonical("delayed")).Err()
		},
		"parked while leased": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.ZAdd(bg, k.Parked(), redis.Z{Score: 1, Member: canonical("leased")}).Err()
		},
		"listed without a head": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.RPush(bg, k.Ready("k"), canonical("ghost")).Err()
		},
		"one body lost": func(rdb *redis.Client, k subject.Keys) error { return rdb.HDel(bg, k.Jobs(), "iready2").Err() },
		"body corrupt":  func(rdb *redis.Client, k subject.Keys) error { return rdb.HSet(bg, k.Jobs(), "iready2", "x").Err() },
		"orphan body":   func(rdb *redis.Client, k subject.Keys) error { return rdb.LPop(bg, k.Tail(canonical("ready"))).Err() },
		"in two places": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.ZAdd(bg, k.Dead(), redis.Z{Score: 1, Member: "iready2"}).Err()
		},
		"head unreadable": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HSet(bg, k.Heads(), canonical("ready"), "\xffx").Err()
		},
		"schedule garbled": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.ZAdd(bg, k.Scheduled(), redis.Z{Score: 9e15, Member: "x"}).Err()
		},
		"schedule cut": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.ZAdd(bg, k.Scheduled(), redis.Z{Score: 9e15, Member: "1 aXX"}).Err()
		},
		"tail without head": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HDel(bg, k.Heads(), canonical("ready")).Err()
		},
		"reasons lost": func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Reasons()).Err() },
		"clock lost":   func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Clock()).Err() },
		"reason of none": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HSet(bg, k.Reasons(), "iready2", "1 x\n").Err()
		},
		"lease garbled": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HSet(bg, k.Leases(), canonical("leased"), "mine").Err()
		},
		"deadline of none": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.ZAdd(bg, k.Deadlines(), redis.Z{Score: 9e15, Member: canonical("ready")}).Err()
		},
		"body of the head corrupt": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HSet(bg, k.Jobs(), "ileased1", "nothing that can be read").Err()
		},
		"scheduled body corrupt": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HSet(bg, k.Jobs(), "ilater", "nothing that can be read").Err()
		},
		"in another lane": func(rdb *redis.Client, k subject.Keys) error {
			entry, err := rdb.LPop(bg, k.Tail(canonical("ready"))).Result()
			if err != nil {
				return err
			}
			return rdb.RPush(bg, k.Tail(canonical("leased")), entry).Err()
		},
		"twice in its lane": func(rdb *redis.Client, k subject.Keys) error {
			entry, err := rdb.LIndex(bg, k.Tail(canonical("ready")), 0).Result()
			if err != nil {
				return err
			}
			return rdb.RPush(bg, k.Tail(canonical("ready")), entry).Err()
		},
		"garbage in a lane": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.RPush(bg, k.Tail(canonical("ready")), "\x07\x01iready1k2 3", "x", "").Err()
		},
		"behind itself, by other rules": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.RPush(bg, k.Tail(canonical("ready")), "\x07\x01iready1k9").Err()
		},
	}
	for name, key := range map[string]func(k subject.Keys) string{
		"park_reasons": subject.Keys.ParkReasons, "asks": subject.Keys.Asks, "unique": subject.Keys.Unique, "names": subject.Keys.Names,
		"outcomes": subject.Keys.Outcomes, "expiring": subject.Keys.Expiring, "notes": subject.Keys.Notes,
		"limits": subject.Keys.Limits,
	} {
		all[name+" of a wrong type"] = func(rdb *redis.Client, k subject.Keys) error {
			if err := rdb.Del(bg, key(k)).Err(); err != nil {
				return err
			}
			return rdb.Set(bg, key(k), "what is this", 0).Err()
		}
		if name != "outcomes" && name != "notes" && name != "asks" && name != "limits" { // what nothing points at can be missed by nobody
			all[name+" lost"] = func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, key(k)).Err() }
		}
	}
	for name, corrupt := range map[string]func(rdb *redis.Client, k subject.Keys) error{
		"suspended, but not parked": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HSet(bg, k.ParkReasons(), canonical("ready"), "suspended 1 why\n").Err()
		},
		"to be suspended, but its holder is not told": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HSet(bg, k.ParkReasons(), canonical("leased"), "suspended 1 why\n").Err()
		},
		"a suspended lane that is looked at by itself": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.ZAdd(bg, k.Parked(), redis.Z{Score: 9e15, Member: canonical("stopped")}).Err()
		},
		"parked for what nobody knows": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HSet(bg, k.ParkReasons(), canonical("delayed"), "because").Err()
		},
		"parked for its head, which is not suspended": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HSet(bg, k.ParkReasons(), canonical("stopped"), "suspended 1 why\njob -\n").Err()
		},
		"delayed without a head": func(rdb *redis.Client, k subject.Keys) error {
			return errors.Join(rdb.HSet(bg, k.ParkReasons(), canonical("ghost"), "backoff 9\n").Err(),
				rdb.ZAdd(bg, k.Parked(), redis.Z{Score: 9, Member: canonical("ghost")}).Err())
		},
		"asked of a holder who is not told": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HSet(bg, k.Asks(), canonical("leased"), "suspend 1 why\n").Err()
		},
		"asked of nobody": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HSet(bg, k.Asks(), canonical("ready"), "cancel 0\n").Err()
		},
		"a suspended head in a lane that is not": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HSet(bg, k.Notes(), "iready1", "0 suspended 0\n").Err()
		},
		"a note of nobody": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HSet(bg, k.Notes(), "inobody", "1 waits 2\nw\nboom").Err()
		},
		"a note of a dead letter": func(rdb *redis.Client, k subject.Keys) error {
			id, err := rdb.ZRange(bg, k.Dead(), 0, 0).Result()
			if err != nil {
				return err
			}
			return rdb.HSet(bg, k.Notes(), id[0], "1 waits 0\nboom").Err()
		},
		"an outcome for ever": func(rdb *redis.Client, k subject.Keys) error { return rdb.ZRem(bg, k.Expiring(), "oikept").Err() },
		"a key of nobody": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HSet(bg, k.Unique(), "1 akb", "inobody").Err()
		},
		"a ticket for ever": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.RPush(bg, k.Tail(canonical("ready")), ticketEntry).Err()
		},
		"a name without a key": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HSet(bg, k.Names(), "iready2", "0 1 akb").Err()
		},
		"a name of a job, gone": func(rdb *redis.Client, k subject.Keys) error { return rdb.HDel(bg, k.Names(), "inamed").Err() },
	} {
		all[name] = corrupt
	}
	keys := subject.Keys{}
	for i := range keys.Fixed() {
		all[fmt.Sprintf("key %d of a wrong type", i+1)] = func(rdb *redis.Client, k subject.Keys) error {
			return rdb.Set(bg, k.Fixed()[i], "what is this", 0).Err()
		}
	}
	all["tail of a wrong type"] = func(rdb *redis.Client, k subject.Keys) error {
		return rdb.Set(bg, k.Tail(canonical("ready")), "what is this", 0).Err()
	}
	all["wake-ups of a wrong type"] = func(rdb *redis.Client, k subject.Keys) error {
		return rdb.Set(bg, k.Wake("k"), "what is this", 0).Err()
	}
	all["ready list of a wrong type"] = func(rdb *redis.Client, k subject.Keys) error {
		return rdb.Set(bg, k.Ready("k"), "what is this", 0).Err()
	}
	return all
}

// The doctor says of each corruption that it is there [L6]; the repair ends it, is
// idempotent, and keeps every body that was there; and after it all that can be read
// runs.
func TestI4I7_EachCorruptionIsSeenAndRepaired(t *testing.T) {
	t.Parallel()
	for name, corrupt := range corruptions() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1})
			full(h)
			h.clean()
			k := h.Namespace().Keys(0)
			h.ok(corrupt(h.rdb, k))
			if found := h.findings(); len(found) == 0 {
				t.Error("the doctor finds nothing")
			}
			before := h.rdb.HKeys(bg, k.Jobs()).Val()

			done, err := h.Repair(bg, nil)
			h.ok(err)
			if len(done) == 0 {
				t.Error("nothing was repaired")
			}
			h.clean()
			if again, err := h.Repair(bg, nil); err != nil || len(again) > 0 {
				t.Errorf("a second repair does %+v, %v", again, err)
			}
			for _, id := range before {
				if !h.rdb.HExists(bg, k.Jobs(), id).Val() {
					t.Errorf("the repair lost %q; it did %+v", id, done)
				}
			}
			h.drained()
		})
	}
}

// drained runs all that can run, lets leases run out and waits end, and fails unless
// only dead letters are left.
func (h *house) drained() {
	h.t.Helper()
	for _, lane := range []string{"stopped", "ready", "leased"} { // as far as they are
		_ = h.Resume(bg, key(lane))
	}
	_ = h.ResumeJob(bg, ref("paused2"))
	for range 50 {
		h.advance(2 * time.Hour)
		h.reaped()
		for _, c := range h.claimed("drainer", 100) {
			h.ok(h.Finish(bg, c))
		}
	}
	h.clean()
	if s, err := h.Stats(bg); err != nil || s.Jobs != s.Dead {
		h.t.Errorf("after draining: %+v, %v", s, err)
	}
}

// A job that stands nowhere is set aside, is shown, and can be replayed; one that can't
// be read is shown as it is, and can only be discarded.
func TestI7_LostAndFound(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1})
	h.enqueued("a", "a1", "a2", "a3")
	k := h.Namespace().Keys(0)
	h.ok(h.rdb.LPop(bg, k.Tail(canonical("a"))).Err())
	h.ok(h.rdb.HSet(bg, k.Jobs(), "ia3", "garbage").Err())
	_, err := h.Repair(bg, nil)
	h.ok(err)
	letters, _, err := h.DeadLetters(bg, dispatcher.DeadFilter{}, inspect.Page{})
	h.ok(err)
	found := make(map[string]inspect.JobInfo)
	for _, l := range letters {
		if l.Reason != doctor.LostAndFound {
			t.Errorf("%s has the reason %q", l.ID, l.Reason)
		}
		found[l.ID] = l
	}
	if len(found) != 2 || string(found["a3"].Payload) != "garbage" {
		t.Errorf("lost and found: %+v", found)
	}
	if _, err := h.Replay(bg, ref("a3"), false); err == nil {
		t.Error("a job that can't be read was replayed")
	}
	h.ok(h.Discard(bg, ref("a3")))
	_, err = h.Replay(bg, ref("a2"), false)
	h.ok(err)
	h.drained()
	h.empty()
}

// A holder whose lease lost its deadline keeps it if it lives.
func TestRepairLeavesTimeToRenew(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1})
	h.enqueued("a", "a1")
	c := h.head("w", "a1", 1)
	h.ok(h.rdb.Del(bg, h.Namespace().Keys(0).Deadlines()).Err())
	_, err := h.Repair(bg, nil)
	h.ok(err)
	h.advance(30 * time.Second)
	h.ok(h.Leases().Renew(bg, 10*time.Second, c.Lease)[0])
	h.ok(h.Finish(bg, c))
	h.clean()
}

// While jobs move, the doctor must not take a lane that moves for one that is wrong, and
// a repair must not touch it: deep lanes that lose their heads while they are read, and
// jobs that come onto the schedule after that was read.
func TestDoctorAndRepairAreQuietUnderLoad(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1})
	for range 8 {
		batch := make([]dispatcher.NewJob, dispatcher.MaxBatch)
		for i := range batch {
			batch[i] = dispatcher.NewJob{Subject: key("deep"), Kind: "k"}
		}
		if _, err := h.EnqueueMany(bg, batch); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	done := make(chan error, 2)
	go func() {
		var err error
		for i := 0; err == nil; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
				job := dispatcher.NewJob{Subject: key(fmt.Sprint(i % 7)), Kind: "k"}
				if i%3 == 0 {
					job.Delay = time.Hour
				}
				_, err = h.Enqueue(bg, job)
			}
		}
		done <- err
	}()
	go func() {
		who := session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			claims, err := h.Claim(bg, who, 3)
			for _, c := range claims {
				err = h.Finish(bg, c)
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	for range 10 {
		h.clean()
		if done, err := h.Repair(bg, nil); err != nil || len(done) > 0 {
			t.Errorf("a repair did %+v, %v", done, err)
		}
	}
	close(stop)
	for range 2 {
		h.ok(<-done)
	}
}

// What a server refuses to tell is no knowledge: the doctor says so, and does not call
// what it can't see missing.
func TestDoctorDoesNotGuess(t *testing.T) {
	t.Parallel()
	s := redistest.Own(t)
	rdb := redistest.ClientOf(t, s)
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
	full(h)
	h.ok(rdb.LPop(bg, h.Namespace().Keys(0).Tail(canonical("ready"))).Err())
	h.ok(rdb.Do(bg, "acl", "setuser", "default", "-lpos").Err())
	if found, err := h.Doctor(bg, nil); err == nil {
		t.Errorf("with LPOS forbidden the doctor finds %+v and no error", found)
	}
	if done, err := h.Repair(bg, nil); err == nil {
		t.Errorf("with LPOS forbidden a repair does %+v and no error", done)
	}
}

func TestDoctorJudgesTheServer(t *testing.T) {
	t.Parallel()
	s := redistest.Own(t, "--appendonly", "no", "--maxmemory-policy", "allkeys-lru")
	h := newHouse(t, redistest.ClientOf(t, s), dispatcher.Config{})
	findings, err := h.Doctor(bg, nil)
	h.ok(err)
	text := fmt.Sprint(findings)
	if !strings.Contains(text, "appendonly") || !strings.Contains(text, "maxmemory-policy") {
		t.Errorf("findings %s", text)
	}
}

// The doctor tells of a worker that is to blame, and why, and of no other, and not after its absolution.
func TestDoctorTellsOfAWorkerToBlame(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		a := h.member("a", "", "k")
		h.member("b", "", "k")
		if ok, err := a.s.Blame(bg, "k", "its disk is full", nil); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if says := h.found("worker", "a"); !strings.Contains(says, "k: its disk is full") {
			t.Errorf("of the worker to blame the doctor says %q", says)
		}
		if says := h.found("worker", "b"); says != "" {
			t.Errorf("of another one it says %q", says)
		}
		if says := h.found("kind", "k"); says != "1 of 2 workers are blamed" {
			t.Errorf("of the kind it says %q", says)
		}
		a.s.Absolve("k", false)
		h.ok(a.s.Beat(bg))
		if says := h.found("worker", "a") + h.found("kind", "k"); says != "" {
			t.Errorf("after the absolution it says %q", says)
		}
	})
}

// What is wrong with more lanes than one look reads is all found, and all mended.
func TestDoctorLooksAtAll(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		const lanes = 450 // a look reads 200 keys, or fields of one
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		h.batches(2*lanes, func(i int) dispatcher.NewJob { return eachItsLane(i % lanes) })
		keys := h.Namespace().Keys(0)
		h.ok(rdb.Del(bg, keys.Ready("k")).Err())
		nobody := func(lane, n int) { // puts the entry of a job that is not there behind a head
			entry := fmt.Sprintf("\x06\x01i%05dk3", n)
			h.ok(rdb.LPush(bg, keys.Tail(canonical(fmt.Sprint("lane", lane))), entry).Err())
		}
		for i := range lanes {
			nobody(i, i)
		}
		for i := range 25 { // more than one step of a repair takes out of a lane
			nobody(0, lanes+i)
		}
		lost := make(map[string]bool)
		for _, f := range h.findings() {
			lost[f.Where] = true
		}
		if len(lost) < lanes {
			t.Errorf("the doctor finds something wrong with %d lanes, want %d", len(lost), lanes)
		}
		_, err := h.Repair(bg, nil)
		h.ok(err)
		h.clean()
		for i := range lanes {
			if n := rdb.LLen(bg, keys.Tail(canonical(fmt.Sprint("lane", i)))).Val(); n != 1 {
				t.Errorf("behind the head of lane %d there stand %d entries after the repair, want 1", i, n)
			}
		}
		if claims, _ := h.everything(worker); len(claims) != lanes {
			t.Errorf("%d lanes are ready after the repair, want %d", len(claims), lanes)
		}
	})
}
