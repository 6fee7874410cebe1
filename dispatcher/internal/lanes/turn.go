package lanes

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

var turnScript = verb("turn")

// MaxClaim is the most lanes that one call of turn gives out: it bounds the script's time. 125 finishes and claims
// take 2 ms of Redis.
const MaxClaim = 125

// Claiming is who claims of which kinds, the one whose turn it is in front. Want is the most lanes, and
// MaxClaim in any case: 0 only passes a hint on to another worker; a negative one not even that, for the caller
// claims with its next call. Without kinds a call claims nothing, and leaves what it frees to others.
type Claiming struct {
	Holder string
	TTL    time.Duration
	Want   int
	Kinds  []Wanted
	Pool   string // that holds may be on; "" is the default one
}

// Wanted is a kind that is claimed.
type Wanted struct {
	Kind   string
	Along  int  // most jobs of one lane; 1 is only its head
	InHand int  // most jobs of one lane that a holder has in hand while nobody waits; 0 and 1 are only the one it is at
	Capped bool // no more than
	Most   int  // so many lanes are to be given out
}

// Finishing is a job that is done and leaves nothing. Its entry, with its ID, must be the head of the lane when its turn in
// the call comes, and Token that of the lane's lease; else the answer for it is "lost".
type Finishing struct {
	Subject subject.Key
	ID      string
	Entry   record.Entry // without the id
	Token   lease.Token
	GoesOn  bool // its holder goes on with the lane under the same lease,
	InHand  int  // and has so many jobs in hand behind the next
}

// Turn makes a call that finishes so many jobs, of which done tells one after the other, and then claims. Two
// jobs of one lane go in their order. It is the hot path: in large calls a job costs little more than one
// command, from one finish to the next (docs/performance.md).
func (n *Namespace) Turn(p int, who *Claiming, jobs int, done func(i int) Finishing) *script.Call {
	args := make([]any, 0, 4+2*len(who.Kinds)+3*jobs)
	var want any = min(who.Want, MaxClaim)
	if who.Pool != "" {
		want = fmt.Sprintf("%d %s", want, who.Pool)
	}
	args = append(args, who.Holder, who.TTL.Milliseconds(), want, len(who.Kinds))
	for _, k := range who.Kinds {
		along := strconv.Itoa(max(1, k.Along))
		if k.InHand > 1 {
			along += "+" + strconv.Itoa(k.InHand)
		}
		if k.Capped {
			along += "/" + strconv.Itoa(k.Most)
		}
		args = append(args, k.Kind, along)
	}
	text, tail := newTexts(4*jobs), n.keys[p].Tail("")
	for i := range jobs {
		f := done(i)
		text.add(f.Subject.AppendCanonical(append(text.all, tail...)))
		text.add(f.Subject.AppendCanonical(text.all))
		text.add(record.AppendEntry(text.all, f.ID, f.Entry))
		b := text.all
		if f.GoesOn {
			b = append(strconv.AppendInt(append(b, '+'), int64(f.InHand), 10), ' ')
		}
		text.add(strconv.AppendInt(b, int64(f.Token), 10))
	}
	words := text.words()
	tails := make([]string, jobs)
	for i := range jobs {
		tails[i] = words[4*i]
		args = append(args, &words[4*i+1], &words[4*i+2], &words[4*i+3])
	}
	return n.Scripts.Once(p, turnScript, tails, args...)
}

// texts makes many short strings of one piece of memory: a job has four of them in a turn.
type texts struct {
	all  []byte
	ends []int
}

func newTexts(n int) *texts { return &texts{make([]byte, 0, 32*n), make([]int, 0, n)} }

// add takes what was appended to all as the next string.
func (t *texts) add(all []byte) { t.all, t.ends = all, append(t.ends, len(all)) }

// words returns the strings.
func (t *texts) words() []string {
	all, from := string(t.all), 0
	words := make([]string, len(t.ends))
	for i, end := range t.ends {
		words[i], from = all[from:end], end
	}
	return words
}

