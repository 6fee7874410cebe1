package lanes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

var bringScript, bringEndedScript = verb("bring"), verb("bringended")

// Brought is a job of an export, in the forms in which it is stored.
type Brought struct {
	Subject string // canonical; "" of a dead letter that can't be read
	Entry   record.Entry
	Body    []byte
	Place   string // "lane", "scheduled" or "dead"
	When    string // its score on the schedule or among the dead letters
	Said    string // its note, or a dead letter's reason
	Name    string // what is known of its unique key, "" without one
	Has     bool   // it has that key now
}

// Bring makes a call that puts jobs where they stood, at most 250 and [MostBytes], of one partition. Jobs of a lane stand in
// their order. It may be repeated.
func (n *Namespace) Bring(p int, jobs []Brought) *script.Call {
	tails, kinds, args := make([]string, len(jobs)), []string{}, make([]any, 1, 1+8*len(jobs))
	for i, j := range jobs {
		tails[i] = n.keys[p].Tail(j.Subject)
		has := ""
		if j.Has {
			has = "has"
		}
		if !slices.Contains(kinds, j.Entry.Kind) {
			kinds = append(kinds, j.Entry.Kind)
		}
		args = append(args, j.Subject, j.Entry.String(), j.Body, j.Place, j.When, j.Said, j.Name, has)
	}
	args[0] = strings.Join(kinds, " ")
	return n.Scripts.Plain(p, bringScript, tails, args...)
}

// ReadBrought reads its reply: how many of the jobs were there already.
func ReadBrought(call *script.Call) (there int, err error) {
	words, err := call.Words()
	if err != nil {
		return 0, err
	}
	if len(words) == 2 {
		there, err = strconv.Atoi(words[1])
	}
	if len(words) != 2 || err != nil {
		return 0, fmt.Errorf("bring: reply %q", words)
	}
	return there, nil
}

// BroughtOutcome is an outcome of an export: its packed id, its record, and two times in ms.
type BroughtOutcome struct {
	ID, Record   string
	Ended, Until int64
}

// BringEnded makes a call that puts outcomes back, as many as [Namespace.Bring] takes jobs. It may be repeated.
func (n *Namespace) BringEnded(p int, outcomes []BroughtOutcome) *script.Call {
	var args []any
	for _, o := range outcomes {
		args = append(args, o.ID, o.Record, o.Ended, o.Until)
	}
	return n.Scripts.Plain(p, bringEndedScript, nil, args...)
}
