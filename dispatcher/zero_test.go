package dispatcher_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// What can't be stored is refused, with field, value and rule: it would become 0, and so the
// default.
func TestG19_WhatCannotBeStored(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	cfg := dispatcher.Config{Redis: rdb, Namespace: redistest.Namespace(t, rdb)}
	d, err := dispatcher.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(err error, says string) {
		t.Helper()
		if !errors.Is(err, dispatcher.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v; want ErrInvalid and %q", err, says)
		}
	}
	job := dispatcher.NewJob{Subject: subject.Key{Kind: "s", ID: "a"}, Kind: "k"}
	for says, change := range map[string]func(j *dispatcher.NewJob){
		`timeout "999µs" must be at least 1ms`:              func(j *dispatcher.NewJob) { j.Timeout = 999 * time.Microsecond },
		`max_attempts "3000000000" must be 1 to 2147483647`: func(j *dispatcher.NewJob) { j.MaxAttempts = 3_000_000_000 },
		`unique window "1µs" must be at least 1ms`: func(j *dispatcher.NewJob) {
			j.Unique = &dispatcher.Unique{Scope: dispatcher.ForWindow, Window: time.Microsecond}
		},
		`keep "1ns" must be at least 1ms`: func(j *dispatcher.NewJob) { j.Keep = 1 },
	} {
		bad := job
		change(&bad)
		refused(d.Check(bad), says)
	}
	job.Timeout, job.MaxAttempts = time.Millisecond, math.MaxInt32
	if err := d.Check(job); err != nil {
		t.Errorf("the least timeout and the most attempts: %v", err)
	}
	for says, kind := range map[string]dispatcher.Kind{
		`timeout "1µs" must be at least 1ms`:       {Timeout: time.Microsecond},
		`subject "caf\xe9" must be UTF-8`:          {Subject: "caf\xe9"},
		`loggable "\xff" must be UTF-8`:            {Loggable: []string{"a", "\xff"}},
		`keep "1µs" must be at least 1ms`:          {Keep: time.Microsecond},
		`max_attempts "3000000000" must be 1 to`:   {MaxAttempts: 3_000_000_000},
		`unique window "1µs" must be at least 1ms`: {Unique: &dispatcher.Unique{Scope: dispatcher.ForWindow, Window: time.Microsecond}},
	} {
		kind.Name, kind.Owner = "k", "o"
		cfg.Kinds = []dispatcher.Kind{kind}
		_, err := dispatcher.Open(t.Context(), cfg)
		refused(err, says)
	}
}
