package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher/move"
)

func (a *app) exportCommand() *cobra.Command {
	var running bool
	var to string
	export := &cobra.Command{
		Use:   "export",
		Short: "Write all of a namespace as JSON lines: for a backup, another Redis, another number of partitions",
		Long: `Writes all of a namespace as JSON lines, to standard output or to a file that does not
exist yet: jobs in the order of their lanes with their attempts, the schedule, dead
letters, unique keys, outcomes, declared kinds and limits. Its payloads are there in
full. 'lanekeeper import' makes a namespace of it. What operators did ('lanekeeper log'),
what ran ('lane history') and how long it took ('kind show') are not there.

Stop workers first, and what enqueues: it refuses while workers live, and what is
enqueued meanwhile may be missing. With --while-running jobs that move meanwhile may be
missing or stand twice, and running attempts are not counted: a picture, and no backup.

An export ends with a line that has its counts and its digest. 'lanekeeper import
--check FILE' looks whether it is whole.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			if _, err := move.Look(cmd.Context(), a.rdb, a.namespace); err != nil {
				return err // an export of nothing would look like a backup
			}
			bar := a.progress("jobs exported:", 0)
			var totals move.Totals
			err = a.writeTo(to, func(w io.Writer) (err error) {
				totals, err = move.Export(cmd.Context(), d, w, move.ExportOptions{WhileRunning: running, Progress: func(done, all int) {
					bar.total = all
					bar.at(done)
				}})
				return err
			})
			bar.done()
			if err != nil {
				return err
			}
			a.note("Exported namespace %s: %s.", a.namespace, has(totals))
			a.note("Not in it: what operators did ('lanekeeper log') and what ran ('lane history', 'kind show'); that stays in this namespace alone.")
			if totals.LeftOut > 0 {
				a.note("Callers that wait in lanes for a section are no jobs, and left out: %d.", totals.LeftOut)
			}
			return nil
		},
	}
	export.Flags().StringVarP(&to, "to", "f", "-", "file to write, or - for standard output")
	export.Flags().BoolVar(&running, "while-running", false, "though workers live: see above what may be missing")
	_ = export.RegisterFlagCompletionFunc("to", fileNames)
	return export
}

// writeTo writes to standard output, or to a file that must not be there: an export that fails should not have taken the
// last good one with it. Only its owner may read it, because payloads are in it.
func (a *app) writeTo(path string, write func(io.Writer) error) error {
	if path == "-" {
		buffered := bufio.NewWriterSize(a.out, 1<<16)
		return errors.Join(write(buffered), buffered.Flush())
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return usage("--to %s exists; name another file", path)
	}
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(file, 1<<16)
	err = errors.Join(write(buffered), buffered.Flush(), file.Sync(), file.Close())
	if err != nil {
		_ = os.Remove(path) // a part of an export is of no use
	}
	return err
}

// has says what an export has.
func has(t move.Totals) string {
	return fmt.Sprintf("%s in lanes, %d scheduled, %s, %s, %s", count(t.Jobs, "job"), t.Scheduled, count(t.Dead, "dead letter"), count(t.Outcomes, "outcome"), count(t.Kinds, "kind"))
}

func (a *app) importCommand() *cobra.Command {
	var check bool
	cfg := move.ImportConfig{}
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Make a namespace of what 'lanekeeper export' wrote, or check that with --check",
		Long: `Makes a namespace of what 'lanekeeper export' wrote (- is standard input), under the name
that --namespace says, with as many partitions as --partitions says or as a new one
gets. Each lane has its jobs in their order, with what came of them so far; fencing
tokens and numbers go on rising.

It never adds to a namespace that is there. The new one stays closed to everybody until
all is there and agrees with the counts and the digest of the last line. When it was
interrupted, give the same command with the same file again: it goes on where it
stopped, and nothing comes twice. 'lanekeeper namespace rm' gives it up.

A file is read to its end first, and one that is not whole changes nothing. What comes from
a pipe is read once: there the damage is found on the way, and the namespace stays closed. With
--check the file is only read, and no Redis is needed.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: fileNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "-" {
				return a.bring(cmd.Context(), inputOf(cmd.Context(), a.in), check, cfg)
			}
			// What is damaged should not close a namespace. A pipe can be read but once.
			if info, err := os.Stat(args[0]); err == nil && info.Mode().IsRegular() && !check {
				bar := a.progress("lines checked:", 0)
				_, _, err := move.Check(inputFrom(cmd.Context(), args[0]), bar.at)
				bar.done()
				if err != nil {
					return err
				}
			}
			from := inputFrom(cmd.Context(), args[0])
			return a.bring(cmd.Context(), from, check, cfg)
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "only look whether the file is whole")
	cmd.Flags().IntVar(&cfg.Partitions, "partitions", 0, "how finely the namespace is cut (default: as a new one on that server)")
	return cmd
}

func (a *app) bring(ctx context.Context, from io.Reader, check bool, cfg move.ImportConfig) error {
	bar := a.progress("lines read:", 0)
	defer bar.done()
	var header move.Header
	var totals move.Totals
	var err error
	verb := "The file is whole: an export of"
	if check {
		header, totals, err = move.Check(from, bar.at)
	} else {
		if cfg.Redis, err = a.connect(); err != nil {
			return err
		}
		verb = "Imported into namespace " + a.namespace + ":"
		cfg.Namespace, cfg.Progress = a.namespace, bar.at
		header, totals, err = move.Import(ctx, cfg, from)
	}
	bar.done()
	if err != nil {
		return err
	}
	if a.machine() {
		return a.show(struct {
			move.Header
			Has move.Totals `json:"has"`
		}{header, totals}, nil)
	}
	a.say("%s namespace %s of %s: %s.", verb, header.Namespace, header.At.UTC().Format("2006-01-02 15:04:05"), has(totals))
	if header.Running {
		a.note("It was exported while workers ran: jobs that moved then may be missing.")
	}
	return nil
}
