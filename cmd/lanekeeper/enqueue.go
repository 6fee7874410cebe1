package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
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
as the JSON text it is; "payload_base64" takes any bytes.`,
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
			if o.from != "" {
				return o.many(cmd.Context())
			}
			return o.one(cmd.Context(), args)
		},
	}
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
	return cmd
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
	switch within := o.durability.Within; {
	case o.durability.Replicas < 0:
		return nil, usage("--replicas %d must not be negative", o.durability.Replicas)
	case within != 0 && (within < time.Millisecond || within > time.Minute):
		return nil, usage("--replicas-within %s must be 1ms to 1m", within)
	}
	return o.app.openAs(ctx, dispatcher.Config{Durability: o.durability})
}

func (o *enqueueOptions) one(ctx context.Context, args []string) error {
	job, err := o.job(args)
	if err != nil {
		return err
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
		err = fmt.Errorf("%w; it runs all the same, so repeat this only with --id %s", err, done.ID)
	} else if err != nil {
		return err
	}
	if err != nil || !o.wait {
		return errors.Join(o.print(done, job), err)
	}
	return o.waitUntilEnded(ctx, d, done.ID, job.Kind)
}

// waitUntilEnded waits for the outcome of a job and ends as it did.
func (o *enqueueOptions) waitUntilEnded(ctx context.Context, d *dispatcher.Dispatcher, id, kind string) error {
	o.app.note("%s enqueued; waiting until it has ended …", id)
	if stats, err := d.Stats(ctx); err == nil && stats.Kinds[kind].Workers == 0 {
		o.app.note("No worker alive handles the kind %s: start one with 'lanekeeper work'.", kind)
	}
	waiting, cancel := context.WithTimeout(ctx, o.waitFor)
	defer cancel()
	outcome, err := d.WaitFor(waiting, id)
	if errors.Is(err, context.DeadlineExceeded) {
		return exitError{exitNotFinished, fmt.Errorf("%s has not ended within %s; 'lanekeeper job show %s' says where it is", id, o.waitFor, id)}
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
func (o *enqueueOptions) print(done dispatcher.Enqueued, job dispatcher.NewJob) error {
	if o.app.quiet && o.app.output == "table" {
		fmt.Fprintln(o.app.out, done.ID)
		return nil
	}
	if o.app.machine() {
		return o.app.show(enqueued{done.ID, job.Subject.String(), job.Kind, done.Seq, done.Created, done.Merged, done.Replaced}, nil)
	}
	switch {
	case done.Replaced:
		o.app.say("%s has the payload now; it waited with the same unique key", done.ID)
	case done.Merged > 0:
		o.app.say("%s waits already with the same unique key; %d merged into it so far", done.ID, done.Merged)
	case !done.Created:
		o.app.say("%s exists already; nothing changed", done.ID)
	case done.Seq == 0:
		o.app.say("%s scheduled for %s", done.ID, job.Subject)
	default:
		o.app.say("%s enqueued in %s, seq %d", done.ID, job.Subject, done.Seq)
	}
	return nil
}

func (o *enqueueOptions) job(args []string) (dispatcher.NewJob, error) {
	key, err := subject.Parse(args[0])
	if err != nil {
		return dispatcher.NewJob{}, err
	}
	job := dispatcher.NewJob{
		Subject: key, Kind: args[1], ID: o.id, Delay: o.delay,
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
	if o.maxAttempts < 0 {
		return job, usage("--max-attempts %d must be at least 1", o.maxAttempts)
	}
	if o.at != "" {
		if job.RunAt, err = time.Parse(time.RFC3339, o.at); err != nil {
			return job, usage("--at %q must be a time like 2026-12-01T00:00:00Z", o.at)
		}
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
			if job.Payload, err = io.ReadAll(o.app.in); err != nil {
				return job, fmt.Errorf("read the payload: %w", err)
			}
		}
	}
	return job, nil
}
