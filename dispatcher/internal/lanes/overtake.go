package lanes

import "context"

var overtakeScript = whole("overtake")

// Overtake lets the versions of a kind go on behind one that was given out.
func (n *Namespace) Overtake(ctx context.Context, kind string, version int) error {
	_, err := n.Ask(ctx, n.Scripts.Whole(overtakeScript, []string{n.Versions()}, kind, version))
	return err
}
