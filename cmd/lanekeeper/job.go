package main

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
)

// jobView is a job as the CLI shows it.
type jobView struct {
	ID           string                     `json:"id"`
	Subject      string                     `json:"subject"`
	Kind         string                     `json:"kind"`
	Seq          int64                      `json:"seq"`
	Attempt      int                        `json:"attempt"`
	MaxAttempts  int                        `json:"max_attempts"`
	State        string                     `json:"state"`
	EnqueuedAt   *time.Time                 `json:"enqueued_at,omitempty"`
	RunAt        *time.Time                 `json:"run_at,omitempty"`
	Token        string                     `json:"token,omitempty"`
	Holder       string                     `json:"holder,omitempty"`
	ExpiresAt    *time.Time                 `json:"expires_at,omitempty"`
	DiedAt       *time.Time                 `json:"died_at,omitempty"`
	Reason       string                     `json:"reason,omitempty"`
	Error        string                     `json:"error,omitempty"`
	Timeout      string                     `json:"timeout,omitempty"`
	Headers      map[string]string          `json:"headers,omitempty"`
	Why          string                     `json:"why,omitempty"`
	Note         string                     `json:"note,omitempty"` // why it stands where it stands,
	Code         string                     `json:"code,omitempty"` // and the word for that
	Cancelling   bool                       `json:"cancelling,omitempty"`
	Position     int                        `json:"position,omitempty"`
	StartsAt     *time.Time                 `json:"starts_at,omitempty"` // estimates
	EndsAt       *time.Time                 `json:"ends_at,omitempty"`
	PayloadBytes int                        `json:"payload_bytes"`
	PayloadHash  string                     `json:"payload_digest"`
	Payload      map[string]json.RawMessage `json:"payload,omitempty"` // the fields that its kind lets be shown

	id    string // as it is, and not its text form
	alone bool   // no other is shown with it
}

// viewJob shows a job. Of its payload it has what its kind declares loggable, and of all else
// only size and digest.
func (a *app) viewJob(d *dispatcher.Dispatcher, j inspect.JobInfo) jobView {
	v := jobView{
		ID: idText(j.ID), id: j.ID, Subject: j.Subject.String(), Kind: j.Kind, Seq: j.Seq, Attempt: j.Attempt,
		MaxAttempts: j.MaxAttempts, State: string(j.State), EnqueuedAt: optional(j.EnqueuedAt),
		RunAt: optional(j.RunAt), Holder: j.Holder, ExpiresAt: optional(j.ExpiresAt),
		DiedAt: optional(j.DiedAt), Reason: j.Reason, Error: j.Error, Headers: j.Headers,
		PayloadBytes: len(j.Payload), PayloadHash: digest(j.Payload),
		Why: j.Why, Cancelling: j.Cancelling, Position: j.Position,
		StartsAt: optional(j.Starts), EndsAt: optional(j.Ends),
	}
	if j.Token != 0 {
		v.Token = j.Token.String()
	}
	if j.Timeout > 0 {
		v.Timeout = j.Timeout.String()
	}
	if kind, ok := d.Declared(j.Kind); ok {
		v.Payload = shown(kind.Kind, j.Payload)
	}
	return v
}

// shown are the fields of a payload that may be shown: JSON, and in it no JSON once more.
func shown(kind dispatcher.Kind, payload []byte) map[string]json.RawMessage {
	fields := make(map[string]json.RawMessage)
	for name, value := range kind.Shown(payload) {
		fields[name] = json.RawMessage(strings.ToValidUTF8(value, "\ufffd"))
	}
	return fields
}

// digestKey makes the digests of this process its own. Of a bare hash a mail address or a PIN could be
// tried out by everybody who sees it, in a ticket or a log; what a namespace could have as a key
// its readers know.
var digestKey = sync.OnceValue(func() string { return rand.Text() })

// digest tells the payloads of one output apart without showing them.
func digest(payload []byte) string {
	sum := hmac.New(sha256.New, []byte(digestKey()))
	sum.Write(payload)
	return hex.EncodeToString(sum.Sum(nil)[:6])
}

func (a *app) viewJobs(d *dispatcher.Dispatcher, jobs []inspect.JobInfo) []jobView {
	views := make([]jobView, len(jobs))
	for i, j := range jobs {
		views[i] = a.viewJob(d, j)
	}
	return views
}

func jobID(j jobView) string { return j.ID }

func jobWord(j jobView) string { return idWord(j.id) }

func jobError(j jobView) string { return firstLine(j.Error) }

