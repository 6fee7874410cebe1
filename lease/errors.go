package lease

import (
	"errors"
	"fmt"
	"time"

	"github.com/lanekeeper/lanekeeper/subject"
)

// ErrLost is returned when a call carries a token that is no longer the current
// one of its subject, or renews a lease that is over. The call changed nothing,
// and no repeat of it can succeed. It is also the cause of a work context that a
// [Keeper] cancelled.
var ErrLost = errors.New("lease: lost")

// ErrCancelled is returned by Renew for a lease that was renewed, but whose lane's head an
// operator has cancelled. It is also the cause of the work's context then.
var ErrCancelled = errors.New("lease: cancelled by an operator")

// ErrHeld is matched by every [HeldError].
var ErrHeld = errors.New("lease: held")

// HeldError is returned by Acquire when somebody else has the subject. Holder is
// empty when nobody holds it but jobs wait in its lane, which go first, or an operator holds it back.
type HeldError struct {
	Subject subject.Key
	Holder  string
	Until   time.Time // end of the other's lease, by Redis's clock

	Suspended bool // by an operator, or by a head that has failed for good

	Hold string // the id of an operator's hold that bars it; Until is when that ends by itself then, zero when it is released
}

func (e *HeldError) Error() string {
	if e.Hold != "" {
		until := ""
		if !e.Until.IsZero() {
			until = " until " + e.Until.UTC().Format(time.RFC3339)
		}
		return fmt.Sprintf("lease: %s is barred by the hold %s%s", e.Subject, e.Hold, until)
	}
	if e.Holder == "" {
		return fmt.Sprintf("lease: %s has jobs waiting in its lane, which go first", e.Subject)
	}
	if e.Suspended {
		return fmt.Sprintf("lease: %s is suspended", e.Subject)
	}
	return fmt.Sprintf("lease: %s is held by %s until %s",
		e.Subject, e.Holder, e.Until.Format(time.RFC3339))
}

// Is makes errors.Is(err, ErrHeld) true.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }
