package lanes

import (
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
)

var endScript = verb("end")

// Ending is a lease whose jobs have ended, the head of the lane first. The jobs must be those that stand in
// front of the lane, in their order: else all of them are lost.
type Ending struct {
	Subject string // canonical
	Token   lease.Token
	Workers int // on how many different workers its jobs may fail; 0 is any number
	Jobs    []Verdict
}

// Verdict is what a worker says of an attempt at a job. Entry is how the job stands in its lane. Wait counts
// for "failed", Keep for "done" and for a job whose cancellation was asked for.
type Verdict struct {
	Entry   string
	Verdict string        // "done", "failed", "fatal" or "back"
	Wait    time.Duration // until the next attempt
	Keep    time.Duration // how long the outcome is kept
	Text    any           // a result, or an error
	Reason  string        // of a fatal one
}

// Fate is what became of a job: "gone", "cancelled", "again", "aside", "dead", "halted", or "lost" when the
// lease was no longer the caller's; and the code of why, "-" for none. record.ReasonFor says a code in words.
type Fate struct{ Fate, Why string }

// End makes a call that ends leases, of any number of lanes of one partition. own are the kinds that the caller
// claims in the same round trip, so that nobody is woken for them. How many ends a call takes, and how many
// bytes, the caller bounds (I16).
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

// ReadFates reads the reply: a fate for each of so many jobs, in the order of the leases and of the jobs in each. An error
// that is no answer leaves open what became of all of them.
func ReadFates(call *script.Call, jobs int) ([]Fate, error) {
	words, err := call.Words()
	if err != nil {
		return nil, err
	}
	return readFates(words, jobs)
}

func readFates(words []string, jobs int) ([]Fate, error) {
	if len(words) != 2*jobs {
		return nil, cutOff("end", words)
	}
	fates := make([]Fate, jobs)
	for i := range fates {
		fates[i] = Fate{words[2*i], words[2*i+1]}
	}
	return fates, nil
}

// spaced puts each kind between spaces, the form in which scripts look one up, so that no kind is found inside
// of another one's name. No kinds are "".
func spaced(kinds []string) string {
	if len(kinds) == 0 {
		return ""
	}
	return " " + strings.Join(kinds, " ") + " "
}