// jobColumns are the columns of lists of jobs.
var jobColumns = []column[jobView]{
	{"ID", false, jobID},
	{"KIND", false, func(j jobView) string { return j.Kind }},
	{"SEQ", false, func(j jobView) string { return fmt.Sprint(j.Seq) }},
	{"STATE", false, func(j jobView) string { return j.State }},
	{"ATTEMPT", false, func(j jobView) string { return fmt.Sprintf("%d/%d", j.Attempt, j.MaxAttempts) }},
	{"ENQUEUED (UTC)", false, func(j jobView) string { return clock(j.EnqueuedAt) }},
	{"ERROR", false, jobError},
	{"PAYLOAD", true, payloadText},
	{"HOLDER", true, func(j jobView) string { return j.Holder }},
	{"TOKEN", true, func(j jobView) string { return j.Token }},
}

// payloadText is what may be shown of a payload, in a line.
func payloadText(j jobView) string {
	text := count(j.PayloadBytes, "byte")
	if !j.alone { // beside others it tells them apart
		text += ", digest " + j.PayloadHash
	}
	for _, name := range slices.Sorted(maps.Keys(j.Payload)) {
		text += ", " + name + "=" + string(j.Payload[name])
	}
	return text
}

func (a *app) jobCommand() *cobra.Command {
	cmd := group("job", "Look at jobs, cancel or suspend them")
	var of ofSubject
	show := &cobra.Command{
		Use:   "show ID",
		Short: "Show one job, or how it ended as long as that is kept",
		Long: `Shows one job. Of its payload it shows the fields that its kind declares loggable, and
of everything else the size, and a digest by which payloads of one output can be told apart. A job that has ended is shown as long as its outcome is kept.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			refs, err := of.refs(args)
			if err != nil {
				return err
			}
			return a.lookAtJob(cmd.Context(), d, refs[0])
		},
	}
	verb := func(use, short, long, done string, do func(d *dispatcher.Dispatcher) func(context.Context, dispatcher.JobRef) error) *cobra.Command {
		cmd := &cobra.Command{
			Use: use, Short: short, Long: long, Args: cobra.MinimumNArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				refs, err := of.refs(args)
				if err != nil {
					return err
				}
				d, err := a.look(cmd.Context())
				if err != nil {
					return err
				}
				return a.each(refs, done, func(ref dispatcher.JobRef) (string, error) { return "", do(d)(cmd.Context(), ref) })
			},
		}
		a.addWhy(cmd)
		return cmd
	}
	cmd.AddCommand(show,
		a.cancelCommand(&of),
		verb("suspend ID …", "Keep jobs that wait from being run",
			`Keeps jobs that wait from being run until they are resumed. When its turn comes, a
suspended job stops its lane; or it is passed, where its kind declares on_failure: skip.`, "suspended",
			func(d *dispatcher.Dispatcher) func(context.Context, dispatcher.JobRef) error { return d.SuspendJob }),
		verb("resume ID …", "Let suspended jobs run again", "", "resumed",
			func(d *dispatcher.Dispatcher) func(context.Context, dispatcher.JobRef) error { return d.ResumeJob }),
	)
	of.addTo(cmd.Commands()...)
	cmd.AddCommand(a.jobList())
	return cmd
}

// lookAtJob shows a job, and why it stands where it stands; or how it ended.
func (a *app) lookAtJob(ctx context.Context, d *dispatcher.Dispatcher, ref dispatcher.JobRef) error {
	job, err := inspect.New(d).Job(ctx, ref)
	if errors.Is(err, dispatcher.ErrNotFound) {
		if o, e := d.Outcome(ctx, ref); e == nil || errors.Is(e, dispatcher.ErrAmbiguous) {
			return cmp.Or(e, a.showOutcome(o))
		}
	}
	if err = a.partly(err, job.ID != ""); err != nil {
		return err
	}
	why, err := inspect.New(d).WhyOf(ctx, job)
	if errors.Is(err, dispatcher.ErrNotFound) { // it has ended just now
		err = nil
	}
	if err = a.partly(err, true); err != nil {
		return err
	}
	v := a.viewJob(d, job)
	v.Note, v.Code = why.Text, string(why.Code)
	return a.showJob(ctx, v)
}

// cancelCommand tells jobs that are gone from those whose workers were asked.
func (a *app) cancelCommand(of *ofSubject) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cancel ID …",
		Short: "Take jobs away for good, or ask their workers to end them",
		Long: `Takes jobs that wait away for good. One that runs is asked to end: its handler's context
is cancelled, a program gets SIGTERM, and its lane stays held until it has returned. What it
did until then is done; a program that ends with 0 all the same has finished. When one of
several ids is no job's, nothing is done.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			refs, err := of.refs(args)
			if err != nil {
				return err
			}
			d, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.allThere(refs, "cancelled", func(ref dispatcher.JobRef) error { return mustBe(cmd.Context(), d, ref, false) }); err != nil {
				return err
			}
			cancelled, asked := []string{}, []string{}
			var failed, class error
			for _, ref := range refs {
				holder, err := d.Cancel(cmd.Context(), ref)
				switch {
				case err != nil && (len(refs) == 1 || classOf(err) == nil):
					return fmt.Errorf("%w (%d of %d were cancelled, %d asked)", err, len(cancelled), len(args), len(asked))
				case err != nil: // it need not keep the command from the others
					a.refused(err)
					failed, class = cmp.Or(failed, err), cmp.Or(class, classOf(err))
				case holder != "":
					asked = append(asked, idText(ref.ID))
					a.say("%s runs: its worker %s was asked to end it; its lane goes on when it has returned", idWord(ref.ID), holder)
				default:
					cancelled = append(cancelled, idText(ref.ID))
					a.say("%s cancelled", idWord(ref.ID))
				}
			}
			if a.machine() {
				if err := a.show(map[string][]string{"cancelled": cancelled, "asked": asked}, nil); err != nil {
					return err
				}
			}
			if failed != nil {
				return fmt.Errorf("%d of %d were cancelled, %d asked: %w", len(cancelled), len(refs), len(asked), class)
			}
			return nil
		},
	}
	a.addWhy(cmd)
	return cmd
}

