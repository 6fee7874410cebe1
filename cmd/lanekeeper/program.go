package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/lanekeeper/lanekeeper/subject"
	"github.com/lanekeeper/lanekeeper/worker"
)

// exitPermanent is the exit code (EX_DATAERR of sysexits.h) by which a program
// says that no further attempt can succeed.
const exitPermanent = 65

// tailBytes is how much of a program's output is kept as the error.
const tailBytes = 2048

// parseProgram splits a command line as a shell does, without starting one. stays is a word that a
// shell would have expanded.
func parseProgram(line string) (words []string, stays string, err error) {
	words, stays, err = splitWords(line)
	if err == nil {
		_, err = exec.LookPath(words[0])
	}
	if err != nil {
		return nil, "", fmt.Errorf("program %q: %w", line, err)
	}
	return words, stays, nil
}

// programHandler returns a handler that starts argv for every attempt, with the
// payload on its standard input and the attempt's facts in its environment.
//
// The program runs in a process group of its own. When the attempt is cancelled
// the group gets SIGTERM, and SIGKILL when it is still there after grace, which
// is before the lease can pass to another worker. When the worker is stopped or dies,
// the guard ends the group: it must not go on under a lease that nobody renews.
// A worker that dies before the guard has heard of the program, or with the guard, has
// the kernel kill it (dieTogether).
func (a *app) programHandler(argv []string, grace time.Duration) worker.Handler {
	return func(ctx context.Context, payload []byte) error {
		claim, _ := worker.FromContext(ctx)
		output := tail{secrets: &a.redis.secrets}
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdin = bytes.NewReader(payload)
		cmd.Stdout, cmd.Stderr = &output, &output
		cmd.WaitDelay = grace // for what leaves the group and keeps the pipes open
		cmd.SysProcAttr = dieTogether(&syscall.SysProcAttr{Setpgid: true})
		cmd.Env = append(a.holding(claim.Subject),
			"LANEKEEPER_JOB="+inEnvironment(claim.ID),
			"LANEKEEPER_KIND="+claim.Kind,
			"LANEKEEPER_ATTEMPT="+strconv.Itoa(claim.Attempt),
			"LANEKEEPER_TOKEN="+claim.Lease.Token.String(),
			"LANEKEEPER_SEQ="+strconv.FormatInt(claim.Seq, 10),
			"LANEKEEPER_HEADERS="+headersJSON(claim.Headers),
		)
		if err := a.groups.start(ctx, cmd, grace); err != nil {
			return err
		}
		endGroup(ctx, cmd.Process.Pid, grace, func() {})
		a.groups.forget(cmd.Process.Pid)
		err := wait(cmd)
		if errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success() {
			err = nil // something that left the group holds the output open; the program is done
		}
		if err == nil {
			return worker.SetResult(ctx, []byte(output.String()))
		}
		return outcome(ctx, err, output.String())
	}
}

// endGroup waits until the leader of a process group has ended, and tells the group
// to when ctx is done: politely, then for good. Whatever the leader leaves behind in
// the group is killed: the next job of the subject may start. The leader is not
// reaped yet then (WNOWAIT), so its number can't be that of a stranger. stopped is called
// each time that the leader was stopped.
func endGroup(ctx context.Context, leader int, grace time.Duration, stopped func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		stops(leader, stopped)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		_ = syscall.Kill(-leader, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(grace):
		}
	}
	_ = syscall.Kill(-leader, syscall.SIGKILL)
	<-ended
}

// outcome turns the end of a program into what a handler returns.
func outcome(ctx context.Context, err error, output string) error {
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

// inEnvironment is an id as it is, or, with a NUL, which no environment can hold, its text form.
func inEnvironment(id string) string {
	if strings.ContainsRune(id, 0) {
		return subject.IDText(id)
	}
	return id
}

// headersJSON are a job's headers as a JSON object. One that is not UTF-8, which JSON can't
// carry, is left out rather than changed.
func headersJSON(headers map[string]string) string {
	shown := make(map[string]string)
	for k, v := range headers {
		if utf8.ValidString(k) && utf8.ValidString(v) {
			shown[k] = v
		}
	}
	text, _ := json.Marshal(shown) // strings can't fail
	return string(text)
}

// tail keeps the last bytes written to it, without secrets. What may be the beginning of one waits for
// the rest.
type tail struct {
	secrets *secrets

	mu   sync.Mutex
	buf  []byte
	rest string
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := t.secrets.mask(t.rest + string(p))
	whole := max(0, len(text)-max(0, t.secrets.longest()-1))
	t.buf, t.rest = append(t.buf, text[:whole]...), text[whole:]
	if len(t.buf) > 2*tailBytes {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-tailBytes:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := string(t.buf) + t.rest
	return text[max(0, len(text)-tailBytes):]
}
