package lanes

import (
	"context"
	"fmt"
	"strconv"

	"github.com/lanekeeper/lanekeeper/internal/record"
)

var registerScript = whole("register")

// Declaration is a kind as it is written into the registry. JSON is compared byte by byte: the same declaration
// keeps its version, any other one gets the next.
type Declaration struct {
	Kind, Owner string
	JSON        []byte
	Retention   record.Retention
}

// OwnerError is returned for a kind that belongs to somebody else: two teams that use one name find out at
// start-up.
type OwnerError struct{ Kind, Is, Wants string }

func (e *OwnerError) Error() string {
	return fmt.Sprintf("%s belongs to %s, not to %s", e.Kind, e.Is, e.Wants)
}

// GarbledError is returned for a kind whose record in the registry can't be read.
type GarbledError struct{ Kind string }

func (e *GarbledError) Error() string { return "the record of kind " + e.Kind + " can't be read" }

// Register writes declarations, all or none, and returns the version of each. It costs one round trip, and
// writes nothing when all are registered so already. It may be repeated: the second time nothing has changed.
func (n *Namespace) Register(ctx context.Context, kinds []Declaration) (versions []int, err error) {
	var args []any
	for _, k := range kinds {
		args = append(args, k.Kind, k.Owner, k.JSON, k.Retention.String())
	}
	words, err := n.Ask(ctx, n.Scripts.Whole(registerScript, []string{n.Registry(), n.Versions()}, args...))
	if err != nil {
		return nil, err
	}
	switch words[0] {
	case "owner":
		return nil, &OwnerError{words[1], words[2], words[3]}
	case "garbled":
		return nil, &GarbledError{words[1]}
	}
	versions = make([]int, len(kinds))
	for i := range kinds {
		if versions[i], err = strconv.Atoi(words[1+i]); err != nil {
			return nil, fmt.Errorf("register: reply %q: %w", words, err)
		}
	}
	return versions, nil
}
