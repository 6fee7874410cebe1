package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// singles lets concurrent single enqueues share scripts and round trips. A job that
// comes when no trip is free to start waits until one is back, together with all that
// come meanwhile; so trips grow with load, and a lone job leaves at once.
type singles struct {
	send func(jobs []prepared) []EnqueueResult
	most time.Duration // how long a job waits at most, for its trip to set out and to be back; 0 is connect.Bound

	mu      sync.Mutex
	waiting []single
	flights int // trips under way
}

// maxFlights is how many trips of single enqueues are under way at most: while Redis
// works on one, the other is made ready. With one there were 6 to 23 % fewer jobs.
const maxFlights = 2

type single struct {
	job  prepared
	done chan EnqueueResult
}

// errUnknown is what is wrong with a job whose trip has not come back.
var errUnknown = errors.New("not known whether it was stored")

// enqueue returns what became of a job. When ctx ends before its trip sets out, it
// stays here; when ctx ends later, the job may be there or not, or come there yet.
func (s *singles) enqueue(ctx context.Context, job prepared) (EnqueueResult, error) {
	mine := single{job, make(chan EnqueueResult, 1)}
	s.mu.Lock()
	s.waiting = append(s.waiting, mine)
	if s.flights < maxFlights {
		s.flights++
		go s.fly()
	}
	s.mu.Unlock()
	most := cmp.Or(s.most, connect.Bound)
	var why error
	select {
	case e := <-mine.done:
		return e, e.Err
	case <-ctx.Done():
		why = connect.Judge(ctx, most, ctx.Err())
	case <-time.After(most):
		why = connect.Judge(ctx, most, context.DeadlineExceeded)
	}
	if s.leave(mine) {
		return EnqueueResult{}, fmt.Errorf("enqueue %s: not sent: %w", job.subject, why)
	}
	return EnqueueResult{}, fmt.Errorf("enqueue %s: %w: %w", job.subject, errUnknown, why)
}

// leave takes a job back whose trip has not set out.
func (s *singles) leave(mine single) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.waiting, func(w single) bool { return w.done == mine.done })
	if at >= 0 {
		s.waiting = slices.Delete(s.waiting, at, at+1)
	}
	return at >= 0
}

// fly makes trips until nothing waits.
func (s *singles) fly() {
	for {
		// Whoever was just answered may have the next job ready; nobody else is waited for.
		runtime.Gosched()
		batch := s.board()
		if len(batch) == 0 {
			return
		}
		jobs := make([]prepared, len(batch))
		for i := range batch {
			jobs[i] = batch[i].job
		}
		var heavy []single // of each call the first one goes, the others on another trip
		for i, e := range s.send(jobs) {
			if errors.Is(e.Err, errHeavy) && len(batch) > 1 {
				heavy = append(heavy, batch[i])
				continue
			}
			batch[i].done <- e
		}
		s.again(heavy)
	}
}

// again lets jobs wait for another trip, before those that came later.
func (s *singles) again(jobs []single) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = slices.Insert(s.waiting, 0, jobs...)
}

// board takes the jobs of the next trip, within the limits of a batch. When there
// are none the flight is over.
func (s *singles) board() []single {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, bytes := 0, 0
	for n < len(s.waiting) && n < MaxBatch && (n == 0 || bytes+len(s.waiting[n].job.Body) <= MaxBatchBytes) {
		bytes += len(s.waiting[n].job.Body)
		n++
	}
	batch := s.waiting[:n:n]
	s.waiting = s.waiting[n:]
	if n == 0 {
		s.waiting = nil
		s.flights--
	}
	return batch
}
