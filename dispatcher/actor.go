package dispatcher

import (
	"context"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
)

// Actor says who acts. Verbs of operators leave a line of what they did with it, which inspect.Inspector.Audit reads, and a
// suspended lane shows its Who. It is what the caller says, and no proof.
type Actor struct {
	Who  string // a person or a program, such as "ada@db-1"; 128 bytes of it are kept
	Face string // through what: "cli" is the command; 32 bytes are kept
	Why  string // for those who read it later; 512 bytes are kept
}

// As returns a context in which who acts. Without one a verb does the same, and its line names nobody.
//
//	err := d.Resume(dispatcher.As(ctx, dispatcher.Actor{Who: user, Face: "admin"}), key)
func As(ctx context.Context, who Actor) context.Context {
	return lanes.As(ctx, record.Actor(who))
}
