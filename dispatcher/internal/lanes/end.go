package lanes

import (
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
)

var endScript = verb("end")

// Ending is a lease whose jobs have ended, the head of the lane first.
type Ending struct {
	Subject string // canonical
	Token   lease.Token
	Workers int // on how many different workers its jobs may fail; 0 is any number
	Jobs    []Verdict
}

// Verdict is what a worker says of an attempt at a job.
type Verdict struct {
	Entry   string
	Verdict string        // "done", "failed", "fatal" or "back"
	Wait    time.Duration // until the next attempt
	Keep    time.Duration // how long the outcome is kept
	Text    any           // a result, or an error
	Reason  string        // of a fatal one
}

// Fate is what became of a job: "gone", "cancelled", "again", "aside", "dead", "halted", or "lost" when the lease was
// no longer the caller's; and the code of why, "-" for none.
type Fate struct{ Fate, Why string }

// End makes a call that ends leases. own are the kinds that the caller claims in the same round trip, so that
// nobody is woken for them.
func (n *Namespace) End(p int, own []string, leases []Ending) *script.Call {
	tails := make([]string, len(leases))
	args := []any{spaced(own), len(leases)}
	var rows []any
	for i := range leases {
		l := &leases[i]
		tails[i] = n.keys[p].Tail(l.Subject)
		args = append(args, l.Subject, l.Token.String(), l.Workers, len(l.Jobs))
		for _, job := range l.Jobs {
			rows = append(rows, job.Entry, job.Verdict, max(0, job.Wait.Milliseconds()), job.Keep.Milliseconds(), job.Text, job.Reason)
		}
	}
	return n.Scripts.Once(p, endScript, tails, append(args, rows...)...)
}

// ReadFates reads the reply: a fate for each job.
func ReadFates(call *script.Call) ([]Fate, error) {
	words, err := call.Words()
	if err != nil {
		return nil, err
	}
	fates := make([]Fate, len(words)/2)
	for i := range fates {
		fates[i] = Fate{words[2*i], words[2*i+1]}
	}
	return fates, nil
}

// spaced puts each kind between spaces, the form in which scripts look one up.
func spaced(kinds []string) string {
	if len(kinds) == 0 {
		return ""
	}
	return " " + strings.Join(kinds, " ") + " "
}
