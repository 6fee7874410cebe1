package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/subject"
)

// enqueueOptions are the flags of enqueue.
type enqueueOptions struct {
	app         *app
	id          string
	delay       time.Duration
	at          string
	maxAttempts int
	timeout     time.Duration
	headers     []string
	from        string
	onError     string
	durability  dispatcher.Durability
	unique      string
	coalesce    bool
	keep        time.Duration
	wait        bool
	waitFor     time.Duration
}

func (a *app) enqueueCommand() *cobra.Command {
	o := &enqueueOptions{app: a}
	cmd := &cobra.Command{
		Use:   "enqueue SUBJECT KIND [PAYLOAD|-]",
		Short: "Put a job at the tail of its subject's lane, or many from a file",
		Long: `Puts a job at the tail of its subject's lane. SUBJECT is kind:id, such as
artifact:42; KIND says which handler runs the job; PAYLOAD is handed to it as it is,
'-' reads it from standard input.

With --from, every line of a file is one job as a JSON object:

  {"subject": "artifact:42", "kind": "expire", "payload": "any text", "id": "e-42",
   "delay": "10m", "run_at": "2026-12-01T00:00:00Z", "max_attempts": 5,
   "timeout": "30s", "headers": {"trace": "…"}, "keep": "1h",
   "unique": {"key": "e-42", "scope": "waiting+running", "on_conflict": "merge"}}

Only subject and kind are required. A payload that is not a JSON string is handed on
as the JSON text it is; "payload_base64" takes any bytes. What JSON can't carry, bytes that
are not UTF-8 and halves of surrogate pairs, is refused with its line and field. A line is
sent within 100 ms. When it is interrupted, the command still sends what it has read, and
says up to which line.

SUBJECT and ID may be written as they are shown: quoted like a Go string where they hold
spaces, line breaks, or bytes that are not UTF-8. Within a job or a section ('work', 'exec'), --wait
for a job of the subject that is held there is refused: it would never end.`,
		Example: `  lanekeeper enqueue artifact:42 expire '{"why":"old"}'
  lanekeeper enqueue build:17 publish --id publish-17 --delay 5m
  generate | lanekeeper enqueue --from -`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case o.from != "" && len(args) > 0:
				return fmt.Errorf("--from takes jobs from the file; %q is one too many", args[0])
			case o.from == "" && (len(args) < 2 || len(args) > 3):
				return fmt.Errorf("enqueue takes SUBJECT, KIND and perhaps PAYLOAD, not %d arguments", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			if o.from != "" {
				return o.many(cmd.Context())
			}
			return o.one(cmd.Context(), args)
		},
	}
	o.addFlags(cmd)
	return cmd
}

func (o *enqueueOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.id, "id", "", "the job's id; enqueueing it again changes nothing while the job exists")
	f.DurationVar(&o.delay, "delay", 0, "take the place in the lane only after so long")
	f.StringVar(&o.at, "at", "", "take the place in the lane only at this time (RFC 3339)")
	f.IntVar(&o.maxAttempts, "max-attempts", 0, "most starts of the job, the first one included (default 25)")
	f.DurationVar(&o.timeout, "timeout", 0, "longest time of one attempt (default: the worker's)")
	f.StringArrayVar(&o.headers, "header", nil, "k=v to travel with the job; may be given again")
	f.StringVar(&o.from, "from", "", "read jobs from a file of JSON lines, or '-' for standard input")
	f.IntVar(&o.durability.Replicas, "replicas", 0, "fail, though the job is stored, unless so many replicas have it")
	f.DurationVar(&o.durability.Within, "replicas-within", 0, "how long to wait for them (default 1s)")
	f.StringVar(&o.unique, "unique", "", "at most one job of this key in the lane: by the rules of the kind, else merge with one that waits")
	f.BoolVar(&o.coalesce, "coalesce", false, "merge with a job that waits with the same payload")
	f.DurationVar(&o.keep, "keep", 0, "how long the job's outcome can be read (default: what its kind declares)")
	f.BoolVar(&o.wait, "wait", false, "wait until the job has ended: 0 when it finished, else 7")
	f.DurationVar(&o.waitFor, "wait-for", time.Hour, "with --wait, how long at most")
	f.StringVar(&o.onError, "on-error", "stop", "with --from, at a bad line: stop or skip")
	_ = cmd.RegisterFlagCompletionFunc("from", fileNames)
	_ = cmd.RegisterFlagCompletionFunc("on-error", cobra.FixedCompletions([]string{"stop", "skip"}, cobra.ShellCompDirectiveNoFileComp))
}