// showOutcome shows how a job ended that is gone. Its result is the handler's, and may hold
// what the payload held, so of that only the size is shown.
func (a *app) showOutcome(o dispatcher.JobOutcome) error {
	v := outcomeView{idText(o.ID), o.Subject.String(), string(o.State), o.Attempts, optional(o.At), o.Reason, o.Error, len(o.Result)}
	return a.show(v, [][]string{
		{"id", v.ID}, {"subject", v.Subject}, {"state", v.State}, {"attempts", itoa(v.Attempts)}, {"ended", clock(v.EndedAt)},
		{"reason", v.Reason}, {"error", v.Error}, {"result bytes", itoa(v.ResultBytes)},
	})
}

// outcomeView is an outcome as the CLI shows it.
type outcomeView struct {
	ID          string     `json:"id"`
	Subject     string     `json:"subject"`
	State       string     `json:"state"`
	Attempts    int        `json:"attempts"`
	EndedAt     *time.Time `json:"ended_at,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	Error       string     `json:"error,omitempty"`
	ResultBytes int        `json:"result_bytes"`
}

// showJob shows a job, and all of an error that has several lines below.
func (a *app) showJob(ctx context.Context, v jobView) error {
	if a.machine() {
		return a.show(v, nil)
	}
	if err := a.show(v, jobFields(v, a.now(ctx))); err != nil {
		return err
	}
	if strings.Contains(strings.TrimSpace(v.Error), "\n") {
		a.say("\n%s", v.Error)
	}
	return nil
}

// firstLine is what a line of a table has of an error: a panic has its stack behind it.
func firstLine(text string) string {
	first, rest, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if first = strings.TrimSpace(first); strings.TrimSpace(rest) != "" {
		first += " …"
	}
	return first
}

func jobFields(v jobView, now time.Time) [][]string {
	v.alone = true
	var headers []string
	for _, k := range slices.Sorted(maps.Keys(v.Headers)) {
		headers = append(headers, k+"="+v.Headers[k])
	}
	fields := [][]string{
		{"id", v.ID}, {"subject", v.Subject}, {"kind", v.Kind}, {"state", v.State}, {"note", v.Note},
		{"position", positive(v.Position)}, {"starts", estimated(v.StartsAt)}, {"ends", estimated(v.EndsAt)}, {"seq", fmt.Sprint(v.Seq)}, {"attempt", fmt.Sprintf("%d of %d", v.Attempt, v.MaxAttempts)},
		{"enqueued", clock(v.EnqueuedAt)}, {"run at", runsAt(v.RunAt, now)},
		{"holder", v.Holder}, {"token", v.Token}, {"lease", until("ends", "ended", v.ExpiresAt, now)},
		{"died", clock(v.DiedAt)}, {"reason", v.Reason}, {"error", firstLine(v.Error)},
		{"timeout", v.Timeout}, {"headers", strings.Join(headers, " ")},
		{"why", v.Why}, {"payload", payloadText(v)},
	}
	return fields
}

// estimated shows an estimate, or nothing where there is none.
func estimated(t *time.Time) string {
	if t == nil {
		return ""
	}
	return estimate(t)
}

// group makes a command that only holds others: 'lane', 'job', 'dead', 'worker'.
func group(use, short string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return usage("name one of the commands of '%s'", cmd.CommandPath())
		},
	}
}
