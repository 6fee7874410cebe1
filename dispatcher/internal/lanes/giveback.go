package lanes

import (
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
)

var givebackScript = permit("giveback")

// GiveBack makes a call that gives starts under a limit back. next are the partitions, each between spaces,
// that the holder asks for by itself next; mark is from [Starts], "-" for none. Slots that are no longer the
// holder's are passed over, so it may say them again.
func (n *Namespace) GiveBack(limit, holder, next, mark string, slots []lease.Lease) *script.Call {
	args := []any{limit, holder, next, mark, n.Partitions}
	for _, slot := range slots {
		args = append(args, slot.Subject.Canonical(), slot.Token.String())
	}
	return n.Scripts.Once(n.LimitHome(limit), givebackScript, nil, args...)
}
