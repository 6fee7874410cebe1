package dispatcher

import (
	"errors"
	"fmt"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Condition is what must be so for a verb to act on a lane: see [IfHead].
type Condition struct{ seen lanes.Seen }

// IfHead lets a verb act only while the job of that id is the head of the lane, as the operator saw it who decided; "" is a lane
// at whose head no job stands. When it is another by then the verb changes nothing, and returns a [*MovedError]. Of several conditions the last one counts.
func IfHead(id string) Condition { return Condition{lanes.Seen{Set: true, ID: id}} }

// seen is the condition that counts, or none.
func seen(conditions []Condition) (s lanes.Seen) {
	for _, c := range conditions {
		s = c.seen
	}
	return s
}

// MovedError is returned when another job is the head of a lane than the one that [IfHead] named. Nothing was changed.
type MovedError struct {
	Subject subject.Key
	Seen    string // the id that was named, and
	Head    string // the head's id now; "" is no job
}

func (e *MovedError) Error() string {
	return fmt.Sprintf("dispatcher: lane has moved: the head of %s is %s, not %s; nothing was changed", e.Subject, headText(e.Head), headText(e.Seen))
}

// Is makes errors.Is(err, ErrMoved) true.
func (e *MovedError) Is(target error) bool { return target == ErrMoved }

func headText(id string) string {
	if id == "" {
		return "no job"
	}
	return subject.IDText(id)
}

// acted says what a verb did to a lane when err came, and of a lane that has moved what is there now.
func acted(how string, key subject.Key, s lanes.Seen, err error) error {
	var moved *lanes.MovedError
	if errors.As(err, &moved) {
		head, _ := record.UnpackID(moved.Head) // "" of no job
		err = &MovedError{key, s.ID, head}
	}
	return lanes.Wrap(how+" "+key.String(), err)
}
