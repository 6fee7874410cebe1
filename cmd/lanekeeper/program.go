package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mattn/go-shellwords"

	"github.com/lanekeeper/lanekeeper/worker"
)

// exitPermanent is the exit code (EX_DATAERR of sysexits.h) by which a program
// says that no further attempt can succeed.
const exitPermanent = 65

// tailBytes is how much of a program's output is kept as the error.
const tailBytes = 2048

// parseProgram splits a command line like a shell would, without starting one:
// nothing is expanded.
func parseProgram(line string) ([]string, error) {
	p := shellwords.NewParser()
	words, err := p.Parse(line)
	if err != nil || len(words) == 0 || p.Position >= 0 {
		return nil, fmt.Errorf("program %q must be a command with its arguments; "+
			"no shell is started, so no ; | & < > ( ) outside of quotes", line)
	}
	if _, err := exec.LookPath(words[0]); err != nil {
		return nil, fmt.Errorf("program %q: %w", words[0], err)
	}
	return words, nil
}

// programHandler returns a handler that starts argv for every attempt, with the
// payload on its standard input and the attempt's facts in its environment.
//
// The program runs in a process group of its own. When the attempt is cancelled
// the group gets SIGTERM, and SIGKILL when it is still there after grace, which
// is before the lease can pass to another worker. When the worker itself dies,
// the kernel kills the program (prctl PR_SET_PDEATHSIG): it must not go on under
// a lease that nobody renews. The kernel ties that to the thread that started it;
// Go ends no thread here, since no goroutine of ours exits while locked to one.
func programHandler(argv []string, grace time.Duration) worker.Handler {
	return func(ctx context.Context, payload []byte) error {
		claim, _ := worker.FromContext(ctx)
		var output tail
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdin = bytes.NewReader(payload)
		cmd.Stdout, cmd.Stderr = &output, &output
		cmd.WaitDelay = grace // for a grandchild that keeps the pipes open
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		cmd.Env = append(os.Environ(),
			"LANEKEEPER_JOB="+claim.ID,
			"LANEKEEPER_SUBJECT="+claim.Subject.String(),
			"LANEKEEPER_KIND="+claim.Kind,
			"LANEKEEPER_ATTEMPT="+strconv.Itoa(claim.Attempt),
			"LANEKEEPER_TOKEN="+claim.Lease.Token.String(),
			"LANEKEEPER_SEQ="+strconv.FormatInt(claim.Seq, 10),
		)
		if err := cmd.Start(); err != nil {
			return err
		}
		ended := make(chan struct{})
		var killers sync.WaitGroup
		killers.Go(func() { killGroup(ctx, cmd.Process.Pid, grace, ended) })
		err := cmd.Wait()
		close(ended)
		killers.Wait()
		return outcome(ctx, err, output.String())
	}
}

// killGroup ends a process group once ctx is done: politely, then for good.
func killGroup(ctx context.Context, group int, grace time.Duration, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	_ = syscall.Kill(-group, syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(grace):
	}
	_ = syscall.Kill(-group, syscall.SIGKILL) // also what the program left behind
}

// outcome turns the end of a program into what a handler returns.
func outcome(ctx context.Context, err error, output string) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%w: %w", cause, err)
	}
	if output = strings.TrimSpace(output); output != "" {
		err = fmt.Errorf("%w: %s", err, output)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitPermanent {
		return worker.Permanent(err)
	}
	return err
}

// tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if len(t.buf) > 2*tailBytes {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-tailBytes:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf[max(0, len(t.buf)-tailBytes):])
}
