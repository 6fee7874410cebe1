package dispatcher_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/doctor"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// A list of nothing is [] in JSON, whoever returns it, and what was measured names its fields.
func TestJSONOfNothing(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		lanes, _, err := h.Lanes(bg, inspect.LaneFilter{}, inspect.Page{})
		h.ok(err)
		letters, _, err := h.DeadLetters(bg, dispatcher.DeadFilter{}, inspect.Page{})
		h.ok(err)
		kinds, err := h.Kinds(bg)
		h.ok(err)
		workers, err := h.Workers(bg)
		h.ok(err)
		findings, err := doctor.New(h.Dispatcher).Examine(bg, nil)
		h.ok(err)
		repairs, err := h.Repair(bg, nil)
		h.ok(err)
		var section inspect.LanePage
		h.ok(h.Do(bg, key("held"), 0, func(context.Context) error {
			section, err = h.Inspector.Lane(bg, key("held"), inspect.Page{})
			return err
		}))
		measured, err := h.Durations(bg, "k")
		h.ok(err)
		flow, err := h.Flow(bg, "k")
		h.ok(err)
		trail, err := h.Trail(bg, inspect.TrailFilter{}, inspect.Page{})
		h.ok(err)
		scheduled, _, err := h.Jobs(bg, inspect.JobFilter{State: inspect.Scheduled}, inspect.Page{})
		h.ok(err)
		for what, c := range map[string]struct {
			of   any
			want string
		}{
			"lanes":              {lanes, "[]"},
			"dead letters":       {letters, "[]"},
			"kinds":              {kinds, "[]"},
			"workers":            {workers, "[]"},
			"findings":           {findings, "["}, // settings of a test's server are some
			"repairs":            {repairs, "[]"},
			"a flow":             {flow, `"minutes":[],"ten_minutes":[]}`},
			"a trail":            {trail, `{"attempts":[],"sampled":false}`},
			"scheduled jobs":     {scheduled, "[]"},
			"jobs of a section":  {section, `"jobs":[]`},
			"what was measured":  {measured, `{"count":0,"by_ending":{},"p50_ns":0,"p95_ns":0,"max_ns":0}`},
			"a kind and version": {dispatcher.DeclaredKind{Version: 3}, `"version":3`},
		} {
			text, err := json.Marshal(c.of)
			h.ok(err)
			if !strings.Contains(string(text), c.want) || strings.Contains(string(text), "null") {
				t.Errorf("%s: %s, want %s", what, text, c.want)
			}
		}
	})
}

// G14: what is handed out as JSON shows no payload and no result by itself, and names its fields as the command does.
func TestG14_JSONHidesPayloads(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		done := h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j1", Payload: []byte("secret"), Keep: time.Hour})
		h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j2", Payload: []byte("secret")})
		claim := h.head("w", "j1", 1)
		lane, err := h.Inspector.Lane(bg, key("a"), inspect.Page{})
		h.ok(err)
		h.ok(finishWith(bg, h.Dispatcher, claim, []byte("secret")))
		outcome, err := h.Outcome(bg, ref("j1"))
		h.ok(err)
		for what, c := range map[string]struct {
			of   any
			want string
		}{
			"job":     {claim.Job, `"id":"j1","subject":"s:a","kind":"k","seq":1,"max_attempts":25`},
			"lane":    {lane, `"state":"leased","depth":2,"kind":"k","id":"j1"`},
			"jobs":    {lane.Jobs, `"token":"` + claim.Lease.Token.String() + `"`},
			"outcome": {outcome, `"state":"finished","attempts":1`},
			"enqueue": {done, `"id":"j1","subject":"s:a","seq":1,"created":true`},
		} {
			text, err := json.Marshal(c.of)
			h.ok(err)
			if !strings.Contains(string(text), c.want) || strings.Contains(string(text), "secret") || strings.Contains(string(text), "c2VjcmV0") {
				t.Errorf("%s: %s, want %s in it, and no payload", what, text, c.want)
			}
			if strings.Contains(string(text), "0001-01-01") {
				t.Errorf("%s shows times that are not there: %s", what, text)
			}
		}
	})
}
