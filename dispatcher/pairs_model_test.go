package dispatcher_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/lanekeeper/lanekeeper/dispatcher"
)

// lane is a model of one lane and of all that an operator, a holder and time can do to it, without
// scripts, indexes or bytes: what view says of it and what walk reads from Redis have to be the same.
// Names of kinds are those of their policies.
type lane struct {
	now   int64
	seq   int
	jobs  []*modelJob // head first
	lease *modelLease
	why   string // it is suspended by: "", "operator" or "halted"; or will be when its lease ends
	wait  int64  // the head waits until then; 0 is not
	later []*modelJob
	dead  []*modelJob
	owner map[string]*modelJob // of the unique key of each kind
}

type modelJob struct {
	id, kind      string
	attempts, max int
	suspended     bool
	seq           int   // its place among those that fall due together
	due           int64 // on the schedule
	key           bool  // it has the unique key, or will again when it is replayed
	exhausted     bool  // it died of failures
}

type modelLease struct {
	section         bool
	along           int
	cancel, suspend bool
}

const never = math.MaxInt64

func (l *lane) locate(id string) (at *[]*modelJob, i int) {
	for _, at := range []*[]*modelJob{&l.jobs, &l.later, &l.dead} {
		if i := slices.IndexFunc(*at, func(j *modelJob) bool { return j.id == id }); i >= 0 {
			return at, i
		}
	}
	return nil, 0
}

// claimed reports whether the ith job of the lane is in a holder's hands.
func (l *lane) claimed(i int) bool { return l.lease != nil && !l.lease.section && i <= l.lease.along }

func (l *lane) heldUp() bool {
	return l.lease == nil && l.why == "" && len(l.jobs) > 0 && l.jobs[0].suspended
}

func (l *lane) ready() bool {
	return l.lease == nil && l.why == "" && len(l.jobs) > 0 && !l.jobs[0].suspended && l.wait == 0
}

// remove takes the ith job out of the lane.
func (l *lane) remove(i int) *modelJob {
	j := l.jobs[i]
	l.jobs = slices.Delete(l.jobs, i, i+1)
	if i == 0 {
		l.wait = 0
		if l.why == "halted" { // by the one that is gone
			l.why = "operator"
		}
	}
	return j
}

func (l *lane) over(j *modelJob) {
	if l.owner[j.kind] == j {
		delete(l.owner, j.kind)
	}
}

func (l *lane) bury(j *modelJob, exhausted bool) {
	l.over(j)
	j.exhausted = exhausted
	l.dead = append(l.dead, j)
}

func (l *lane) aside(j *modelJob, due int64) {
	j.due = due
	l.later = append(l.later, j)
}

// pass places what is due and ends waits, as a reap does.
func (l *lane) pass() {
	l.endWait()
	slices.SortStableFunc(l.later, func(a, b *modelJob) int { return cmp.Or(cmp.Compare(a.due, b.due), a.seq-b.seq) })
	var stay []*modelJob
	for _, j := range l.later {
		switch {
		case j.due > l.now:
			stay = append(stay, j)
		case j.suspended:
			j.due = never
			stay = append(stay, j)
		default:
			l.seq++
			j.seq = l.seq
			l.jobs = append(l.jobs, j)
		}
	}
	l.later = stay
}

// mayStart is how often a job may be started: one whose id ends with "once", once.
func mayStart(id string) int {
	if strings.HasSuffix(id, "once") {
		return 1
	}
	return 2
}

func (l *lane) put(id, kind string, delay int64, unique string) string {
	if at, _ := l.locate(id); at != nil {
		return "exists"
	}
	if owner := l.owner[kind]; unique != "" && owner != nil {
		if i := slices.Index(l.jobs, owner); unique == "running" || i < 0 || !l.claimed(i) {
			return "merged"
		}
		owner.key = false
	}
	l.seq++
	j := &modelJob{id: id, kind: kind, max: mayStart(id), seq: l.seq, key: unique != ""}
	if j.key {
		l.owner[kind] = j
	}
	if delay > 0 {
		l.aside(j, l.now+delay)
	} else {
		l.jobs = append(l.jobs, j)
	}
	return "ok"
}

