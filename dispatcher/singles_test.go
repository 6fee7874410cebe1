package dispatcher

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// A job whose caller gave up before its trip set out is not sent.
func TestEnqueueGivenUpIsNotSent(t *testing.T) {
	t.Parallel()
	var sent []string
	arrived, answer := make(chan bool), make(chan bool)
	s := &singles{send: func(jobs []prepared) []EnqueueResult {
		arrived <- true
		<-answer
		for _, j := range jobs {
			sent = append(sent, j.id)
		}
		return make([]EnqueueResult, len(jobs))
	}}
	done := make(chan error)
	for range maxFlights {
		go func() {
			_, err := s.enqueue(context.Background(), prepared{id: "first"})
			done <- err
		}()
		<-arrived
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.enqueue(ctx, prepared{id: "given up"}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "not sent") {
		t.Errorf("the error is %v, want one that says it was not sent", err)
	}
	for range maxFlights {
		answer <- true
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if strings.Join(sent, " ") != "first first" {
		t.Errorf("sent %v", sent)
	}
}

// D2: nor is one whose trip can't set out because those before it do not come back.
func TestD2_EnqueueDoesNotWaitForOthersTrips(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan bool)
		s := &singles{send: func(jobs []prepared) []EnqueueResult {
			<-answer
			return make([]EnqueueResult, len(jobs))
		}}
		begin := time.Now()
		var all sync.WaitGroup
		for i := range maxFlights + 1 {
			says := []string{"not known whether it was stored", "not sent"}[i/maxFlights]
			all.Go(func() {
				_, err := s.enqueue(context.Background(), prepared{})
				if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), says) {
					t.Errorf("the error of job %d is %v, want one that says %q", i, err, says)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if took := time.Since(begin); took != connect.Bound {
			t.Errorf("they waited for %s, want %s", took, connect.Bound)
		}
		close(answer)
	})
}

// A trip takes as many jobs as one call may have, in number and in bytes, and one in any case: a
// single job that had more than that never set out, and those behind it were forgotten.
func TestTripsAreFilled(t *testing.T) {
	t.Parallel()
	const mebi = 1 << 20
	for name, c := range map[string]struct {
		jobs  []int // bytes of each
		trips []int // jobs of each
	}{
		"as many as may be":         {make([]int, MaxBatch), []int{MaxBatch}},
		"one more":                  {make([]int, MaxBatch+1), []int{MaxBatch, 1}},
		"as many bytes as may be":   {[]int{mebi, mebi}, []int{2}},
		"one byte more":             {[]int{mebi, mebi + 1}, []int{1, 1}},
		"one that alone has more":   {[]int{3 * mebi, 1, 1}, []int{1, 2}},
		"one of 17 MiB among small": {[]int{1, 17 * mebi, 1}, []int{1, 1, 1}},
		"none":                      {nil, nil},
	} {
		s := &singles{flights: 1}
		for _, n := range c.jobs {
			s.waiting = append(s.waiting, single{prepared{Arriving: lanes.Arriving{Body: make([]byte, n)}}, nil})
		}
		var trips []int
		for s.flights > 0 {
			if n := len(s.board()); n > 0 {
				trips = append(trips, n)
			}
		}
		if !slices.Equal(trips, c.trips) || len(s.waiting) > 0 {
			t.Errorf("%s: trips of %v jobs, want %v; %d left behind", name, trips, c.trips, len(s.waiting))
		}
	}
}
