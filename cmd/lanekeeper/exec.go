package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// The codes of exec itself: exitBusy is EX_TEMPFAIL of sysexits.h, nothing was run, try again;
// the others are those of env and nohup.
const (
	exitBusy     = 75
	exitCannot   = 126
	exitNoSuch   = 127
	exitBySignal = 128
)

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

  LANEKEEPER_SUBJECT  LANEKEEPER_TOKEN  LANEKEEPER_NAMESPACE

and the standard input, output and error of lanekeeper. The address of Redis it does not get, unless
--pass-redis asks for it. INT, TERM, HUP, QUIT, USR1 and USR2 are passed on to it, and to what it
has started, as they come; it may take as long as it needs to end, and has the subject until then. On a terminal the command has the foreground: what keys send
goes to it alone. Only when the lease is lost is it made to end: by SIGTERM, and by SIGKILL after
3/20 of --lease-ttl (4.5s), before the subject can pass to somebody else. When lanekeeper itself
is killed, so is the command. When lanekeeper is stopped (Ctrl-Z), the command is too; nobody
renews the lease then, and at its end the command is killed.

What the command leaves behind in its process group is killed when it ends, with SIGKILL and
without a word: the subject is free then. A daemon that must stay starts a session of its own
(setsid), and works without the subject.

Ends with the command's own exit code (128 and the signal's number, when one killed it); with 75
when the subject could not be had in time and nothing was run; with 126 when the command could
not be run, and with 127 when there is none of that name; with 1 when the lease was lost. A signal
that comes while it still waits for the subject ends it with 128 and the signal's number.

Within a job or a section of the same subject it is refused: it would wait for itself.`,
		Example: `  lanekeeper exec artifact:42 -- ./move.sh --to s3
  lanekeeper exec cron:nightly --no-wait -- ./nightly.sh   # skip when the last one still runs`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 || cmd.ArgsLenAtDash() != 1 {
				return errors.New("exec takes SUBJECT, then --, then the command")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0], args[1:]) },
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault // the command and its arguments
		},
	}
	a.addLogFlags(cmd)
	a.addPassFlag(cmd)
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
	case cmd.Flags().Changed("lease-ttl") && o.ttl <= 0:
		return usage("--lease-ttl %s must be 100ms to 24h", o.ttl)
	}
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return notRun(err)
	}
	if err := o.app.refuseOwn("exec on", key); err != nil {
		return err
	}
	if err := o.app.runLong(); err != nil {
		return err
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
	code, ended := 0, false
	err = d.Do(ctx, key, o.wait, func(ctx context.Context) error {
		told()
		code, err = o.command(ctx, key, program, argv)
		ended = err == nil
		return err
	})
	told()
	switch {
	case ended && err != nil && !errors.Is(err, lease.ErrLost):
		// What the command did counts, and who repeats it because of Redis would do it twice.
		return exitError{code, fmt.Errorf("the command ran and ended with %d; %s could not be given back, and may stay closed for %s: %w",
			code, key, o.ttl, err)}
	case errors.Is(err, dispatcher.ErrBusy):
		if o.wait > 0 {
			err = fmt.Errorf("%w%s", err, who(d, key))
		}
		return exitError{exitBusy, fmt.Errorf("%s could not be had within %s: %w", key, o.wait, err)}
	case !ended && errors.Is(err, lease.ErrLost):
		return fmt.Errorf("the lease of %s was not renewed in time, so the command was ended; somebody else may have the subject by now: %w",
			key, lease.ErrLost)
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
		select {
		case <-stop:
		case <-time.After(time.Second):
			o.app.note("Waiting for %s …", key)
		}
	}()
	var once sync.Once
	return func() { once.Do(func() { close(stop) }); <-said }
}