func (l *lane) claim(most int) string {
	if !l.ready() {
		return "nothing"
	}
	head := l.jobs[0]
	l.lease = &modelLease{}
	for i := 1; i < min(most, len(l.jobs)) && head.attempts == 0; i++ {
		if j := l.jobs[i]; j.kind != head.kind || j.attempts > 0 || j.suspended {
			break
		}
		l.lease.along = i
	}
	return "ok"
}

// othersWait is how long jobs of a batch are to wait that fail and are not its head.
const othersWait = 3600000 // ms

// end ends jobs that were claimed together, each in a way of its own, and their lease; with goesOn
// the lease stays for the others.
func (l *lane) end(goesOn bool, wait int64, ways ...string) string {
	lease, waits := l.lease, make([]int64, len(ways))
	for i := range ways {
		waits[i] = othersWait
	}
	if goesOn {
		l.over(l.remove(0))
		lease.along, lease.cancel = lease.along-1, false
		return "ok"
	}
	if waits[0] = wait; ways[0] == "crash" {
		clear(waits[1:])
	}
	l.lease = nil
	batch := slices.Clone(l.jobs[:len(ways)])
	l.jobs = slices.Delete(l.jobs, 0, len(ways))
	var stay []*modelJob
	var said []string
	for i, j := range batch {
		counted, word := j.attempts+1, "ok"
		final := ways[i] == "die" || (ways[i] == "fail" || ways[i] == "crash") && counted >= j.max
		switch {
		case ways[i] == "finish":
			l.over(j)
		case i == 0 && lease.cancel:
			l.over(j)
			word = "cancelled"
		case ways[i] == "back":
			stay = append(stay, j)
		case final && j.kind == "halt":
			l.why, word, j.attempts = "halted", "halted", j.attempts+1
			stay = append(stay, j)
		case final:
			l.bury(j, ways[i] == "fail")
			if word = "dead"; ways[i] == "die" {
				word = "ok"
			}
		default:
			j.attempts = counted
			if j.kind == "skip" && (ways[i] == "fail" || i == 0) { // what was only claimed along stays
				l.aside(j, l.now+waits[i])
				break
			}
			if len(stay) == 0 && waits[i] > 0 { // the lane waits for its new head
				l.wait = l.now + waits[i]
			}
			stay = append(stay, j)
		}
		said = append(said, word)
	}
	l.jobs = slices.Concat(stay, l.jobs)
	return strings.Join(said, " ")
}

// crash ends a lease without a word.
func (l *lane) crash() {
	switch {
	case l.lease == nil:
	case l.lease.section:
		l.lease = nil
	default:
		ways, wait := make([]string, 1+l.lease.along), int64(0)
		for i := range ways {
			ways[i] = "crash"
		}
		if l.jobs[0].attempts > 0 {
			wait = dispatcher.DefaultBackoff.Base.Milliseconds()
		}
		l.end(false, wait, ways...)
	}
}

func (l *lane) cancel(id string) string {
	at, i := l.locate(id)
	switch {
	case at == nil || at == &l.dead:
		return "missing"
	case at == &l.jobs && l.claimed(i) && i == 0:
		l.lease.cancel = true
		return "asked"
	case at == &l.jobs && l.claimed(i):
		return "running"
	case at == &l.jobs:
		l.over(l.remove(i))
	default:
		l.over((*at)[i])
		l.later = slices.Delete(l.later, i, i+1)
	}
	return "ok"
}

func (l *lane) suspendJob(id string) string {
	at, i := l.locate(id)
	switch {
	case at == nil || at == &l.dead:
		return "missing"
	case at == &l.jobs && l.claimed(i):
		return "running"
	case (*at)[i].suspended:
		return "ok"
	}
	j := (*at)[i]
	j.suspended = true
	if at == &l.jobs && j.kind == "skip" {
		l.aside(l.remove(i), never)
	}
	return "ok"
}

func (l *lane) resumeJob(id string) string {
	at, i := l.locate(id)
	switch {
	case at == nil || at == &l.dead:
		return "missing"
	case !(*at)[i].suspended:
		return "no"
	}
	j := (*at)[i]
	j.suspended = false
	if at == &l.later && j.due == never {
		j.due = l.now
	} else if at == &l.jobs && i == 0 && l.why == "" {
		l.endWait()
	}
	return "ok"
}

func (l *lane) suspendLane() string {
	if l.why != "halted" {
		l.why = "operator"
	}
	if l.lease != nil {
		l.lease.suspend = true
		return "later"
	}
	return "ok"
}

