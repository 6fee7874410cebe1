package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// exitBusy is EX_TEMPFAIL of sysexits.h: nothing was run, try again.
const exitBusy = 75

// execOptions are the flags of exec.
type execOptions struct {
	app    *app
	wait   time.Duration
	noWait bool
	ttl    time.Duration
}

func (a *app) execCommand() *cobra.Command {
	o := &execOptions{app: a}
	cmd := &cobra.Command{
		Use:   "exec SUBJECT [--wait 30s | --no-wait] -- COMMAND …",
		Short: "Run a command while holding a subject, in turn with its jobs",
		Long: `Takes a ticket in the subject's lane, waits for its turn, and runs the command while it
holds the subject's lease: no job of the subject runs meanwhile. The command gets

  LANEKEEPER_SUBJECT  LANEKEEPER_TOKEN

and standard input, output and error of its own. When the lease is lost it gets SIGTERM, and
SIGKILL before the subject can pass to somebody else. When lanekeeper itself is killed, so is
the command (on Linux).

Ends with the command's own exit code (128 and the signal's number, when one killed it); with 75
when the subject could not be had in time and nothing was run; with 1 when the lease was lost.`,
		Example: `  lanekeeper exec artifact:42 -- ./move.sh --to s3
  lanekeeper exec cron:nightly --no-wait -- ./nightly.sh   # skip when the last one still runs`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 || cmd.ArgsLenAtDash() != 1 {
				return errors.New("exec takes SUBJECT, then --, then the command")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0], args[1:]) },
	}
	f := cmd.Flags()
	f.DurationVar(&o.wait, "wait", 30*time.Second, "how long to wait for the subject at most")
	f.BoolVar(&o.noWait, "no-wait", false, "end with 75 at once when the subject is held or jobs wait")
	f.DurationVar(&o.ttl, "lease-ttl", 30*time.Second, "how long the subject stays closed after lanekeeper died")
	return cmd
}

func (o *execOptions) run(cmd *cobra.Command, text string, argv []string) error {
	key, err := subject.Parse(text)
	switch {
	case err != nil:
		return err
	case o.noWait && cmd.Flags().Changed("wait"):
		return usage("--wait and --no-wait can't both be given")
	case o.wait <= 0 && !o.noWait:
		return usage("--wait %s must be over 0s; --no-wait does not wait at all", o.wait)
	}
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return usage("%w", err)
	}
	if o.noWait {
		o.wait = 0
	}
	ctx := cmd.Context()
	d, err := o.app.openAs(ctx, dispatcher.Config{SectionTTL: o.ttl})
	if err != nil {
		return err
	}
	told := o.tellOfWait(key)
	defer told()
	code := 0
	err = d.Do(ctx, key, o.wait, func(ctx context.Context) error {
		told()
		code, err = o.command(ctx, key, program, argv)
		return err
	})
	told()
	switch {
	case errors.Is(err, dispatcher.ErrBusy):
		return exitError{exitBusy, fmt.Errorf("%s could not be had within %s: %w", key, o.wait, err)}
	case err != nil:
		return err
	case code != 0:
		return exitError{code, nil}
	}
	return nil
}

// tellOfWait says that the command waits when it does for more than a second. It says nothing
// any more once the function that it returns has returned.
func (o *execOptions) tellOfWait(key subject.Key) (enough func()) {
	stop, said := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(said)
		timer := time.NewTimer(time.Second)
		defer timer.Stop()
		select {
		case <-stop:
		case <-timer.C:
			o.app.note("Waiting for %s …", key)
		}
	}()
	var once sync.Once
	return func() { once.Do(func() { close(stop) }); <-said }
}

// command runs the command and returns its exit code. It is ended when ctx is.
func (o *execOptions) command(ctx context.Context, key subject.Key, program string, argv []string) (code int, err error) {
	l, _ := dispatcher.LeaseFrom(ctx)
	grace := o.ttl / 5 * 3 / 4 // within the time that the lease still lasts then
	cmd := exec.Command(program, argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.app.in, o.app.out, o.app.err
	// A group of its own, so that all of it can be ended; but a terminal's keys go to one group only.
	own := !isTerminal(o.app.in)
	cmd.WaitDelay = grace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: own, Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), "LANEKEEPER_SUBJECT="+key.String(), "LANEKEEPER_TOKEN="+l.Token.String())
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	if own {
		endGroup(ctx, cmd.Process.Pid, grace)
	} else {
		stop := context.AfterFunc(ctx, func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			time.AfterFunc(grace, func() { _ = cmd.Process.Kill() })
		})
		defer stop()
	}
	err = cmd.Wait()
	if cause := context.Cause(ctx); errors.Is(cause, lease.ErrLost) {
		return 0, cause
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	return 0, err
}
