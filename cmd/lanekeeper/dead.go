package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
)

// deadColumns are the columns of lists of dead letters.
var deadColumns = []column[jobView]{
	{"ID", false, jobID},
	{"SUBJECT", false, func(j jobView) string { return j.Subject }},
	{"KIND", false, func(j jobView) string { return j.Kind }},
	{"DIED (UTC)", false, func(j jobView) string { return clock(j.DiedAt) }},
	{"ATTEMPTS", false, func(j jobView) string { return fmt.Sprintf("%d/%d", j.Attempt, j.MaxAttempts) }},
	{"REASON", false, func(j jobView) string { return j.Reason }},
	{"ERROR", false, jobError},
	{"PAYLOAD", true, payloadText},
}

func (a *app) deadCommand() *cobra.Command {
	cmd := group("dead", "Look at dead letters, put them back, or delete them")
	var of ofSubject
	show, replay, discard := a.deadShow(&of), a.deadReplay(&of), a.deadDiscard(&of)
	of.addTo(show, replay, discard)
	a.addWhy(replay, discard)
	cmd.AddCommand(a.deadList(), show, replay, discard)
	return cmd
}

func (a *app) deadList() *cobra.Command {
	var page inspect.Page
	var pick deadPick
	var of ofSubject
	ls := &cobra.Command{
		Use:   "ls",
		Short: "List dead letters, the latest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkPage(page); err != nil {
				return err
			}
			d, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			filter, err := pick.filter(cmd.Context(), a, of.text)
			if err != nil {
				return err
			}
			letters, next, err := a.deadPage(cmd.Context(), inspect.New(d), filter, page)
			if err != nil {
				return err
			}
			if err := list(a, a.viewJobs(d, letters), jobWord, deadColumns); err != nil {
				return err
			}
			if len(letters) == 0 && next == "" {
				a.noLetters(cmd.Context(), d, filter)
			}
			a.more(next)
			return nil
		},
	}
	addPageFlags(ls, &page)
	pick.addTo(ls)
	ls.Flags().StringVar(&of.text, "subject", "", "only letters of this subject")
	return ls
}

// deadPage reads a page. One with a filter may be short: it looks on for a moment before it gives up.
func (a *app) deadPage(ctx context.Context, look *inspect.Inspector, f dispatcher.DeadFilter, page inspect.Page) (letters []inspect.JobInfo, next string, err error) {
	limit := page.Limit
	for deadline := time.Now().Add(time.Second); ; {
		more, next, err := look.DeadLetters(ctx, f, page)
		if err = a.partly(err, true); err != nil {
			return nil, "", err
		}
		letters = append(letters, more...)
		page.Cursor, page.Limit = next, limit-len(letters)
		if next == "" || page.Limit <= 0 || f == (dispatcher.DeadFilter{}) || time.Now().After(deadline) {
			return letters, next, nil
		}
	}
}

func (a *app) deadShow(of *ofSubject) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show one dead letter with its whole error",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			refs, err := of.refs(args)
			if err != nil {
				return err
			}
			job, err := inspect.New(d).Job(cmd.Context(), refs[0])
			if err = a.partly(err, job.ID != ""); err == nil && job.State != inspect.Dead {
				err = fmt.Errorf("%w: job %s is not a dead letter but %s", dispatcher.ErrNotFound, refs[0], job.State)
			}
			if err != nil {
				return err
			}
			v := a.viewJob(d, job)
			if a.machine() {
				return a.show(v, nil)
			}
			v.Error = ""
			if err := a.show(v, jobFields(v, a.now(cmd.Context()))); err != nil {
				return err
			}
			a.say("\n%s", job.Error)
			return nil
		},
	}
}

func (a *app) deadReplay(of *ofSubject) *cobra.Command {
	var front, merge bool
	var o deadBulk
	replay := &cobra.Command{
		Use:   "replay ID … | --kind KIND … | --all",
		Short: "Put dead letters back into their lanes, with all their attempts before them",
		Long: `Puts dead letters back into their lanes, with all their attempts before them: those
of one subject in the order in which they were enqueued, however they are given. One whose unique
key another job has by now stays where it is; with --merge it is merged into that job, and goes.

` + bulkHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if picks, err := o.check(cmd, args, of.text); err != nil || picks {
				if err != nil {
					return err
				}
				return a.bulk(cmd, &o, of.text, "replayed", func(s *dispatcher.DeadSet, progress func(int)) (dispatcher.DeadReport, error) {
					return s.Replay(cmd.Context(), dispatcher.DeadReplay{Front: front, Merge: merge, Progress: progress})
				})
			}
			d, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			refs, err := of.refs(args)
			if err != nil {
				return err
			}
			if err := inOrder(cmd.Context(), d, refs, front); err != nil {
				return err
			}
			return a.each(refs, "replayed", func(ref dispatcher.JobRef) (string, error) {
				if !merge {
					_, err := d.Replay(cmd.Context(), ref, front)
					return "", err
				}
				done, err := d.ReplayOrMerge(cmd.Context(), ref, front)
				if err == nil && !done.Created {
					return "merged into " + idWord(done.ID), nil
				}
				return "", err
			})
		},
	}
	o.addTo(replay)
	replay.Flags().BoolVar(&front, "front", false, "to the front of the lane instead of its tail")
	replay.Flags().BoolVar(&merge, "merge", false, "merge one whose unique key is taken into the job that has it")
	return replay
}

