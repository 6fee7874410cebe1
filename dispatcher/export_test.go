package dispatcher

import "time"

// Deafen makes waiters hear no news, as if there were no pub/sub.
func (d *Dispatcher) Deafen(deaf bool) { d.news.deaf = deaf }

// Age lets the session's kinds wait for d longer than they did.
func (s *Session) Age(d time.Duration) {
	for kind, since := range s.who.ranks.since {
		if s.who.ranks.priority[kind] == 0 {
			s.who.ranks.since[kind] = since.Add(-d)
		}
	}
}