func (l *lane) resumeLane(skip bool) string {
	switch {
	case l.lease != nil && (skip || !l.lease.suspend), l.lease == nil && l.why == "" && !l.heldUp():
		return "no"
	case l.lease != nil:
		l.lease.suspend, l.why = false, ""
		return "ok"
	case skip && len(l.jobs) == 0:
		return "missing"
	case skip:
		l.bury(l.remove(0), false)
	case len(l.jobs) > 0:
		l.jobs[0].suspended = false
		if l.why == "halted" {
			l.jobs[0].attempts = 0
		}
	}
	l.why = ""
	l.endWait()
	return "ok"
}

// endWait ends a wait whose time is over: nobody has looked while something else kept the lane back too.
func (l *lane) endWait() {
	if l.wait <= l.now {
		l.wait = 0
	}
}

func (l *lane) replay(id string, front bool) string {
	at, i := l.locate(id)
	if at != &l.dead {
		return "missing"
	}
	j := l.dead[i]
	if j.key && l.owner[j.kind] != nil {
		return "taken"
	}
	l.dead = slices.Delete(l.dead, i, i+1)
	if j.attempts, j.suspended = 0, false; j.key {
		l.owner[j.kind] = j
	}
	place := len(l.jobs)
	switch {
	case !front:
		l.seq++
		j.seq = l.seq
	case len(l.jobs) == 0:
	case l.lease != nil && !l.lease.section:
		place = 1 + l.lease.along
	case l.lease != nil, l.why == "halted": // its head stays
		place = 1
	default:
		place, l.wait = 0, 0
	}
	l.jobs = slices.Insert(l.jobs, place, j)
	return "ok"
}

// refund gives an attempt back that failed on a worker to blame.
func (l *lane) refund(id string) string {
	at, i := l.locate(id)
	switch {
	case at == &l.dead && l.dead[i].exhausted:
		return l.replay(id, true)
	case at == nil || at == &l.dead || (*at)[i].attempts == 0:
	default:
		(*at)[i].attempts--
	}
	return "ok"
}

func (l *lane) section() string {
	if l.lease != nil || l.why != "" || len(l.jobs) > 0 {
		return "held"
	}
	l.lease = &modelLease{section: true}
	return "ok"
}

// view says all that is to be seen of the lane in Redis.
func (l *lane) view() string {
	v := view{waits: max(0, l.wait-l.now), why: l.why}
	for _, j := range l.jobs {
		v.jobs = append(v.jobs, j.text())
	}
	slices.SortStableFunc(l.later, func(a, b *modelJob) int { return cmp.Or(cmp.Compare(a.due, b.due), a.seq-b.seq) })
	for _, j := range l.later {
		at := "never"
		if j.due < never {
			at = fmt.Sprint(j.due - l.now)
		}
		v.later = append(v.later, j.text()+"@"+at)
	}
	for _, j := range l.dead {
		v.dead = append(v.dead, j.id)
	}
	for _, j := range l.owner {
		v.owners = append(v.owners, j.id)
	}
	switch s := l.lease; {
	case s == nil && (l.why != "" || l.heldUp()):
		v.lease = "suspended" // the lane, that is
	case s == nil && l.ready():
		v.ready = l.jobs[0].kind
	case s == nil:
	case s.section:
		v.lease = "section"
	default:
		v.lease = "job"
		if s.along > 0 {
			v.lease += fmt.Sprint("+", s.along)
		}
	}
	if s := l.lease; s != nil {
		for mark, set := range map[string]bool{"c": s.cancel, "s": s.suspend} {
			if set {
				v.marks = append(v.marks, mark)
			}
		}
	}
	return v.String()
}

func (j *modelJob) text() string {
	text := fmt.Sprint(j.id, "/", j.attempts)
	if j.suspended {
		text += "~"
	}
	return text
}

// view is what there is to be seen of a lane.
type view struct {
	jobs, later, dead, marks, owners []string
	lease, why, ready                string
	waits                            int64
}

func (v view) String() string {
	slices.Sort(v.marks)
	slices.Sort(v.owners)
	return fmt.Sprintf("lane %v, lease %q marked %v, suspended by %q, waits %d, ready as %q, later %v, dead %v, keys of %v",
		v.jobs, v.lease, v.marks, v.why, v.waits, v.ready, v.later, v.dead, v.owners)
}