// check refuses what was typed and would count as not typed: a zero is no default.
func (o *enqueueOptions) check(cmd *cobra.Command) error {
	f := cmd.Flags()
	switch {
	case f.Changed("max-attempts") && (o.maxAttempts < 1 || o.maxAttempts > math.MaxInt32):
		return usage("--max-attempts %d must be 1 to %d", o.maxAttempts, math.MaxInt32)
	case f.Changed("timeout") && o.timeout < time.Millisecond:
		return usage("--timeout %s must be at least 1ms; leave it out for the worker's", o.timeout)
	case f.Changed("keep") && o.keep < time.Millisecond:
		return usage("--keep %s must be at least 1ms; leave it out for what the kind declares", o.keep)
	case f.Changed("replicas-within") && (o.durability.Within < time.Millisecond || o.durability.Within > time.Minute):
		return usage("--replicas-within %s must be 1ms to 1m", o.durability.Within)
	case o.durability.Replicas < 0:
		return usage("--replicas %d must not be negative", o.durability.Replicas)
	case o.waitFor <= 0:
		return usage("--wait-for %s must be over 0s", o.waitFor)
	case f.Changed("unique") && o.unique == "":
		return usage("--unique must not be empty; --coalesce goes by the payload")
	}
	return nil
}

// enqueued is what enqueue prints for a job.
type enqueued struct {
	ID      string `json:"id"`
	Subject string `json:"subject"`
	Kind    string `json:"kind"`
	Seq     int64  `json:"seq"`
	Created bool   `json:"created"`

	Merged   int  `json:"merged,omitempty"`
	Replaced bool `json:"replaced,omitempty"`
}

// open opens the namespace with the durability that the flags ask for.
func (o *enqueueOptions) open(ctx context.Context) (*dispatcher.Dispatcher, error) {
	return o.app.openAs(ctx, dispatcher.Config{Durability: o.durability})
}

func (o *enqueueOptions) one(ctx context.Context, args []string) error {
	job, err := o.job(ctx, args)
	if err != nil {
		return err
	}
	if o.wait {
		if err := o.app.refuseOwn("wait for a job of", job.Subject); err != nil {
			return err
		}
		o.app.signals.outlivePipes()
	}
	d, err := o.open(ctx)
	if err != nil {
		return err
	}
	if o.wait && job.Keep == 0 {
		if kind, _ := d.Declared(job.Kind); kind.Keep == 0 {
			job.Keep = time.Hour
		}
	}
	done, err := d.Enqueue(ctx, job)
	if errors.Is(err, dispatcher.ErrNotReplicated) {
		err = fmt.Errorf("%w; it runs all the same, so repeat this only with --id %s", err, idWord(done.ID))
	} else if err != nil {
		return err
	}
	if err != nil || !o.wait {
		return errors.Join(o.print(ctx, d, done, job), err)
	}
	return o.waitUntilEnded(ctx, d, done)
}

// waitUntilEnded waits for the outcome of a job and ends as it did.
func (o *enqueueOptions) waitUntilEnded(ctx context.Context, d *dispatcher.Dispatcher, done dispatcher.EnqueueResult) error {
	id := done.ID
	if done.Created {
		o.app.note("%s enqueued; waiting until it has ended …", idWord(id))
	} else {
		o.app.note("%s; waiting until it has ended …", o.app.existing(ctx, d, done))
	}
	if why, err := inspect.New(d).WhyJob(ctx, done.Ref()); err == nil && why.Stuck {
		o.app.note("%s '%s' %s.", why.Text, o.app.where.command(why.Next[0].Command), why.Next[0].Does)
	}
	waiting, cancel := context.WithTimeout(ctx, o.waitFor)
	defer cancel()
	outcome, err := d.WaitFor(waiting, done.Ref())
	if errors.Is(err, context.DeadlineExceeded) {
		return exitError{exitNotFinished, fmt.Errorf("%s has not ended within %s; 'lanekeeper job show %s' says where it is", idText(id), o.waitFor, idWord(id))}
	}
	if err != nil {
		return err
	}
	if err := o.app.showOutcome(outcome); err != nil {
		return err
	}
	if outcome.State != dispatcher.JobFinished {
		return exitError{exitNotFinished, nil}
	}
	return nil
}

// print says what became of a job.
func (o *enqueueOptions) print(ctx context.Context, d *dispatcher.Dispatcher, done dispatcher.EnqueueResult, job dispatcher.NewJob) error {
	if o.app.quiet && o.app.output == "table" {
		fmt.Fprintln(o.app.out, printable(idWord(done.ID)))
		return nil
	}
	if o.app.machine() {
		return o.app.show(enqueued{idText(done.ID), job.Subject.String(), job.Kind, done.Seq, done.Created, done.Merged, done.Replaced}, nil)
	}
	switch {
	case !done.Created:
		o.app.say("%s", o.app.existing(ctx, d, done))
	case done.Seq == 0:
		o.app.say("%s scheduled for %s", idWord(done.ID), job.Subject.Word())
	default:
		o.app.say("%s enqueued in %s, seq %d", idWord(done.ID), job.Subject.Word(), done.Seq)
	}
	return nil
}

// existing says what there was in place of a job that was not created.
func (a *app) existing(ctx context.Context, d *dispatcher.Dispatcher, done dispatcher.EnqueueResult) string {
	id := idWord(done.ID)
	switch {
	case done.Replaced:
		return id + " has the payload now; it waited with the same unique key"
	case done.Merged > 0:
		return fmt.Sprintf("%s waits already with the same unique key; %d merged into it so far", id, done.Merged)
	}
	if dead, err := d.IsDead(ctx, done.Ref()); err == nil && dead {
		return fmt.Sprintf("%s exists already, as a dead letter; nothing changed: '%s' lets it run again", id, a.where.command("dead replay "+id))
	}
	return id + " exists already; nothing changed"
}

func (o *enqueueOptions) job(ctx context.Context, args []string) (dispatcher.NewJob, error) {
	key, err := subject.Parse(args[0])
	if err != nil {
		return dispatcher.NewJob{}, err
	}
	job := dispatcher.NewJob{
		Subject: key, Kind: args[1], Delay: o.delay,
		MaxAttempts: o.maxAttempts, Timeout: o.timeout, Keep: o.keep,
	}
	switch {
	case o.coalesce && o.unique != "":
		return job, usage("--unique and --coalesce can't both be given")
	case o.coalesce:
		job.Unique = dispatcher.Coalesce
	case o.unique != "":
		job.Unique = &dispatcher.Unique{Key: o.unique}
	}
	if o.id != "" {
		if job.ID, err = subject.ParseID(o.id); err != nil {
			return job, err
		}
	}
	if job.RunAt, err = runAt("--at", o.at); err != nil {
		return job, usageError{err}
	}
	for _, h := range o.headers {
		k, v, found := strings.Cut(h, "=")
		if !found || k == "" {
			return job, usage("--header %q must be of the form key=value", h)
		}
		if job.Headers == nil {
			job.Headers = make(map[string]string)
		}
		job.Headers[k] = v
	}
	if len(args) == 3 {
		job.Payload = []byte(args[2])
		if args[2] == "-" {
			job.Payload, err = readAll(inputOf(ctx, o.app.in), dispatcher.DefaultMaxPayload)
			if errors.Is(err, errTooLong) {
				err = fmt.Errorf("%w: payload has more than %d bytes", dispatcher.ErrTooLarge, dispatcher.DefaultMaxPayload)
			}
			if err != nil {
				return job, fmt.Errorf("read the payload: %w", err)
			}
		}
	}
	return job, nil
}
