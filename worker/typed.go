package worker

import (
	"context"

	"github.com/lanekeeper/lanekeeper/dispatcher"
)

// Handle sets the handler of a kind whose payloads are of type T, as [Pool.Handle] does, which
// panics for a malformed kind, for a second handler and for none. What the handler returns decides
// the job's fate: see [Handler]. A payload that is not JSON of that type becomes a dead letter, as
// with [JSON]. Rules that are set on the kind count only when it was registered.
func Handle[T any](p *Pool, kind dispatcher.TypedKind[T], handle func(ctx context.Context, payload T) error) {
	var h Handler
	if handle != nil { // else it would be found out by the first job
		h = JSON(handle)
	}
	p.Handle(kind.Name, h)
}
