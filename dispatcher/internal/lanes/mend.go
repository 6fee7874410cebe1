package lanes

import (
	"context"
	"time"
)

var mendScript = verb("mend")

// Suspect is an entry that may have no place in a lane: "look" drops it when its job has no body or is another
// subject's, "drop" does so in any case.
type Suspect struct{ How, Entry string }

// Mend makes the indexes of one lane agree with its jobs and returns what it did, a sentence each; nothing for
// a lane that is whole. kinds are those that ready lists may exist for; a lease without a deadline gets grace.
// Each suspect costs a search through the lane, so the doctor gives ten a call.
func (n *Namespace) Mend(ctx context.Context, p int, subject string, grace time.Duration, kinds []string, suspects []Suspect) ([]string, error) {
	args := []any{subject, grace.Milliseconds(), len(kinds)}
	for _, kind := range kinds {
		args = append(args, kind)
	}
	for _, s := range suspects {
		args = append(args, s.How, s.Entry)
	}
	words, err := n.Ask(ctx, n.Scripts.Plain(p, mendScript, []string{n.keys[p].Tail(subject)}, args...))
	if err != nil {
		return nil, err
	}
	return words[1:], nil
}