// TurnReply is the reply of a turn. Its word on each job is read when it is asked for: this is where all jobs pass.
type TurnReply struct {
	Ready int  // lanes of these kinds that are left, as far as was looked
	Short bool // there are more, but no more of their kind were to be given out
	Held  bool // a hold keeps the caller from a kind of which lanes are ready
	Token lease.Token

	done     []string // a word for each finished job
	rows     []string // three words for each claimed job
	more     []string // three words for each job that came into a hand
	attempts []string
}

// Claimed is a job that a turn gave: jobs of one lane follow each other, its head first.
type Claimed struct {
	Subject, Entry, Body string
	Attempts             int // that have ended
}

// turnHead is how many words a reply starts with before its rows.
const turnHead = 4

// ReadTurn reads the reply of a turn that finished so many jobs: what became of those it says too when the rest
// of the reply can't be read. Then whatever was claimed is left to expire.
func ReadTurn(call *script.Call, done int) (t TurnReply, err error) {
	words, err := call.Words()
	if err != nil {
		return t, err
	}
	return readTurn(words, done)
}

// readTurn reads the words of a reply: four of the call, a word for each finished job, three for each claimed
// one. All numbers are looked at here, so that nobody has to deal with an error job by job.
func readTurn(words []string, done int) (t TurnReply, err error) {
	garbled := func(word string, err error) (TurnReply, error) { return t, fmt.Errorf("turn: reply %q: %w", word, err) }
	if len(words) < turnHead+done || (len(words)-turnHead-done)%3 != 0 {
		return t, cutOff("turn", words)
	}
	t.done = words[turnHead : turnHead+done]
	ready, short := strings.CutSuffix(words[1], "+")
	t.Short, t.Held = short, words[0] == "held"
	if t.Ready, err = strconv.Atoi(ready); err != nil {
		return garbled(words[1], err)
	}
	if t.Token, err = lease.ParseToken(words[2]); err != nil {
		return garbled(words[2], err)
	}
	rows, attempts := words[turnHead+done:], strings.Fields(words[3])
	behind := 0 // jobs that came into hands, behind those that were claimed
	for i := range t.done {
		behind += t.More(i)
	}
	if 3*behind > len(rows) {
		return t, fmt.Errorf("turn: reply %q: has %d jobs for %d that came into hands", words[:turnHead+done], len(rows)/3, behind)
	}
	rows, t.more = rows[:len(rows)-3*behind], rows[len(rows)-3*behind:]
	if len(attempts) > len(rows)/3 {
		return t, fmt.Errorf("turn: reply %q: says attempts of %d jobs, and has %d", words[3], len(attempts), len(rows)/3)
	}
	for _, word := range attempts {
		if _, err := strconv.Atoi(word); err != nil {
			return garbled(words[3], err)
		}
	}
	t.rows, t.attempts = rows, attempts
	return t, nil
}

// Answered reports whether the turn says what became of the jobs that it was to finish.
func (t *TurnReply) Answered() bool { return t.done != nil }

// Done is what became of the ith job that was to be finished: "gone" or "lost".
func (t *TurnReply) Done(i int) Fate {
	if t.done[i] == "lost" {
		return Fate{"lost", "-"}
	}
	return Fate{"gone", "-"}
}

// More is how many jobs came into the hand of who goes on from the ith job that was finished. [TurnReply.NextInHand] reads
// them, those of the first such job in front.
func (t *TurnReply) More(i int) (n int) {
	if word := t.done[i]; len(word) > len("ok+") && word[:3] == "ok+" {
		n, _ = strconv.Atoi(word[3:]) // what is no number has no jobs
	}
	return max(0, n)
}

// NextInHand takes the next job that came into a hand off the reply.
func (t *TurnReply) NextInHand() Claimed {
	c := Claimed{Subject: t.more[0], Entry: t.more[1], Body: t.more[2]}
	t.more = t.more[3:]
	return c
}

// Jobs is how many jobs were claimed, and Job the ith of them.
func (t *TurnReply) Jobs() int { return len(t.rows) / 3 }

func (t *TurnReply) Job(i int) Claimed {
	c := Claimed{Subject: t.rows[3*i], Entry: t.rows[3*i+1], Body: t.rows[3*i+2]}
	if i < len(t.attempts) {
		c.Attempts, _ = strconv.Atoi(t.attempts[i]) // it was read before
	}
	return c
}
