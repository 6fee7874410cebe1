package lanes

import "github.com/lanekeeper/lanekeeper/internal/script"

var bringEndedScript = verb("bringended")

// BroughtOutcome is an outcome of an export: its packed id, its record, and two times in ms.
type BroughtOutcome struct {
	ID, Record   string
	Ended, Until int64
}

// BringEnded makes a call that puts outcomes back, as many as [Namespace.Bring] takes jobs. It may be repeated.
func (n *Namespace) BringEnded(p int, by string, outcomes []BroughtOutcome) *script.Call {
	args := []any{by}
	for _, o := range outcomes {
		args = append(args, o.ID, o.Record, o.Ended, o.Until)
	}
	return n.Scripts.Plain(p, bringEndedScript, nil, args...)
}
