// Package story replays transcripts: a command, a line of dashes, and what the
// world looked like after it. They read as stories, and are tests.
//
//	claim w1
//	----
//	alice/j1 attempt=1 token=1000001
//
// Time stands still but for 'advance', so every answer is the same on every run.
package story

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/doctor"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Step is one command of a story and the output that is expected of it.
type Step struct {
	Comment string // lines before the command, as they are
	Command string
	Output  string
}

// Parse splits a transcript into steps. Steps are separated by blank lines or by
// the next command: output ends at a blank line.
func Parse(text string) []Step {
	var steps []Step
	var comment strings.Builder
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		if i+1 >= len(lines) || lines[i+1] != "----" {
			if strings.HasPrefix(lines[i], "#") {
				comment.WriteString(lines[i] + "\n")
			}
			continue
		}
		step := Step{Comment: comment.String(), Command: lines[i]}
		comment.Reset()
		for i += 2; i < len(lines) && lines[i] != ""; i++ {
			step.Output += lines[i] + "\n"
		}
		steps = append(steps, step)
	}
	return steps
}

// Format is the inverse of Parse.
func Format(steps []Step) string {
	var b strings.Builder
	for i, s := range steps {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(s.Comment + s.Command + "\n----\n" + s.Output)
	}
	return b.String()
}

// World is what a story happens in.
type World struct {
	cfg      dispatcher.Config
	d        *dispatcher.Dispatcher
	now      time.Time
	sessions []*session.Session
	claims   map[string]claimed // "holder/job" -> its latest claim
}

// claimed is a claim and whose it is.
type claimed struct {
	session.Claim
	by *session.Session
}

// NewWorld opens an empty namespace of one partition at time 1000 s.
func NewWorld(ctx context.Context, rdb *redis.Client, namespace string) (*World, error) {
	w := &World{now: time.Unix(1000, 0), claims: make(map[string]claimed)}
	var err error
	w.cfg = dispatcher.Config{Redis: rdb, Namespace: namespace, Partitions: 1, Now: func() time.Time { return w.now }}
	w.d, err = dispatcher.Open(ctx, w.cfg)
	return w, err
}

// Close ends the sessions of a story.
func (w *World) Close(ctx context.Context) (err error) {
	for _, s := range w.sessions {
		err = errors.Join(err, s.Close(ctx))
	}
	return err
}

// Run runs one command and returns what it shows.
func (w *World) Run(ctx context.Context, command string) string {
	words := strings.Fields(command)
	var plain []string
	opts := make(map[string]string)
	for _, word := range words[1:] {
		if k, v, found := strings.Cut(word, "="); found {
			opts[k] = v
		} else {
			plain = append(plain, word)
		}
	}
	out, err := w.do(ctx, words[0], plain, opts)
	switch {
	case errors.Is(err, lease.ErrLost):
		out = append(out, "lost")
	case err != nil:
		out = append(out, "error: "+err.Error())
	case len(out) == 0:
		out = []string{"ok"}
	}
	return strings.Join(out, "\n") + "\n"
}

func (w *World) do(ctx context.Context, verb string, args []string, opts map[string]string) ([]string, error) {
	switch verb {
	case "advance":
		d, err := time.ParseDuration(args[0])
		w.now = w.now.Add(d)
		return nil, err
	case "enqueue":
		return w.enqueue(ctx, args, opts)
	case "claim":
		return w.claim(ctx, args[0], opts)
	case "finish", "retry", "deadletter", "handback":
		return w.end(ctx, verb, args, opts)
	case "reap":
		r, err := session.Reap(ctx, w.d)
		return []string{fmt.Sprintf("expired=%d buried=%d resumed=%d placed=%d",
			r.Expired, r.Buried, r.Resumed, r.Placed)}, err
	case "lane":
		return w.lane(ctx, args[0])
	case "job":
		return w.job(ctx, args[0])
	case "dead":
		return w.dead(ctx)
	case "suspend":
		holder, err := w.d.Suspend(ctx, key(args[0]), "the story says so")
		if holder != "" {
			return []string{"when " + holder + " is done"}, err
		}
		return nil, err
	case "resume":
		return nil, w.d.Resume(ctx, key(args[0]))
	case "retrynow":
		return nil, w.d.RetryNow(ctx, key(args[0]))
	case "skip":
		return nil, w.d.Skip(ctx, key(args[0]))
	case "cancel":
		holder, err := w.d.Cancel(ctx, dispatcher.JobRef{ID: args[0]})
		if holder != "" {
			return []string{holder + " is asked"}, err
		}
		return nil, err
	case "declare":
		return nil, w.declare(ctx, args[0], opts)
	case "replay":
		_, err := w.d.Replay(ctx, dispatcher.JobRef{ID: args[0]}, slices.Contains(args, "front"))
		return nil, err
	case "discard":
		return nil, w.d.Discard(ctx, dispatcher.JobRef{ID: args[0]})
	case "doctor":
		return w.doctor(ctx)
	}
	return nil, fmt.Errorf("no such command: %s", verb)
}

// declare KIND [policy=P] [max=N]
func (w *World) declare(ctx context.Context, kind string, opts map[string]string) error {
	limit, _ := strconv.Atoi(opts["max"])
	w.cfg.Kinds = append(w.cfg.Kinds, dispatcher.Kind{
		Name: kind, Owner: "story", OnFailure: dispatcher.Policy(opts["policy"]), MaxAttempts: limit,
	})
	var err error
	w.d, err = dispatcher.Open(ctx, w.cfg)
	return err
}

