package lanes

import (
	"time"

	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/subject"
)

var leaveScript = verb("leave")

// Leave gives a ticket up, or the lease that it was given meanwhile, with the caller that asked for either:
// what is still on its way has no effect then (I9). The channel is closed when it was said; until then it is
// said again for as long as either could last, in a goroutine of its own.
func (n *Namespace) Leave(caller *script.Caller, key subject.Key, holder, ticket string, lasts time.Duration) <-chan struct{} {
	return caller.Insist(caller.Once(n.Partition(key), leaveScript, nil, key.Canonical(), holder, ticket), lasts)
}
