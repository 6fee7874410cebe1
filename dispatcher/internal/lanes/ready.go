package lanes

import (
	"fmt"
	"strconv"

	"github.com/lanekeeper/lanekeeper/internal/script"
)

var readyScript = verb("ready")

// ReadyCall counts the ready lanes of kinds in one partition: of each kind, how long its list is.
type ReadyCall struct {
	*script.Call
	kinds []string
}

// Ready makes such a call. It writes nothing, and costs one command a kind.
func (n *Namespace) Ready(p int, kinds []string) ReadyCall {
	args := make([]any, len(kinds))
	for i, kind := range kinds {
		args[i] = kind
	}
	return ReadyCall{n.Scripts.Plain(p, readyScript, nil, args...), kinds}
}

// Lanes reads the reply: ready lanes by kind, at the moment of the call. The map is never nil.
func (c ReadyCall) Lanes() (map[string]int, error) {
	lanes := make(map[string]int)
	words, err := c.Words()
	if err != nil {
		return lanes, err
	}
	if len(words) != 1+len(c.kinds) {
		return lanes, fmt.Errorf("ready: reply %q", words)
	}
	for i, kind := range c.kinds {
		if lanes[kind], err = strconv.Atoi(words[1+i]); err != nil {
			return lanes, fmt.Errorf("ready: reply %q: %w", words, err)
		}
	}
	return lanes, nil
}
