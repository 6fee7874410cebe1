package worker

import (
	"sync"
	"time"
)

// watch gives up attempts whose handlers do not return though their contexts have ended. One timer is for all of them, and
// it is set anew only for an attempt that is due earlier than those before: an attempt that ends in time costs no timer.
type watch struct {
	mu      sync.Mutex
	running []*attempt
	timer   *time.Timer
	next    time.Time // when the timer goes off; zero when it doesn't
}

// begin watches an attempt, which is due to be given up at some time.
func (w *watch) begin(a *attempt, due time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a.due, a.watched = due, len(w.running)
	w.running = append(w.running, a)
	w.setLocked(due)
}

// hurry has an attempt be due earlier than it was.
func (w *watch) hurry(a *attempt, due time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.watched >= 0 && due.Before(a.due) {
		a.due = due
		w.setLocked(due)
	}
}

// end watches an attempt no longer. To end twice does no harm.
func (w *watch) end(a *attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endLocked(a)
}

func (w *watch) endLocked(a *attempt) {
	if a.watched < 0 {
		return
	}
	last := len(w.running) - 1
	w.running[a.watched] = w.running[last]
	w.running[a.watched].watched = a.watched
	w.running[last] = nil
	w.running = w.running[:last]
	a.watched = -1
}

// setLocked has the timer go off at due, if it does not before.
func (w *watch) setLocked(due time.Time) {
	if !w.next.IsZero() && !due.Before(w.next) {
		return
	}
	w.next = due
	if w.timer == nil {
		w.timer = time.AfterFunc(time.Until(due), w.look)
	} else {
		w.timer.Reset(time.Until(due))
	}
}

// look gives up what is due.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = time.Time{}
	now := time.Now()
	for i := len(w.running) - 1; i >= 0; i-- {
		a := w.running[i]
		if a.due.After(now) {
			w.setLocked(a.due)
			continue
		}
		w.endLocked(a)
		go a.giveUp()
	}
}

// stop ends the timer. What is watched still is not given up.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}
