package lanes

import "context"

var restoreScript = verb("restore")

// Homeless is a job that stands in no place, or in several, as the doctor has found it. Subject, Entry and
// Member are what its body says; Strays are members of the schedule that stand for it and should not.
type Homeless struct {
	ID      string // packed
	Why     string // it becomes a dead letter, when it stands nowhere
	InLane  bool   // it was seen in a lane
	Subject string // by its body, and
	Entry   string // "" when that can't be read
	Member  string // of the schedule that may stand for it, or ""
	Strays  []string
}

// Restore gives it exactly one place (I7) and returns what it did, a sentence each. The script looks again at
// all that it changes, for the job may have moved since.
func (n *Namespace) Restore(ctx context.Context, p int, h *Homeless) ([]string, error) {
	where := ""
	if h.InLane {
		where = "lane"
	}
	args := []any{h.ID, h.Why, where, h.Subject, h.Entry, h.Member}
	for _, member := range h.Strays {
		args = append(args, member)
	}
	words, err := n.Ask(ctx, n.Scripts.Plain(p, restoreScript, []string{n.keys[p].Tail(h.Subject)}, args...))
	if err != nil {
		return nil, err
	}
	return words[1:], nil
}
