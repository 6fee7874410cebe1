package lanes

import (
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

var putBackScript = verb("putback")

// PutBack makes a call that puts back what holders have in hand behind the jobs that they are at: of each, who it is and Token
// count. What does not go back ends with the lease.
func (n *Namespace) PutBack(p int, at []Finishing) *script.Call {
	args := make([]any, 0, 3*len(at))
	for _, f := range at {
		args = append(args, f.Subject.Canonical(), record.AppendEntry(nil, f.ID, f.Entry), f.Token.String())
	}
	return n.Scripts.Once(p, putBackScript, nil, args...)
}

// ReadPutBack reads the reply, which says no more than that the call was heard.
func ReadPutBack(call *script.Call) error {
	_, err := call.Words()
	return err
}