func key(id string) subject.Key { return subject.Key{Kind: "user", ID: id} }

// enqueue LANE JOB… [kind=K] [max=N] [delay=D] [unique=KEY]
func (w *World) enqueue(ctx context.Context, args []string, opts map[string]string) (out []string, err error) {
	delay, _ := time.ParseDuration(opts["delay"])
	limit, _ := strconv.Atoi(opts["max"])
	kind := opts["kind"]
	if kind == "" {
		kind = "job"
	}
	for _, id := range args[1:] {
		job := dispatcher.NewJob{Subject: key(args[0]), Kind: kind, ID: id, MaxAttempts: limit, Delay: delay}
		if opts["unique"] != "" {
			job.Unique = &dispatcher.Unique{Key: opts["unique"]}
		}
		done, err := w.d.Enqueue(ctx, job)
		if err != nil {
			return out, err
		}
		if done.Merged > 0 {
			out = append(out, fmt.Sprintf("%s merged into %s, %d so far", id, done.ID, done.Merged))
			continue
		}
		out = append(out, fmt.Sprintf("%s seq=%d created=%t", id, done.Seq, done.Created))
	}
	return out, nil
}

// claim HOLDER [kind=K] [n=N] [ttl=D]
func (w *World) claim(ctx context.Context, holder string, opts map[string]string) (out []string, err error) {
	who := session.Claimant{Holder: holder, Kinds: []string{"job"}, TTL: 10 * time.Second}
	if opts["kind"] != "" {
		who.Kinds = strings.Split(opts["kind"], ",")
	}
	if opts["ttl"] != "" {
		who.TTL, _ = time.ParseDuration(opts["ttl"])
	}
	n := 1
	if opts["n"] != "" {
		n, _ = strconv.Atoi(opts["n"])
	}
	s, err := session.Join(ctx, w.d, who, n)
	if err != nil {
		return nil, err
	}
	w.sessions = append(w.sessions, s)
	turned := s.Turns(ctx, []session.Turn{{Claim: true, Want: n}})[0]
	claims, err := turned.Claims, turned.Err
	for _, c := range claims {
		w.claims[holder+"/"+c.ID] = claimed{c, s}
		out = append(out, fmt.Sprintf("%s/%s attempt=%d token=%s", c.Subject.ID, c.ID, c.Attempt, c.Lease.Token))
	}
	if len(claims) == 0 {
		out = []string{"nothing"}
	}
	return out, err
}

// finish|retry|deadletter|handback HOLDER JOB [wait=D] [error=E]
func (w *World) end(ctx context.Context, verb string, args []string, opts map[string]string) ([]string, error) {
	claim, ok := w.claims[args[0]+"/"+args[1]]
	if !ok {
		return nil, fmt.Errorf("%s never claimed %s", args[0], args[1])
	}
	end := session.End{Claim: &claim.Claim}
	switch verb {
	case "finish":
		end.Outcome = session.Finished
	case "handback":
		end.Outcome = session.HandedBack
	case "deadletter":
		end.Outcome, end.Reason, end.Error = session.DeadLettered, "permanent error", opts["error"]
	case "retry":
		end.Outcome, end.Error = session.Retry, opts["error"]
		end.Wait, _ = time.ParseDuration(opts["wait"])
	}
	ended := claim.by.Turns(ctx, []session.Turn{{Ends: []session.End{end}}})[0].Ended[0]
	if ended.Dead && verb == "retry" {
		return []string{"dead"}, ended.Err
	}
	return nil, ended.Err
}

func (w *World) lane(ctx context.Context, id string) ([]string, error) {
	lane, err := inspect.New(w.d).Lane(ctx, key(id), inspect.Page{})
	if errors.Is(err, dispatcher.ErrNotFound) {
		return []string{"no lane"}, nil
	}
	if err != nil {
		return nil, err
	}
	ids := []string{string(lane.State)}
	for _, j := range lane.Jobs {
		ids = append(ids, j.ID)
	}
	return []string{strings.Join(ids, " ")}, nil
}

func (w *World) job(ctx context.Context, id string) ([]string, error) {
	j, err := inspect.New(w.d).Job(ctx, dispatcher.JobRef{ID: id})
	if errors.Is(err, dispatcher.ErrNotFound) {
		return []string{"gone"}, nil
	}
	return []string{fmt.Sprintf("%s attempt=%d of %d error=%q", j.State, j.Attempt, j.MaxAttempts, j.Error)}, err
}

func (w *World) dead(ctx context.Context) (out []string, err error) {
	letters, _, err := inspect.New(w.d).DeadLetters(ctx, dispatcher.DeadFilter{}, inspect.Page{})
	for _, l := range letters {
		out = append(out, fmt.Sprintf("%s of %s after %d attempts: %s: %s", l.ID, l.Subject.ID, l.Attempt, l.Reason, l.Error))
	}
	if len(out) == 0 {
		out = []string{"no dead letters"}
	}
	return out, err
}

func (w *World) doctor(ctx context.Context) (out []string, err error) {
	findings, err := doctor.New(w.d).Examine(ctx, nil)
	for _, f := range findings {
		if f.Severity == doctor.Wrong {
			out = append(out, f.Where+": "+f.Detail)
		}
	}
	if len(out) == 0 {
		out = []string{"clean"}
	}
	return out, err
}
