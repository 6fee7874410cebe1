package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// command is a command line of this town as a process that was not started yet.
func (w *town) command(args ...string) *exec.Cmd {
	cmd := exec.Command(built+"/lanekeeper", append([]string{"--redis", w.url, "--namespace", w.namespace}, args...)...)
	cmd.Env = append(os.Environ(), "HANDLER_DIR="+w.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// piped starts a command whose output the caller reads, and whose end it waits for.
func (w *town) piped(cmd *exec.Cmd) (*process, io.Reader) {
	w.t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	return &process{t: w.t, cmd: cmd, done: make(chan struct{})}, out
}

// run starts a command as a process.
func (w *town) process(cmd *exec.Cmd) *process {
	w.t.Helper()
	p := &process{t: w.t, cmd: cmd, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.out
	}
	cmd.WaitDelay = 10 * time.Second // what it leaves behind may hold its output
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(p.done) }()
	w.t.Cleanup(func() { _ = cmd.Process.Kill(); <-p.done })
	return p
}

// brokenPipe is the end of a pipe that nobody reads.
func brokenPipe(t *testing.T) *os.File {
	t.Helper()
	r, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	t.Cleanup(func() { _ = end.Close() })
	return end
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// A log that nobody reads ends neither a worker nor a section.
func TestD9_BrokenLog(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	cmd := w.command("work", "--handle", "k=true", "--handle", "bad=false")
	cmd.Stdout, cmd.Stderr = brokenPipe(t), brokenPipe(t)
	p := w.process(cmd)
	w.must("enqueue", "s:a", "bad", "--max-attempts", "1") // a line of the log
	w.until("it is logged", func() bool { return p.ended() || w.must("dead", "ls", "-q") != "" })
	w.must("enqueue", "s:b", "k", "--id", "after", "--keep", "1h")
	w.until("the next job has run", func() bool {
		return p.ended() || strings.Contains(w.must("stats"), "jobs in lanes   0")
	})
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("the worker ends with %d, %v", code, p.cmd.ProcessState)
	}

	gate := filepath.Join(w.dir, "gate")
	first := w.startWith("exec", "s:c", "--", "sh", "-c", "echo >"+w.dir+"/holds; while ! test -e "+gate+"; do sleep 0.01; done")
	w.until("the first holds it", func() bool { _, err := os.Stat(w.dir + "/holds"); return err == nil })
	cmd = w.command("exec", "s:c", "--", "sh", "-c", "echo >"+w.dir+"/second")
	cmd.Stderr = brokenPipe(t)
	// It says after a second that it waits. What shows that it did is only that it goes on.
	begin, second := time.Now(), w.process(cmd)
	w.until("the second has waited", func() bool { return second.ended() || time.Since(begin) > 1500*time.Millisecond })
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if a, b := first.exit(), second.exit(); a != 0 || b != 0 {
		t.Errorf("exit codes %d and %d, %v", a, b, second.cmd.ProcessState)
	}

	// A list dies as quietly as ever, and so does what a worker starts.
	list := w.command("dead", "ls")
	list.Stdout = brokenPipe(t)
	if p := w.process(list); p.exit() != -1 || p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGPIPE || p.out.Len() > 0 {
		t.Errorf("a list: %v\n%s", p.cmd.ProcessState, p.out.String())
	}
	w.must("exec", "s:d", "--", "sh", "-c", `(yes; echo $? >`+w.dir+`/yes) | head -1`)
	if text, _ := os.ReadFile(w.dir + "/yes"); string(text) != "141\n" {
		t.Errorf("'yes | head' in a section ends with %q", text)
	}
}

// A stop that comes before the start is done is no failure: nothing was begun.
func TestD9_StopBeforeTheStart(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	for i := range 200 {
		if code, out, errOut := w.run("work", "--handle", "k=true", "--until-empty"); code != 0 {
			t.Fatalf("run %d: exit %d\n%s%s", i, code, out, errOut)
		}
	}
	// A server that never answers: the start is not done when the signal comes.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.url = "redis://" + l.Addr().String()
	p := w.process(w.command("work", "--handle", "k=true"))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			_ = conn.Close()
		}
	}()
	_ = conn.Close()
	if code := p.exit(); code != 0 {
		t.Errorf("exit %d, %v\n%s", code, p.cmd.ProcessState, p.out.String())
	}
}

