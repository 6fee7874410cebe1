package dispatcher_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// L3: a kind belongs to one owner, its changes are counted, and where kinds are declared
// others are refused.
func TestL3_Registry(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "undeclared") // as long as nobody declares any
		open := func(kinds ...dispatcher.Kind) error {
			_, err := dispatcher.Open(bg, dispatcher.Config{Redis: rdb, Namespace: h.cfg.Namespace, Kinds: kinds})
			return err
		}
		expire := dispatcher.Kind{Name: "expire", Owner: "storage", Subject: "artifact", MaxAttempts: 7, Timeout: time.Minute, Loggable: []string{"why"}}
		h.ok(open(expire, dispatcher.Kind{Name: "move", Owner: "storage"}))
		h.ok(open(expire)) // the same again changes nothing

		thief := expire
		thief.Owner = "billing"
		err := open(dispatcher.Kind{Name: "bill", Owner: "billing"}, thief)
		if !errors.Is(err, dispatcher.ErrOwner) || !strings.Contains(err.Error(), "expire belongs to storage, not to billing") {
			t.Errorf("a second owner: %v", err)
		}
		changed := expire
		changed.MaxAttempts = 8
		h.ok(open(changed))
		kinds, err := h.Kinds(bg)
		h.ok(err)
		if len(kinds) != 2 || kinds[0].Name != "expire" || kinds[0].Version != 2 || kinds[0].MaxAttempts != 8 || kinds[1].Version != 1 {
			t.Errorf("registered: %+v", kinds)
		}

		d, err := dispatcher.Open(bg, dispatcher.Config{Redis: rdb, Namespace: h.cfg.Namespace})
		h.ok(err)
		artifact := subject.Key{Kind: "artifact", ID: "1"}
		if _, err := d.Enqueue(bg, dispatcher.NewJob{Subject: artifact, Kind: "expier"}); !errors.Is(err, dispatcher.ErrUndeclared) ||
			!strings.Contains(err.Error(), "declared are expire, move") {
			t.Errorf("a misspelt kind: %v", err)
		}
		if _, err := d.Enqueue(bg, dispatcher.NewJob{Subject: key("a"), Kind: "expire"}); !errors.Is(err, dispatcher.ErrInvalid) {
			t.Errorf("a subject of another kind: %v", err)
		}
		done, err := d.Enqueue(bg, dispatcher.NewJob{Subject: artifact, Kind: "expire"})
		h.ok(err)
		job, err := inspect.New(d).Job(bg, ref(done.ID))
		h.ok(err)
		if job.MaxAttempts != 8 || job.Timeout != time.Minute {
			t.Errorf("declared rules are not the job's: %+v", job)
		}
		h.ok(d.Undeclare(bg, "move"))
		if err := d.Undeclare(bg, "move"); !errors.Is(err, dispatcher.ErrNotFound) {
			t.Errorf("undeclared twice: %v", err)
		}
		if kinds, _ := h.Kinds(bg); len(kinds) != 1 {
			t.Errorf("left are %+v", kinds)
		}
		if err := d.CheckHandled("expire", "other"); !errors.Is(err, dispatcher.ErrInvalid) {
			t.Errorf("in another pool: %v", err)
		}
	})
}

func TestKindRules(t *testing.T) {
	t.Parallel()
	_, mini := redistest.Mini(t)
	for field, k := range map[string]dispatcher.Kind{
		"kind":         {Owner: "o"},
		"owner":        {Name: "k"},
		"pool":         {Name: "k", Owner: "o", Pool: "a b"},
		"max_attempts": {Name: "k", Owner: "o", MaxAttempts: -1},
		"timeout":      {Name: "k", Owner: "o", Timeout: -1},
		"backoff":      {Name: "k", Owner: "o", Backoff: dispatcher.Backoff{Base: time.Hour}},
		"on_failure":   {Name: "k", Owner: "o", OnFailure: "explode"},
		"keep":         {Name: "k", Owner: "o", Keep: 365 * 24 * time.Hour},
		"dead_keep":    {Name: "k", Owner: "o", DeadKeep: time.Millisecond},
		"dead_max":     {Name: "k", Owner: "o", DeadMax: -1},
		"limit":        {Name: "k", Owner: "o", Limit: 1001},
		"every":        {Name: "k", Owner: "o", Every: time.Microsecond},
		"priority":     {Name: "k", Owner: "o", Priority: 10},
		"expected":     {Name: "k", Owner: "o", Expected: -1},
		"unique scope": {Name: "k", Owner: "o", Unique: &dispatcher.Unique{Scope: "x"}},
	} {
		_, err := dispatcher.Open(bg, dispatcher.Config{Redis: mini, Namespace: "rules", Kinds: []dispatcher.Kind{k}})
		if !errors.Is(err, dispatcher.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	twice := dispatcher.Kind{Name: "k", Owner: "o"}
	if _, err := dispatcher.Open(bg, dispatcher.Config{Redis: mini, Namespace: "rules", Kinds: []dispatcher.Kind{twice, twice}}); !errors.Is(err, dispatcher.ErrInvalid) {
		t.Errorf("declared twice: %v", err)
	}
	if _, err := dispatcher.Open(bg, dispatcher.Config{Redis: mini, Namespace: "rules", PoolLimits: map[string]int{"p": 0}}); !errors.Is(err, dispatcher.ErrInvalid) {
		t.Errorf("a pool of none: %v", err)
	}
}
