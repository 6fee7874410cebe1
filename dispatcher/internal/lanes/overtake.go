package lanes

import "context"

var overtakeScript = whole("overtake")

// Overtake lets the versions of a kind go on behind one that was given out. The doctor calls it where a limit
// is enforced with a later version than its kind is declared with: else no declaration of the kind would count
// there any more.
func (n *Namespace) Overtake(ctx context.Context, kind string, version int) error {
	_, err := n.Ask(ctx, n.Scripts.Whole(overtakeScript, []string{n.Versions()}, kind, version))
	return err
}