// who says who holds a subject, or why nobody may, as far as that can be seen in a moment.
func who(d *dispatcher.Dispatcher, key subject.Key) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	lane, err := inspect.New(d).Lane(ctx, key, inspect.Page{Limit: 1})
	switch {
	case err != nil:
		return ""
	case lane.State == inspect.Suspended:
		return ": it is suspended; 'lane show' says why"
	case lane.Holder != "":
		return ": held by " + lane.Holder
	}
	return fmt.Sprintf(": jobs and sections that wait in its lane: %d", lane.Depth)
}

// notRun is the end of exec whose command can't be started.
func notRun(err error) error {
	code := exitCannot
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		code = exitNoSuch
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		code = exitFailed // no fault of the command's
	}
	return exitError{code, err}
}

// command runs the command and returns its exit code. Signals are passed on to it; lanekeeper
// ends it only when the lease is lost.
func (o *execOptions) command(ctx context.Context, key subject.Key, program string, argv []string) (code int, err error) {
	l, _ := dispatcher.LeaseFrom(ctx)
	grace := o.ttl / 5 * 3 / 4 // within the time that the lease still lasts when it is lost
	cmd := exec.Command(program, argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.app.in, o.app.out.Writer, o.app.err
	cmd.WaitDelay = grace
	// A group of its own, so that all of it can be ended.
	cmd.SysProcAttr = dieTogether(&syscall.SysProcAttr{Setpgid: true})
	cmd.Env = append(o.app.holding(key), "LANEKEEPER_TOKEN="+l.Token.String())
	tty := terminalOf(o.app.in)
	if tty != nil {
		defer tty.Close()
		cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Ctty = tty.foreground() == tty.own, int(tty.Fd())
	}
	passed := &passOn{app: o.app, tty: tty}
	back := o.app.signals.take(passed.hear, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	defer back()
	if ctx.Err() != nil { // a signal came first
		return 0, context.Cause(ctx)
	}
	if err := o.app.groups.start(ctx, cmd, grace); err != nil {
		return 0, notRun(err)
	}
	leader := cmd.Process.Pid
	if tty != nil {
		signal.Ignore(syscall.SIGTTOU) // the terminal is the command's, and remarks may be written to it
		defer tty.pass(leader, tty.own)
	}
	passed.to(leader)
	endGroup(ctx, leader, grace, passed.stopped)
	passed.to(0) // its group is gone, and its number may be another's soon
	o.app.groups.forget(leader)
	err = wait(cmd)
	if cause := context.Cause(ctx); errors.Is(cause, lease.ErrLost) {
		return 0, cause
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return exitBySignal + int(status.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	return 0, err
}

// passOn passes signals on to the group of a command. Those that come before it has started wait
// for it.
type passOn struct {
	app *app
	tty *terminal // that both are on

	mu     sync.Mutex
	leader int
	early  []syscall.Signal
}

func (p *passOn) hear(signal syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch stops := slices.Contains(stopping, os.Signal(signal)); {
	case stops && p.leader != 0 && p.tty != nil:
		_ = syscall.Kill(-p.leader, syscall.SIGSTOP) // and then p.stopped is called
	case stops:
		p.app.groups.halt(func() {})
	case p.leader == 0:
		p.early = append(p.early, signal)
	default:
		_ = syscall.Kill(-p.leader, signal)
		if slices.Contains(ending, os.Signal(signal)) {
			_ = syscall.Kill(-p.leader, syscall.SIGCONT) // one that is stopped would not hear it
		}
	}
}

func (p *passOn) to(leader int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader = leader; leader != 0 {
		for _, signal := range p.early {
			_ = syscall.Kill(-leader, signal)
		}
	}
	p.early = nil
}

// stopped is called when the command was stopped. On a terminal this process stops too, so that the shell
// goes on, and gives the terminal to it when it is to go on in the foreground. Elsewhere who has
// stopped it will let it go on.
func (p *passOn) stopped() {
	if p.tty == nil {
		return
	}
	p.mu.Lock()
	leader := p.leader
	p.mu.Unlock()
	stopTogether()
	p.app.groups.halt(func() { p.tty.pass(p.tty.own, leader) })
	p.app.signals.heedStops()
}