// A hang-up is a stop: what runs is finished.
func TestD9_HangUp(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k", `{"release":"go"}`, "--id", "j", "--max-attempts", "1")
	p := w.start()
	w.until("it runs", func() bool { return w.logged("start") == 1 })
	p.signal(syscall.SIGHUP)
	if err := os.WriteFile(filepath.Join(w.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := p.exit(); code != 0 || !strings.Contains(p.out.String(), "1 finished") {
		t.Errorf("exit %d, %v\n%s", code, p.cmd.ProcessState, p.out.String())
	}
}

// What reads standard input ends when it is told to, with the signal's code, and says how far it
// came; a line is sent soon after it came, and not when a batch is full.
func TestD9_StandardInput(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	for _, c := range []struct {
		signal syscall.Signal
		code   int
	}{{syscall.SIGINT, 130}, {syscall.SIGTERM, 143}, {syscall.SIGHUP, 129}} {
		lane := fmt.Sprintf("s:%d", c.code)
		for _, args := range [][]string{{"enqueue", "--from", "-"}, {"enqueue", lane, "k", "-"}} {
			cmd := w.command(args...)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			p := w.process(cmd)
			if args[1] == "--from" {
				fmt.Fprintf(in, `{"subject":"%s","kind":"k","id":"%d"}`+"\n"+`{"subject":"half`, lane, c.code)
				w.until("the line is sent", func() bool { code, _, _ := w.run("job", "show", fmt.Sprint(c.code)); return code == 0 })
			} else {
				fmt.Fprint(in, strings.Repeat("x", 1<<17)) // more than a pipe holds: when it is through, it is read
			}
			p.signal(c.signal)
			if code := p.exit(); code != c.code {
				t.Errorf("%v after %s: exit %d, %v, want %d\n%s", args, unix.SignalName(c.signal), code, p.cmd.ProcessState, c.code, p.out.String())
			}
			if args[1] == "--from" && (!strings.Contains(p.out.String(), "1 job enqueued") || !strings.Contains(p.out.String(), "after line 1: interrupted")) {
				t.Errorf("it says\n%s", p.out.String())
			}
			_ = in.Close()
		}
	}
	if stats := w.must("stats"); !strings.Contains(stats, "jobs in lanes   3") {
		t.Errorf("half a line, or half a payload, was enqueued:\n%s", stats)
	}
	// A file that nobody writes to is the same.
	fifo := filepath.Join(w.dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for code, args := range map[int][]string{
		143: {"enqueue", "--from", fifo}, 0: {"work", "--handle", "k=true", "--config", fifo},
	} {
		p := w.process(w.command(args...))
		end, err := os.OpenFile(fifo, os.O_WRONLY, 0) // waits until it is opened
		if err != nil {
			t.Fatal(err)
		}
		defer end.Close()
		p.signal(syscall.SIGTERM)
		if got := p.exit(); got != code {
			t.Errorf("%v: exit %d, %v, want %d\n%s", args, got, p.cmd.ProcessState, code, p.out.String())
		}
	}
}

// letters reads as so many bytes.
type letters int

func (n *letters) Read(p []byte) (int, error) {
	if *n == 0 {
		return 0, io.EOF
	}
	p = p[:min(len(p), int(*n))]
	for i := range p {
		p[i] = 'x'
	}
	*n -= letters(len(p))
	return len(p), nil
}

// What is too large is refused early, and takes no memory for what is dropped.
func TestD9_InputIsBounded(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	for _, args := range [][]string{{"enqueue", "s:a", "k", "-"}, {"enqueue", "--from", "-"}, {"enqueue", "--from", "-", "--on-error", "skip"}} {
		size := letters(96 << 20)
		cmd := w.command(args...)
		cmd.Stdin = io.MultiReader(&size, strings.NewReader("\n"+`{"subject":"s:b","kind":"k"}`))
		p, most := w.process(cmd), int64(0)
		// What wait reports counts the memory of this process too, from before the start.
		for status := fmt.Sprintf("/proc/%d/status", cmd.Process.Pid); !p.ended(); time.Sleep(time.Millisecond) {
			text, _ := os.ReadFile(status)
			most = max(most, redistest.InfoNumber(string(text), "VmHWM:"))
		}
		if code := p.exit(); code != exitUsage && !strings.Contains(p.out.String(), "1 job enqueued") {
			t.Errorf("%v: exit %d\n%s", args, code, p.out.String())
		}
		if most == 0 || most > 40<<10 {
			t.Errorf("%v takes %d KiB", args, most)
		}
	}
}

// Output that can't be written is a failure of every command that prints.
func TestD9_FullDisk(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k", "--id", "j")
	for _, args := range [][]string{
		{"lane", "ls", "-q"}, {"lane", "ls"}, {"lane", "ls", "-o", "json"}, {"lane", "show", "s:a", "-q"}, {"enqueue", "s:a", "k", "-q"}, {"enqueue", "s:a", "k"},
		{"job", "suspend", "j"}, {"lane", "suspend", "s:a"}, {"help"}, {"help", "exit-codes"}, {"lane", "--help"}, {"completion", "bash"}, {"version"}, {"stats", "-o", "jsonl"},
	} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		cmd := w.command(args...)
		cmd.Stdout = full
		p := w.process(cmd)
		if code := p.exit(); code != exitFailed || !strings.Contains(p.out.String(), "no space left on device") {
			t.Errorf("%v on a full disk: exit %d\n%s", args, code, p.out.String())
		}
		_ = full.Close()
	}
}

// Only what is the network's says that Redis is away, and exec has the codes of env.
func TestD9_LocalErrors(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	script := filepath.Join(w.dir, "script")
	for path, text := range map[string]string{script: "echo hi\n", script + "2": "#!/no/such/interpreter\n"} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(script+"3", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		args []string
	}{
		{126, []string{"exec", "s:a", "--", script}},
		{127, []string{"exec", "s:a", "--", script + "2"}},
		{126, []string{"exec", "s:a", "--", script + "3"}},
		{126, []string{"exec", "s:a", "--", w.dir}},
		{127, []string{"exec", "s:a", "--", w.dir + "/none"}},
		{2, []string{"enqueue", "--from", w.dir}},
		{2, []string{"work", "--handle", "k=true", "--config", w.dir}},
		{2, []string{"demo", "--trace", w.dir}},
		{1, []string{"dev", "--port", w.url[strings.LastIndex(w.url, ":")+1:]}},
		{6, []string{"--redis", "unix://" + script, "stats"}},
		{6, []string{"--redis", "redis://no-such-host.invalid", "stats"}},
	} {
		if code, out, errOut := w.run(c.args...); code != c.code {
			t.Errorf("%v: exit %d, want %d\n%s%s", c.args, code, c.code, out, errOut)
		}
	}
	for err, away := range map[error]bool{
		syscall.ENOSPC: false, syscall.EMFILE: false, &os.PathError{Op: "fork/exec", Path: "x", Err: syscall.ENOEXEC}: false,
		os.NewSyscallError("write", syscall.EPIPE): true, io.EOF: true,
	} {
		if redisAway(fmt.Errorf("x: %w", err)) != away {
			t.Errorf("redisAway(%v) = %t", err, !away)
		}
	}
}

// H10: a command that somebody has stopped hears a signal that is to end it: it is let go on for that.
func TestH10_AStoppedCommandHearsItsEnd(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	cmd := w.command("exec", "s:a", "--", "sh", "-c", "trap 'exit 9' TERM; echo $$; kill -STOP $$; while :; do sleep 0.02; done")
	p, out := w.piped(cmd)
	lines := bufio.NewScanner(out)
	lines.Scan()
	w.until("the command is stopped", func() bool {
		stat, _ := os.ReadFile("/proc/" + lines.Text() + "/stat")
		return strings.Contains(string(stat), ") T ")
	})
	p.signal(syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { _, _ = io.Copy(io.Discard, out); ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if cmd.ProcessState.ExitCode() != 9 {
			t.Errorf("exit %d, %v", cmd.ProcessState.ExitCode(), err)
		}
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		t.Error("it goes on for 20 s")
	}
}

// Signals to exec are its command's, which may take its time.
func TestD9_ExecPassesSignalsOn(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2} {
		name := strings.TrimPrefix(unix.SignalName(signal), "SIG")
		cmd := w.command("exec", "s:"+name, "--lease-ttl", "1s", "--", "sh", "-c",
			"trap 'echo got; n=$((n+1)); test $n = 2 && exit 9' "+name+"; echo ready; while :; do sleep 0.02; done")
		p, out := w.piped(cmd)
		lines := bufio.NewScanner(out)
		for _, want := range []string{"ready", "got"} { // it goes on after the first
			if !lines.Scan() || lines.Text() != want {
				t.Fatalf("%s: the command says %q, want %q", name, lines.Text(), want)
			}
			p.signal(signal)
		}
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 9 {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Before the command has begun a signal ends the wait.
	gate := filepath.Join(w.dir, "gate")
	first := w.startWith("exec", "s:a", "--", "sh", "-c", "echo >"+w.dir+"/holds; while ! test -e "+gate+"; do sleep 0.01; done")
	w.until("the first holds it", func() bool { _, err := os.Stat(w.dir + "/holds"); return err == nil })
	second := w.startWith("exec", "s:a", "--", "true")
	w.until("the second waits", func() bool { return w.depth("s:a") == 1 })
	second.signal(syscall.SIGTERM)
	if code := second.exit(); code != 143 {
		t.Errorf("exit %d\n%s", code, second.out.String())
	}
	if code, _, errOut := w.run("exec", "s:a", "--wait", "1s", "--", "true"); code != exitBusy || !strings.Contains(errOut, "held by") {
		t.Errorf("whose wait was over: exit %d\n%s", code, errOut)
	}
	_ = os.WriteFile(gate, nil, 0o600)
	first.exit()
}

// pseudoTerminal opens a pseudo terminal: its own end, and the one for programs.
func pseudoTerminal(t *testing.T) (own, program *os.File) {
	t.Helper()
	own, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(own.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(own.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = own.Close(), program.Close() })
	if err := own.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return own, program
}

// A terminal's Ctrl-C is the command's alone: it may go on, and gets it once.
func TestD9_ExecAndCtrlC(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	cmd := w.command("exec", "s:a", "--", "sh", "-c", "trap 'echo got $((n+=1))' INT; trap 'echo total $n; exit 9' USR1; echo ready; while :; do sleep 0.02; done")
	p, own := w.onTerminal(cmd)
	in := bufio.NewScanner(own)
	says := func(want string) {
		t.Helper()
		for in.Scan() {
			if strings.Contains(in.Text(), want) {
				return
			}
		}
		t.Fatalf("the terminal does not say %q", want)
	}
	says("ready")
	press := func(answer string) {
		t.Helper()
		if _, err := own.WriteString("\x03"); err != nil {
			t.Fatal(err)
		}
		says(answer)
	}
	press("got 1")
	p.freeze() // so that what lanekeeper does with it comes when the command is through with its own
	press("got 2")
	p.signal(syscall.SIGCONT)
	if !w.leased() {
		t.Error("the lease is gone")
	}
	p.signal(syscall.SIGUSR1)
	says("total 2")
	if code := p.exit(); code != 9 {
		t.Errorf("exit %d, %v", code, p.cmd.ProcessState)
	}
}

// The first process of a container takes away what programs leave behind, and no end of a
// program of its own.
func TestD9_OrphansAreReaped(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	const jobs = 12
	for i := range jobs {
		w.must("enqueue", fmt.Sprintf("s:%d", i), "k", "--max-attempts", "1")
	}
	cmd := w.command("work", "--handle", "k=sh -c 'setsid sh -c \"exit 0\" & sleep 600 & exit 0'")
	cmd.Args = append([]string{os.Args[0]}, cmd.Args...)
	cmd.Path, cmd.Env = os.Args[0], append(cmd.Env, asFirstProcess+"=yes")
	p := w.process(cmd)
	w.until("all are done", func() bool { return strings.Contains(w.must("stats"), "jobs in lanes   0") && !w.leased() })
	children := func() (zombies int) {
		stats, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, path := range stats {
			text, _ := os.ReadFile(path)
			_, rest, _ := strings.Cut(string(text), ") ")
			var state string
			var parent int
			if _, err := fmt.Sscan(rest, &state, &parent); err == nil && parent == p.cmd.Process.Pid && state == "Z" {
				zombies++
			}
		}
		return zombies
	}
	for deadline := time.Now().Add(10 * time.Second); children() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d zombies after %d jobs", children(), jobs)
		}
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 || !strings.Contains(p.out.String(), fmt.Sprintf("%d finished", jobs)) {
		t.Errorf("exit %d\n%s", code, p.out.String())
	}
}

// The end of a program of its own is for who started it, also when an orphan could be taken away by then.
func TestD9_OwnChildrenAreLeft(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asParent+"=yes")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// leavesOwnChildren lets a child end, looks for orphans, and returns an exit code: 0 when the child's end is still there.
func leavesOwnChildren() int {
	cmd := exec.Command("true")
	if err := start(cmd); err != nil {
		fmt.Println(err)
		return 3
	}
	for endedChild() != cmd.Process.Pid {
		time.Sleep(time.Millisecond)
	}
	reapOne()
	if err := wait(cmd); err != nil {
		fmt.Println("its end was taken away:", err)
		return 4
	}
	return 0
}

// A lost lease, and nothing else, makes exec end its command: for good, where it does not go.
func TestD9_ExecEndsWithItsLease(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	p := w.startWith("exec", "s:a", "--lease-ttl", "2s", "--", "sh", "-c", "trap 'echo >"+w.dir+"/term' TERM; echo >"+w.dir+"/holds; while :; do sleep 0.02; done")
	w.until("it holds", func() bool { _, err := os.Stat(w.dir + "/holds"); return err == nil })
	ns := subject.Namespace{Name: w.namespace, Partitions: 1}
	key := subject.Key{Kind: "s", ID: "a"}
	keys := ns.Keys(ns.Partition(key))
	if n, err := redistest.Client(t).HDel(t.Context(), keys.Leases(), key.Canonical()).Result(); n != 1 || err != nil {
		t.Fatalf("the lease was not there: %d, %v", n, err)
	}
	if code := p.exit(); code != exitFailed || !strings.Contains(p.out.String(), "lost") {
		t.Errorf("exit %d, %v\n%s", code, p.cmd.ProcessState, p.out.String())
	}
	if _, err := os.Stat(w.dir + "/term"); err != nil {
		t.Error("the command was killed without SIGTERM before")
	}
}
