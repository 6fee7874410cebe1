package lanes

import "github.com/lanekeeper/lanekeeper/internal/script"

var bringEndedScript = verb("bringended")

// BroughtOutcome is an outcome of an export: its packed id, its record, and two times in ms.
type BroughtOutcome struct {
	ID, Record   string
	Ended, Until int64
}

// bringEnded makes a call that puts outcomes back, as many as bring takes jobs. It may be repeated.
func (m *Mover) bringEnded(p int, outcomes []BroughtOutcome) *script.Call {
	args := []any{m.run.String()}
	for _, o := range outcomes {
		args = append(args, o.ID, o.Record, o.Ended, o.Until)
	}
	return m.Scripts.Plain(p, bringEndedScript, nil, args...)
}
