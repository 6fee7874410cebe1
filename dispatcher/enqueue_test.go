package dispatcher_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

func TestEnqueueKeepsEverything(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueue(dispatcher.NewJob{
			Subject: key("a"), Kind: "k", ID: "own id\x00{}", Payload: []byte("\x00\xff{}"), MaxAttempts: 7,
			Timeout: 90 * time.Second, Headers: map[string]string{"trace": "1\x00", "": "x"},
		})
		c := h.head("w", "own id\x00{}", 1)
		if string(c.Payload) != "\x00\xff{}" || c.MaxAttempts != 7 || c.Timeout != 90*time.Second ||
			c.Headers["trace"] != "1\x00" || c.Headers[""] != "x" || c.Kind != "k" || c.Subject != key("a") ||
			c.Seq != 1 || !c.EnqueuedAt.Equal(h.cfg.Now()) {
			t.Errorf("what came back is %+v", c)
		}
	})
}

// Subjects and ids are bytes: none can change a slot, match a pattern, break
// a reply, or be taken for another.
func TestNastyBytes(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 2})
		nasty := []string{
			"{", "}", "{}", "*", "?", "[a]", ":", " ", "\x00", "a\x00b", "\r\n", "+OK\r\n", "$-1", "\xff\xfe",
			"'", `"`, "%s", "0 1 k id", "u" + strings.Repeat("x", 16), strings.Repeat("x", 120), "é", "-", "1e3",
			"018f4e2a-0000-7000-8000-000000000001",
		}
		want := make(map[string]bool)
		for i, s := range nasty {
			for _, payload := range nasty {
				id := fmt.Sprint(i, payload)
				h.enqueue(dispatcher.NewJob{Subject: subject.Key{Kind: s, ID: s}, Kind: "k", ID: id, Payload: []byte(payload)})
				want[s+"|"+id+"|"+payload] = true
			}
		}
		h.clean()
		for {
			claims := h.claimed("w\x00 holder", 100)
			if len(claims) == 0 {
				break
			}
			for _, c := range claims {
				delete(want, c.Subject.Kind+"|"+c.ID+"|"+string(c.Payload))
				h.ok(h.Finish(bg, c))
			}
		}
		for missing := range want {
			t.Errorf("%q did not come back as it was", missing)
		}
		h.empty()
	})
}

// A hundred enqueues of one id at once: one job, one of them created it [L1].
func TestI9_OneJobPerID(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	h := newHouse(t, rdb, dispatcher.Config{})
	var created atomic.Int32
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			done, err := h.Enqueue(bg, dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "same"})
			if err != nil || done.Seq != 1 {
				t.Errorf("%+v %v", done, err)
			}
			if done.Created {
				created.Add(1)
			}
		})
	}
	all.Wait()
	if created.Load() != 1 {
		t.Errorf("%d calls created the job, want 1", created.Load())
	}
	h.ok(h.Finish(bg, h.head("w", "same", 1)))
	h.empty()
}

func TestEnqueueManySaysWhatHappenedToEach(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{MaxLane: 2, Partitions: 4})
		var jobs []dispatcher.NewJob
		for i := range 12 {
			jobs = append(jobs, dispatcher.NewJob{Subject: key(fmt.Sprint(i % 6)), Kind: "k", ID: fmt.Sprint("j", i)})
		}
		jobs = append(jobs, dispatcher.NewJob{Subject: key("0"), Kind: "k", ID: "j0"}) // the same once more
		done, err := h.EnqueueMany(bg, jobs)
		h.ok(err)
		for i, r := range done {
			if r.Err != nil || r.Created != (i < 12) || r.ID != jobs[i].ID {
				t.Errorf("job %d: %+v", i, r)
			}
		}
		if done[12].Seq != done[0].Seq {
			t.Errorf("the same id has seq %d and %d", done[0].Seq, done[12].Seq)
		}
		// Lane 0 is full: its partition takes nothing, the others take theirs.
		full := h.Namespace().Partition(key("0"))
		done, err = h.EnqueueMany(bg, []dispatcher.NewJob{
			{Subject: key("0"), Kind: "k"}, {Subject: inPartition(h, full), Kind: "k"},
			{Subject: inPartition(h, (full+1)%4), Kind: "k"},
		})
		if !errors.Is(err, dispatcher.ErrLaneFull) || !errors.Is(err, dispatcher.ErrRefused) || !strings.Contains(fmt.Sprint(err), "2 of 3 jobs") {
			t.Errorf("the error of the batch is %v", err)
		}
		if !errors.Is(done[0].Err, dispatcher.ErrLaneFull) || !errors.Is(done[1].Err, dispatcher.ErrRefused) ||
			done[2].Err != nil || !done[2].Created {
			t.Errorf("%+v", done)
		}
		h.clean()
	})
}

// inPartition returns a fresh subject of a partition.
func inPartition(h *house, p int) subject.Key {
	for i := 1000; ; i++ {
		if k := key(fmt.Sprint(i)); h.Namespace().Partition(k) == p {
			return k
		}
	}
}

