package lanes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

var enqueueScript = verb("enqueue")

// Arriving is a job that keeps all rules, in the form in which it is stored. Body lacks the first eleven bytes
// of a stored job, its number and the time of its enqueue, which the script puts there: both are Redis's to
// give. A moment in When is in ms since 1970.
type Arriving struct {
	Subject string // canonical
	Kind    string
	Entry   string
	When    string // "" now, "+ms" from now, or ms
	Body    []byte
	Unique  *UniqueKey
}

// UniqueKey is the key of a job that must not come twice. Field has the subject, the kind and the key. Scope is
// "waiting", "waiting+running" or "window"; Window is 0 but for the last; OnConflict is "merge", "reject" or
// "replace".
type UniqueKey struct {
	Field      string // among the unique keys of the partition
	Scope      string
	Window     time.Duration
	OnConflict string
}

// Enqueue makes the call that enqueues jobs of one partition, at most 250: "all" of them or none, or "each" by
// itself. A lane may hold maxLane jobs, and the partition n.Share. Each job brings its tail as a key, because a
// cluster wants keys declared.
func (n *Namespace) Enqueue(p int, mode string, maxLane int, jobs []*Arriving) *script.Call {
	tails := make([]string, len(jobs))
	args := make([]any, 5, 5+4*len(jobs))
	var kinds []string
	var unique []any
	for i, job := range jobs {
		tails[i] = n.keys[p].Tail(job.Subject)
		args = append(args, job.Subject, job.Entry, job.When, job.Body)
		if u := job.Unique; u != nil {
			unique = append(unique, i+1, u.Field, u.Scope, u.Window.Milliseconds(), u.OnConflict)
		}
		if !slices.Contains(kinds, job.Kind) {
			kinds = append(kinds, job.Kind)
		}
	}
	args[0], args[1], args[2], args[3], args[4] = mode, maxLane, n.Share, strings.Join(kinds, " "), len(jobs)
	return n.Scripts.Once(p, enqueueScript, tails, append(args, unique...)...)
}

// Arrived says what became of one job. Did says which of the other fields count: Seq and, for a unique key,
// Owner and Merged where a job is there, and There where something is full. Seq is 0 of a job that waits on the
// schedule.
type Arrived struct {
	// Did is "created", "there", "merged" or "replaced", or why it was not taken: "full", "backlog", "windows",
	// "heavy", "conflict" or "taken".
	Did    string
	Seq    int64  // of the job that is there
	Owner  string // id of the one that has the unique key, and
	Merged int    // how many jobs were merged into that
	There  string // of what is full, how many there are
	Err    error  // what it says can't be read
}

// Arrivals reads the reply of a call with so many jobs. When one of them had all refused, refused is that one,
// and all is what is said of it alone; else refused is negative.
func Arrivals(call *script.Call, jobs int) (all []Arrived, refused int, err error) {
	words, err := call.Words()
	if err != nil {
		return nil, -1, err
	}
	return readArrivals(words, jobs)
}

// readArrivals reads the words of a reply. The commonest, "created", says one number for all jobs: they got it
// and those that follow, in their order.
func readArrivals(words []string, jobs int) (all []Arrived, refused int, err error) {
	is := func(word string, width int) bool { return len(words) == width && words[0] == word }
	switch {
	case is("refused", 4):
		nth, err := strconv.Atoi(words[1])
		if err != nil || nth < 1 || nth > jobs {
			return nil, -1, fmt.Errorf("enqueue: reply %q", words)
		}
		return []Arrived{arrived(words[2], words[3])}, nth - 1, nil
	case is("created", 2):
		first, err := strconv.ParseInt(words[1], 10, 64)
		all = make([]Arrived, jobs)
		for i := range all {
			all[i] = Arrived{Did: "created", Seq: first + int64(i)}
		}
		return all, -1, err
	case !is("ok", 1+2*jobs):
		return nil, -1, cutOff("enqueue", words)
	}
	all = make([]Arrived, jobs)
	for i := range all {
		all[i] = arrived(words[1+2*i], words[2+2*i])
	}
	return all, -1, nil
}

// arrived reads a row of the reply.
func arrived(word, number string) (a Arrived) {
	switch a.Did = word; word {
	case "1":
		a.Did = "created"
		a.Seq, a.Err = strconv.ParseInt(number, 10, 64)
	case "0":
		a.Did = "there"
		a.Seq, a.Err = strconv.ParseInt(number, 10, 64)
	case "merged", "replaced", "taken":
		a.Owner, a.Seq, a.Merged, a.Err = record.ParseOwner(number)
	default:
		a.There = number
	}
	return a
}
