package main

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// built has the programs that whole-process tests start: lanekeeper itself, and the
// handler of testdata/handler, which 'work' starts for each job.
var built string

// asFirstProcess makes the test binary run the command of its arguments as one to which orphans
// come, as they do to the first process of a container.
const asFirstProcess = "LANEKEEPER_TEST_AS_FIRST_PROCESS"

// asParent makes the test binary try what becomes of the end of a child of its own, beside no other children.
const asParent = "LANEKEEPER_TEST_AS_PARENT"

func TestMain(m *testing.M) {
	if os.Args[0] == guardName { // of a command that runs in a test's own process
		watchGroups(os.Stdin)
		return
	}
	if os.Getenv(asParent) != "" {
		os.Exit(leavesOwnChildren())
	}
	if os.Getenv(asFirstProcess) != "" {
		err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
		if err == nil {
			err = syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
		}
		panic(err)
	}
	if signal.Ignored(syscall.SIGHUP) { // under nohup; what is started here is to hear it
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	var err error
	if built, err = os.MkdirTemp("", "lanekeeper-bin-"); err != nil {
		panic(err)
	}
	for _, pkg := range []string{".", "./testdata/handler"} {
		if out, err := exec.Command("go", "build", "-o", built+"/", pkg).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build %s: %v\n%s", pkg, err, out)
			os.Exit(1)
		}
	}
	redistest.Main(m, func() { _ = os.RemoveAll(built) })
}

// town is a namespace on a server, and a folder that handlers write to.
type town struct {
	t         *testing.T
	url       string
	namespace string
	dir       string

	lines []line // of the log, as far as it was read
	read  int64
}

func newTown(t *testing.T) *town {
	t.Helper()
	s := redistest.Shared(t)
	return &town{t: t, url: s.URL(), namespace: redistest.Namespace(t, redistest.Client(t)), dir: t.TempDir()}
}

// run runs a command in this process and returns its exit code and outputs.
func (w *town) run(args ...string) (code int, out, errOut string) {
	return w.runWith("", args...)
}

func (w *town) runWith(in string, args ...string) (code int, out, errOut string) {
	var o, e bytes.Buffer
	args = append([]string{"--redis", w.url, "--namespace", w.namespace}, args...)
	code = run(args, strings.NewReader(in), &o, &e)
	return code, o.String(), e.String()
}

// must runs a command that has to succeed and returns its output.
func (w *town) must(args ...string) string {
	w.t.Helper()
	code, out, errOut := w.run(args...)
	if code != 0 {
		w.t.Fatalf("lanekeeper %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// start starts 'lanekeeper work' with the handler of testdata/handler for kind k.
func (w *town) start(args ...string) *process {
	w.t.Helper()
	return w.startWith(append([]string{"work", "--handle", "k=" + built + "/handler"}, args...)...)
}

// startWith starts any command as a process of its own.
func (w *town) startWith(args ...string) *process {
	w.t.Helper()
	p := &process{t: w.t, done: make(chan struct{})}
	p.cmd = exec.Command(built+"/lanekeeper", append([]string{"--redis", w.url, "--namespace", w.namespace}, args...)...)
	p.cmd.Env = append(os.Environ(), "HANDLER_DIR="+w.dir)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = 10 * time.Second // what it leaves behind may hold its output
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	w.t.Cleanup(func() { _ = p.cmd.Process.Kill(); <-p.done })
	return p
}

type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan struct{}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// freeze stops the process, as a debugger would, and returns once it stands
// still: the signal alone lets it run on for a moment.
func (p *process) freeze() {
	p.t.Helper()
	stop(p.t, p.cmd.Process.Pid)
}

// freezeAll stops the process, its guard and a program, as a paused machine would.
func (p *process) freezeAll(program int) {
	p.t.Helper()
	p.freeze()
	if guard := p.guard(); guard != 0 {
		stop(p.t, guard)
	}
	if err := syscall.Kill(-program, syscall.SIGSTOP); err != nil {
		p.t.Fatal(err)
	}
}

// guard is the process that guards the programs of this one, or 0 when there is none.
func (p *process) guard() int {
	stats, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range stats {
		if name, _ := os.ReadFile(path); string(name) != guardName+"\x00" {
			continue
		}
		var pid, parent int
		var state string
		text, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "stat"))
		before, rest, _ := strings.Cut(string(text), " (")
		_, rest, _ = strings.Cut(rest, ") ")
		_, _ = fmt.Sscan(before, &pid)
		if _, err := fmt.Sscan(rest, &state, &parent); err == nil && parent == p.cmd.Process.Pid {
			return pid
		}
	}
	return 0
}

// stop stops a process and waits until it stands still.
func stop(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !stands(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the process does not stop")
		}
	}
}

// stands reports whether a process is stopped, or no more.
func stands(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(text), ") T ")
}

// exit waits for the end and returns the exit code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(time.Minute):
		p.t.Fatalf("the process does not end")
		return -1
	}
}

// line is one line that a handler wrote to the log.
type line struct {
	what, subject, job  string
	seq, attempt, token int64
	at                  time.Time
	pid                 int
}

// log returns what handlers have written so far. It reads on where it was: tests ask
// for it many times a second.
func (w *town) log() []line {
	f, err := os.Open(filepath.Join(w.dir, "log"))
	if os.IsNotExist(err) {
		return nil
	} else if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	fresh, err := io.ReadAll(io.NewSectionReader(f, w.read, 1<<40))
	if err != nil {
		w.t.Fatal(err)
	}
	fresh = fresh[:bytes.LastIndexByte(fresh, '\n')+1] // the last line may not be whole yet
	w.read += int64(len(fresh))
	for _, l := range strings.Split(string(fresh), "\n") {
		var x line
		var ns int64
		if n, _ := fmt.Sscan(l, &x.what, &x.subject, &x.job, &x.seq, &x.attempt, &x.token, &ns, &x.pid); n == 8 {
			x.at = time.Unix(0, ns)
			x.subject, _ = url.QueryUnescape(x.subject)
			w.lines = append(w.lines, x)
		}
	}
	return w.lines
}

// until waits until ok, polling files and Redis, which send no events.
func (w *town) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited a minute until %s; the log is %v", what, w.log())
		}
	}
}

// logged counts lines of the log.
func (w *town) logged(what string) int {
	n := 0
	for _, l := range w.log() {
		if l.what == what {
			n++
		}
	}
	return n
}
