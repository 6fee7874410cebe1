package lanes

import "context"

var undeclareScript = whole("undeclare")

// Undeclare makes one of two steps. The first, with the version "", gives the version for what is said of the
// kind elsewhere; the second, with that version, takes it out of the registry. did is "ok", "missing", or
// "again" when the kind was declared anew in between. There are two because a kind's limit is enforced in
// another hash slot: it is taken back between them, and no script can write both.
func (n *Namespace) Undeclare(ctx context.Context, kind, version string) (did, next string, err error) {
	words, err := n.Ask(ctx, n.Scripts.Whole(undeclareScript, []string{n.Registry(), n.Versions(), n.Audit()}, kind, version, n.actor(ctx)))
	if err == nil && words[0] == "ok" {
		next = words[1]
	}
	return first(words), next, err
}