func (a *app) deadDiscard(of *ofSubject) *cobra.Command {
	var o deadBulk
	discard := &cobra.Command{
		Use:   "discard ID … | --kind KIND … | --all",
		Short: "Delete dead letters for good",
		Long:  "Deletes dead letters for good. When one of several ids is no dead letter's, nothing is done.\n\n" + bulkHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if picks, err := o.check(cmd, args, of.text); err != nil || picks {
				if err != nil {
					return err
				}
				return a.bulk(cmd, &o, of.text, "discarded", func(s *dispatcher.DeadSet, progress func(int)) (dispatcher.DeadReport, error) {
					return s.Discard(cmd.Context(), progress)
				})
			}
			d, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			refs, err := of.refs(args)
			if err != nil {
				return err
			}
			if err := a.allThere(refs, "discarded", func(ref dispatcher.JobRef) error { return mustBe(cmd.Context(), d, ref, true) }); err != nil {
				return err
			}
			return a.each(refs, "discarded", func(ref dispatcher.JobRef) (string, error) { return "", d.Discard(cmd.Context(), ref) })
		},
	}
	o.addTo(discard)
	return discard
}

const bulkHelp = `Without ids it takes all that the flags pick: it counts them first, asks on a terminal, and needs
--yes without one. It goes from the oldest on, and takes at most a twentieth of Redis's time. When
it ends early, the same command goes on with the rest. 'dead ls' with the same flags shows them.`

// inOrder sorts dead letters by their places in their lanes, the last one first
// when each is to go to the front. What is not there stays where it is, for each to say so.
func inOrder(ctx context.Context, d *dispatcher.Dispatcher, refs []dispatcher.JobRef, front bool) error {
	seq := make(map[dispatcher.JobRef]int64)
	for _, ref := range refs {
		job, err := inspect.New(d).Job(ctx, ref)
		if err != nil && !errors.Is(err, dispatcher.ErrNotFound) && !errors.Is(err, dispatcher.ErrAmbiguous) {
			return err
		}
		seq[ref] = job.Seq
	}
	slices.SortStableFunc(refs, func(x, y dispatcher.JobRef) int {
		if front {
			x, y = y, x
		}
		return cmp.Compare(seq[x], seq[y])
	})
	return nil
}

// mustBe returns an error unless a ref is that of one job, which is a dead letter or is none.
func mustBe(ctx context.Context, d *dispatcher.Dispatcher, ref dispatcher.JobRef, dead bool) error {
	if _, _, err := d.Find(ctx, ref); err != nil {
		return err
	}
	switch is, err := d.IsDead(ctx, ref); {
	case err != nil || is == dead:
		return err
	case dead:
		return fmt.Errorf("%w: job %s is not a dead letter", dispatcher.ErrNotFound, ref)
	}
	return fmt.Errorf("%w: job %s is a dead letter, which 'dead discard' deletes", dispatcher.ErrNotFound, ref)
}

// allThere looks at all jobs before anything is done to the first of several, where that can't be undone: with a
// word among the ids that is none, the others may not be meant either.
func (a *app) allThere(refs []dispatcher.JobRef, what string, look func(dispatcher.JobRef) error) error {
	if len(refs) == 1 {
		return nil // its verb looks itself
	}
	absent := 0
	var class error
	for _, ref := range refs {
		err := look(ref)
		switch {
		case err == nil:
		case classOf(err) == nil:
			return nil // Redis is not well; the verb says so of the first
		default:
			absent++
			class = cmp.Or(class, classOf(err))
			a.refused(err)
		}
	}
	if class == nil {
		return nil
	}
	return fmt.Errorf("%d of %d can't be %s, so none was; leave those out: %w", absent, len(refs), what, class)
}

// each does something to every job, in the order given. One that fails does not keep the
// others from it; the first failure decides the exit code.
func (a *app) each(refs []dispatcher.JobRef, what string, do func(dispatcher.JobRef) (instead string, err error)) error {
	done := []string{}
	var failed, class error
	for _, ref := range refs {
		id := ref.ID
		instead, err := do(ref)
		switch {
		case err == nil:
			done = append(done, idText(id))
			a.say("%s %s", idWord(id), cmp.Or(instead, what))
			continue
		case classOf(err) == nil: // it would not go better with the others
			if len(refs) == 1 {
				return err
			}
			return fmt.Errorf("%s after %d of %d: %w", idText(id), len(done), len(refs), err)
		}
		if len(refs) > 1 {
			a.refused(err)
		}
		if failed == nil {
			failed, class = err, classOf(err)
		}
	}
	if a.machine() {
		if err := a.show(map[string][]string{what: done}, nil); err != nil {
			return err
		}
	}
	if failed != nil && len(refs) > 1 {
		failed = fmt.Errorf("%d of %d %s: %w", len(done), len(refs), what, class)
	}
	return failed
}

// refused says of one of several jobs why nothing was done to it.
func (a *app) refused(err error) { fmt.Fprintln(a.err, a.where.aim(a.text("%s", err))) }

// classOf is what kept a command from one of several jobs, of that which need not keep it from the
// others; else nil.
func classOf(err error) error {
	for _, class := range []error{dispatcher.ErrNotFound, dispatcher.ErrTaken, dispatcher.ErrAmbiguous, dispatcher.ErrRunning} {
		if errors.Is(err, class) {
			return class
		}
	}
	return nil
}