// Limits have typed errors that name field, value and rule, and nothing is stored [G13].
func TestLimits(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{MaxPayload: 10, MaxLane: 1, MaxBacklog: 3, Partitions: 1})
		h.enqueued("a", "j1")
		before := dump(t, rdb, h.cfg.Namespace)
		good := dispatcher.NewJob{Subject: key("b"), Kind: "k"}
		for name, c := range map[string]struct {
			change func(*dispatcher.NewJob)
			is     error
			says   string
		}{
			"payload":   {func(j *dispatcher.NewJob) { j.Payload = make([]byte, 11) }, dispatcher.ErrTooLarge, "11 bytes, at most 10"},
			"lane":      {func(j *dispatcher.NewJob) { j.Subject = key("a") }, dispatcher.ErrLaneFull, "s:a holds 1 jobs"},
			"subject":   {func(j *dispatcher.NewJob) { j.Subject.ID = strings.Repeat("x", 600) }, subject.ErrInvalid, "601 bytes"},
			"no kind":   {func(j *dispatcher.NewJob) { j.Kind = "" }, dispatcher.ErrInvalid, "kind"},
			"kind":      {func(j *dispatcher.NewJob) { j.Kind = "a b" }, dispatcher.ErrInvalid, `"a b"`},
			"id":        {func(j *dispatcher.NewJob) { j.ID = strings.Repeat("x", 129) }, dispatcher.ErrInvalid, "128"},
			"attempts":  {func(j *dispatcher.NewJob) { j.MaxAttempts = -1 }, dispatcher.ErrInvalid, "max_attempts"},
			"delay":     {func(j *dispatcher.NewJob) { j.Delay = -1 }, dispatcher.ErrInvalid, "delay"},
			"delay, at": {func(j *dispatcher.NewJob) { j.Delay, j.RunAt = 1, time.Now() }, dispatcher.ErrInvalid, "can't both"},
			"headers":   {func(j *dispatcher.NewJob) { j.Headers = map[string]string{"k": strings.Repeat("x", 4096)} }, dispatcher.ErrTooLarge, "headers"},
		} {
			job := good
			c.change(&job)
			_, err := h.Enqueue(bg, job)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want one that says %q", name, err, c.says)
			}
		}
		if _, err := h.EnqueueMany(bg, make([]dispatcher.NewJob, dispatcher.MaxBatch+1)); !errors.Is(err, dispatcher.ErrTooLarge) {
			t.Errorf("batch: %v", err)
		}
		if after := dump(t, rdb, h.cfg.Namespace); after != before {
			t.Errorf("a refused job left something behind:\n%s\n%s", before, after)
		}
		h.enqueued("b", "j2")
		h.enqueued("c", "j3")
		if _, err := h.Enqueue(bg, dispatcher.NewJob{Subject: key("d"), Kind: "k"}); !errors.Is(err, dispatcher.ErrBacklogFull) {
			t.Errorf("backlog: %v", err)
		}
		_, err := h.Enqueue(bg, dispatcher.NewJob{Subject: key("c"), Kind: "k", ID: "j2"})
		if !errors.Is(err, dispatcher.ErrConflict) {
			t.Errorf("id of another subject: %v", err)
		}
	})
}

func TestOpenChecksTheNamespace(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 4})
		cfg := h.cfg
		cfg.Partitions = 8
		if _, err := dispatcher.Open(bg, cfg); !errors.Is(err, dispatcher.ErrMismatch) {
			t.Errorf("another number of partitions: %v", err)
		}
		cfg.Partitions = 0
		if d, err := dispatcher.Open(bg, cfg); err != nil || d.Namespace().Partitions != 4 {
			t.Errorf("no number of partitions: %v", err)
		}
		for name, bad := range map[string]dispatcher.Config{
			"no client":  {Namespace: cfg.Namespace},
			"namespace":  {Redis: rdb, Namespace: "a{b"},
			"partitions": {Redis: rdb, Partitions: 5000},
			"payload":    {Redis: rdb, MaxPayload: -1},
		} {
			if _, err := dispatcher.Open(bg, bad); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	})
}

// A server that may evict keys would lose leases and jobs: refused at the start.
func TestOpenRefusesEviction(t *testing.T) {
	t.Parallel()
	s := redistest.Own(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	_, err := dispatcher.Open(bg, dispatcher.Config{Redis: redistest.ClientOf(t, s)})
	if !errors.Is(err, dispatcher.ErrEviction) {
		t.Errorf("%v, want ErrEviction", err)
	}
}

// A unique key, or a payload, is one of its subject and kind: jobs of two kinds with the same one are two.
func TestUniqueKeysAreOfTheirKind(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, u := range map[string]*dispatcher.Unique{
			"key": {Key: "u"}, "payload": {}, "window": {Key: "u", Scope: dispatcher.ForWindow, Window: time.Hour},
		} {
			h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
			for i, job := range []struct {
				lane, kind string
				u          *dispatcher.Unique
				created    bool
			}{
				{"a", "k", u, true}, {"a", "k2", u, true}, {"b", "k", u, true}, {"a", "k", u, false}, {"a", "k2", u, false},
				{"a", "k", &dispatcher.Unique{Key: "other"}, true},
			} {
				done := h.enqueue(dispatcher.NewJob{Subject: key(job.lane), Kind: job.kind, ID: fmt.Sprint(i), Unique: job.u, Payload: []byte("p")})
				if done.Created != job.created {
					t.Errorf("%s: job %d of %s: %+v, want it created: %t", name, i, job.kind, done, job.created)
				}
			}
		}
	})
}

// A batch says which of its jobs breaks a rule; of one job nobody needs to know that.
func TestWhichJobBreaksARule(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{})
	good, bad := dispatcher.NewJob{Subject: key("a"), Kind: "k"}, dispatcher.NewJob{Subject: key("a"), Kind: "no kind"}
	for _, c := range []struct {
		jobs []dispatcher.NewJob
		says string
	}{{[]dispatcher.NewJob{bad}, ""}, {[]dispatcher.NewJob{bad, good}, "job 0: "}, {[]dispatcher.NewJob{good, bad, bad}, "job 1: "}} {
		_, err := h.EnqueueMany(bg, c.jobs)
		if !errors.Is(err, dispatcher.ErrInvalid) || !strings.HasPrefix(err.Error(), c.says) || (c.says == "") == strings.HasPrefix(err.Error(), "job ") {
			t.Errorf("of %d jobs it says %v", len(c.jobs), err)
		}
	}
}
