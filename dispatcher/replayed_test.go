package dispatcher_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
)

// A reply is lost after the script ran; go-redis repeats the call. It must have
// one effect and the same answer (an INCR in this place counts twice).
func TestI9_LostRepliesAreRepeatedWithoutASecondEffect(t *testing.T) {
	t.Parallel()
	proxy, rdb := redistest.NewProxy(t, redistest.Shared(t))
	h := newHouse(t, rdb, dispatcher.Config{})
	h.warm()
	lose := func() { proxy.LoseReplies(1) }

	lose()
	if done := h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j1"}); !done.Created || done.Seq == 0 {
		t.Fatalf("repeated enqueue says %+v, want created", done)
	}
	h.enqueued("a", "j2")
	lose()
	c := h.head("w", "j1", 1)
	h.none("w")
	lose()
	h.ok(h.Finish(bg, c))
	c = h.head("w", "j2", 1)
	lose()
	dead, err := h.Retry(bg, c, 0, "boom")
	if dead || err != nil {
		t.Fatal(dead, err)
	}
	c = h.head("w", "j2", 2)
	lose()
	h.ok(h.HandBack(bg, c))
	c = h.head("w", "j2", 2)
	lose()
	h.ok(h.DeadLetter(bg, c, "no use", ""))
	lose()
	_, err = h.Replay(bg, ref("j2"), false)
	h.ok(err)
	h.ok(h.DeadLetter(bg, h.head("w", "j2", 1), "no use", ""))
	lose()
	h.ok(h.Discard(bg, ref("j2")))
	h.clean()
	h.empty()
}

// warm fills the script cache, so that each lost reply is that of a script.
func (h *house) warm() {
	h.t.Helper()
	h.enqueued("warm", "w1", "w2")
	h.ok(h.Finish(bg, h.head("w", "w1", 1)))
	c := h.head("w", "w2", 1)
	_, err := h.Retry(bg, c, 0, "")
	h.ok(err)
	h.ok(h.HandBack(bg, h.head("w", "w2", 2)))
	h.ok(h.DeadLetter(bg, h.head("w", "w2", 2), "x", ""))
	_, err = h.Replay(bg, ref("w2"), true)
	h.ok(err)
	h.ok(h.DeadLetter(bg, h.head("w", "w2", 1), "x", ""))
	h.ok(h.Discard(bg, ref("w2")))
}

func TestI9_ManyLostReplies(t *testing.T) {
	t.Parallel()
	proxy, rdb := redistest.NewProxy(t, redistest.Shared(t))
	h := newHouse(t, rdb, dispatcher.Config{})
	h.warm()
	for i := range 20 {
		proxy.LoseReplies(i % 3)
		h.enqueued(fmt.Sprint("s", i%4), fmt.Sprint("j", i))
	}
	proxy.LoseReplies(0)
	for range 20 {
		proxy.LoseReplies(1)
		claims := h.claimed("w", 1)
		if len(claims) != 1 {
			t.Fatalf("claimed %d lanes, want 1: what a lost reply gave out must be given again", len(claims))
		}
		for _, c := range claims {
			if c.Attempt != 1 {
				t.Fatalf("%s is at attempt %d: it was claimed twice", c.ID, c.Attempt)
			}
			proxy.LoseReplies(1)
			h.ok(h.Finish(bg, c))
		}
	}
	h.empty()
}

// A flushed script cache is filled again, in the middle of a pipeline too.
func TestScriptFlush(t *testing.T) {
	t.Parallel()
	s := redistest.Own(t)
	rdb := redistest.ClientOf(t, s)
	h := newHouse(t, rdb, dispatcher.Config{})
	for i := range 5 {
		h.ok(rdb.ScriptFlush(bg).Err())
		h.enqueued("a", fmt.Sprint("j", i))
	}
	for i := range 5 {
		h.ok(rdb.ScriptFlush(bg).Err())
		c := h.head("w", fmt.Sprint("j", i), 1)
		h.ok(rdb.ScriptFlush(bg).Err())
		h.ok(h.Finish(bg, c))
	}
	h.empty()
}

// I10: at the limit an enqueue is refused whole, and all that gives memory back or
// keeps work going still runs.
func TestI10_FullMemory(t *testing.T) {
	t.Parallel()
	s := redistest.Own(t, "--maxmemory-policy", "noeviction")
	rdb := redistest.ClientOf(t, s)
	h := newHouse(t, rdb, dispatcher.Config{})
	for i := range 8 {
		h.enqueued(fmt.Sprint("s", i), fmt.Sprint("a", i), fmt.Sprint("b", i))
	}
	claims := h.claimed("w", 5)
	h.ok(rdb.ConfigSet(bg, "maxmemory", "1").Err())

	before := dump(t, rdb, h.cfg.Namespace)
	for name, job := range map[string]dispatcher.NewJob{
		"new lane":  {Subject: key("new"), Kind: "k"},
		"old lane":  {Subject: key("s1"), Kind: "k"},
		"scheduled": {Subject: key("s1"), Kind: "k", Delay: time.Hour},
	} {
		if _, err := h.Enqueue(bg, job); err == nil {
			t.Errorf("enqueue of %s was accepted with memory full", name)
		}
	}
	if after := dump(t, rdb, h.cfg.Namespace); after != before {
		t.Errorf("a refused enqueue left something behind:\n%s\n%s", before, after)
	}

	var list []session.Claim
	for _, c := range claims {
		list = append(list, c)
		h.ok(h.Leases().Renew(bg, 10*time.Second, c.Lease)[0])
	}
	h.ok(h.Finish(bg, list[0]))
	if err := h.Finish(bg, list[0]); !errors.Is(err, lease.ErrLost) {
		t.Errorf("a finish of what is finished, with memory full: %v, want ErrLost", err)
	}
	_, err := h.Retry(bg, list[1], time.Second, "boom")
	h.ok(err)
	h.ok(h.DeadLetter(bg, list[2], "why", "x"))
	h.ok(h.HandBack(bg, list[3]))
	h.advance(10 * time.Second)
	if r := h.reaped(); r.Expired != 1 || r.Resumed != 1 {
		t.Fatalf("reaped %+v, want one expired and one resumed", r)
	}
	if again := h.claimed("w2", 20); len(again) != 8 {
		t.Fatalf("claimed %d lanes with memory full, want 8", len(again))
	}
	// Those who would drain it can still start, and be seen.
	if _, err := dispatcher.Open(bg, h.cfg); err != nil {
		t.Errorf("open with memory full: %v", err)
	}
	session, err := h.Join(bg, session.Claimant{Holder: "w3", Kinds: []string{"k"}, TTL: time.Minute}, 1)
	h.ok(err)
	h.ok(session.Beat(bg))
	h.ok(session.Close(bg))
	h.ok(rdb.ConfigSet(bg, "maxmemory", "0").Err())
	h.clean()
}

// The holder counts its lease from before the request was sent: Redis counts from later on,
// so a reply that is late makes the holder stop earlier, never later.
func TestI1_ALeaseCountsFromTheRequest(t *testing.T) {
	t.Parallel()
	proxy, rdb := redistest.NewProxy(t, redistest.Shared(t))
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1}) // so that a claim is one trip
	h.enqueued("a", "j")
	const late = 100 * time.Millisecond
	proxy.Slow(late)
	c := h.head("w", "j", 1)
	if since := time.Since(c.Lease.Proven); since < late {
		t.Errorf("the claim took %s at least, but its lease counts from %s ago", late, since)
	}
}
