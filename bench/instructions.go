package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// runInstructions counts the instructions that the server needs for a job, alone and in calls of a hundred, under
// callgrind: seconds move by a factor of two on a machine like ours, and these by a hundredth. What a server does for
// more jobs, less what it does for fewer, is what jobs cost.
func runInstructions(ctx context.Context, _ *venue, _ contender, _ string) (figures, error) {
	if _, err := exec.LookPath("valgrind"); err != nil {
		return nil, errNotApplicable
	}
	f := make(figures)
	for _, by := range []int{1, 100} {
		few, many := 100*by, 300*by
		if by > 1 {
			few, many = 20*by, 60*by
		}
		var each [2]float64 // enqueued; enqueued, claimed and finished
		for hop := range each {
			var counted [2]float64
			for i, jobs := range []int{few, many} {
				n, err := countInstructions(ctx, jobs, by, hop == 1)
				if err != nil {
					return nil, err
				}
				counted[i] = n
			}
			each[hop] = (counted[1] - counted[0]) / float64(many-few)
		}
		f[fmt.Sprintf("instructions_enqueue_%d", by)] = each[0]
		f[fmt.Sprintf("instructions_hop_%d", by)] = each[1] - each[0]
	}
	return f, nil
}

// countInstructions is how many instructions a server runs from its start to its end for so many jobs, ten a lane, in calls of
// `by` jobs; hop says whether they are claimed and finished too.
func countInstructions(ctx context.Context, jobs, by int, hop bool) (float64, error) {
	s, err := startServer(ctx, "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
	if err != nil {
		return 0, err
	}
	defer s.stop()
	l, err := openLanekeeper(ctx, s.rdb)
	if err != nil {
		return 0, err
	}
	for i := 0; i < jobs; i += by {
		var batch []job
		for k := i; k < i+by; k++ {
			batch = append(batch, newJob(strconv.Itoa(k/(10*by)*by+k%by), k))
		}
		if err := l.enqueue(ctx, batch); err != nil {
			return 0, err
		}
	}
	if hop {
		if err := l.hop(ctx, jobs, by); err != nil {
			return 0, err
		}
	}
	said, err := s.end()
	if err != nil {
		return 0, err
	}
	collected := regexp.MustCompile(`Collected : (\d+)`).FindStringSubmatch(said)
	if collected == nil {
		return 0, fmt.Errorf("callgrind does not say what it has counted: %s", said)
	}
	return strconv.ParseFloat(collected[1], 64)
}

// hop claims and finishes so many jobs, `by` of them in a call.
func (l *lanekeeper) hop(ctx context.Context, jobs, by int) error {
	s, err := session.Bare(ctx, l.d, session.Claimant{Holder: session.NewHolder(), Kinds: []string{jobKind}, TTL: stopWait})
	if err != nil {
		return err
	}
	var ends []session.End
	for done := 0; done < jobs; {
		answer := s.Turns(ctx, []session.Turn{{Ends: ends, Claim: true, Want: by}})[0]
		for _, e := range answer.Ended {
			answer.Err = errors.Join(answer.Err, e.Err)
		}
		if answer.Err != nil {
			return answer.Err
		}
		done += len(ends)
		ends = ends[:0]
		for i := range answer.Claims {
			ends = append(ends, session.End{Claim: &answer.Claims[i], Outcome: session.Finished})
		}
		if len(ends) == 0 && done < jobs {
			return fmt.Errorf("only %d of %d jobs were given out", done, jobs)
		}
	}
	return nil
}
