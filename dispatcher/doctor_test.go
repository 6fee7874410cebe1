package dispatcher_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// full puts something into every index: a ready lane, a leased one, a delayed one,
// a scheduled job and a dead letter, each lane with a job behind its head.
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
}

// Each key of the schema is lost, and each index corrupted, and the doctor must say
// so [L6]. Only what nothing depends on may go unnoticed.
func TestI4I7_DoctorSeesEachCorruption(t *testing.T) {
	t.Parallel()
	canonical := func(id string) string { return key(id).Canonical() }
	for name, corrupt := range map[string]func(rdb *redis.Client, k subject.Keys) error{
		"jobs lost":      func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Jobs()).Err() },
		"heads lost":     func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Heads()).Err() },
		"leases lost":    func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Leases()).Err() },
		"deadlines lost": func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Deadlines()).Err() },
		"delayed lost":   func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Delayed()).Err() },
		"scheduled lost": func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Scheduled()).Err() },
		"dead lost":      func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Dead()).Err() },
		"ready lost":     func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Ready("k")).Err() },
		"tail lost":      func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Tail(canonical("ready"))).Err() },
		"kinds lost":     func(rdb *redis.Client, k subject.Keys) error { return rdb.Del(bg, k.Kinds()).Err() },
		"listed twice": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.RPush(bg, k.Ready("k"), canonical("ready")).Err()
		},
		"listed while leased": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.RPush(bg, k.Ready("k"), canonical("leased")).Err()
		},
		"listed while delayed": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.RPush(bg, k.Ready("k"), canonical("delayed")).Err()
		},
		"delayed while leased": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.ZAdd(bg, k.Delayed(), redis.Z{Score: 1, Member: canonical("leased")}).Err()
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
		"tail without head": func(rdb *redis.Client, k subject.Keys) error {
			return rdb.HDel(bg, k.Heads(), canonical("ready")).Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1})
			full(h)
			h.clean()
			h.ok(corrupt(h.rdb, h.Namespace().Keys(0)))
			if found := h.findings(); len(found) == 0 {
				t.Error("the doctor finds nothing")
			}
		})
	}
}

// While jobs move, the doctor must not take a lane that moves for one that is wrong.
func TestDoctorIsQuietUnderLoad(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{})
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
				_, err = h.Enqueue(bg, dispatcher.NewJob{Subject: key(fmt.Sprint(i % 7)), Kind: "k"})
			}
		}
		done <- err
	}()
	go func() {
		who := dispatcher.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}
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
	}
	close(stop)
	for range 2 {
		h.ok(<-done)
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
