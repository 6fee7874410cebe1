package dispatcher

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
)

//go:embed refund.lua
var refundLua string

var refundScript = verb("refund", refundLua)

// Blame says of the session's worker that it claims no more and why, to whoever lists workers,
// and gives back the attempts of jobs that have failed on it. What an error keeps from being
// given back is owed: another call, with nil, gives it. Only a job of which it is not known whether it has
// its attempt back is not tried again, lest it gets two: the error names it.
func (s *Session) Blame(ctx context.Context, why string, failed []*Claim) error {
	s.refunding.Lock()
	defer s.refunding.Unlock()
	s.refunds = append(s.refunds, failed...)
	var w Worker
	if err := json.Unmarshal([]byte(s.said()), &w); err != nil {
		return fmt.Errorf("blame: %w", err)
	}
	w.Blamed = why
	info, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("blame: %w", err)
	}
	s.say(string(info))
	if err := s.Beat(ctx); err != nil {
		return err
	}
	for len(s.refunds) > 0 {
		c := s.refunds[0]
		err := s.d.refund(ctx, s.who.Holder, c)
		if err == nil || unanswered(err) {
			s.refunds = s.refunds[1:]
		}
		if err != nil {
			return fmt.Errorf("give an attempt of %s back: %w", c.ID, err)
		}
	}
	return nil
}

// refund gives the last attempt of a job back. One that it has made a dead letter goes back to
// the front of its lane.
func (d *Dispatcher) refund(ctx context.Context, holder string, c *Claim) error {
	words, err := d.ask(ctx, d.run.Once(d.ns.Partition(c.Subject), refundScript, nil, holder, c.Subject.Canonical(), entryOf(&c.Job)))
	if err == nil && words[0] == "dead" {
		_, err = d.Replay(ctx, c.ID, true)
	}
	return err
}
