// Package redistest gives tests a Redis: a real redis-server, or what REDIS_SERVER names, started once for
// each test binary on a free port and in a folder of its own, or a miniredis in
// the process. Every test has a namespace to itself, so all may run in parallel.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// Server is one redis-server process.
type Server struct {
	Addr string
	Dir  string

	conf string // path of a configuration file, or empty
	args []string
	cmd  *exec.Cmd
	done chan struct{}
}

// Start starts a redis-server with extra arguments. It fails, and says what to
// install, when there is none: a test of Redis that skips proves nothing.
func Start(dir string, args ...string) (*Server, error) {
	return start(dir, "", append([]string{"--save", ""}, args...)...)
}

func start(dir, conf string, args ...string) (*Server, error) {
	if _, err := version(); err != nil {
		return nil, err
	}
	var err error
	for range 5 { // another process may take the port between the look and the start
		s := &Server{Dir: dir, conf: conf, args: args}
		if s.Addr, err = freeAddr(); err != nil {
			return nil, err
		}
		if err = s.Restart(); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// Restart starts the process of s again, on the same port and folder.
func (s *Server) Restart() error {
	_, port, _ := net.SplitHostPort(s.Addr)
	args := append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", s.Dir, "--daemonize", "no"}, known(s.args)...)
	if s.conf != "" {
		args = append([]string{s.conf}, args...)
	}
	var out bytes.Buffer
	s.cmd = exec.Command(binary(), args...)
	s.cmd.Stdout, s.cmd.Stderr = &out, &out
	s.cmd.SysProcAttr = withTests
	if err := s.cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	s.done = done
	go func() { _ = s.cmd.Wait(); close(done) }()

	rdb := connect.New(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	defer rdb.Close()
	for deadline := time.Now().Add(10 * time.Second); ; {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := rdb.Ping(ctx).Err()
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("%s ended: %s", binary(), out.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.Kill()
			return fmt.Errorf("%s does not answer: %w", binary(), err)
		}
	}
}

// Kill ends the process at once and waits until it is gone.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// URL returns the server's address for --redis.
func (s *Server) URL() string { return "redis://" + s.Addr }

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

var shared struct {
	once sync.Once
	dir  string
	*Server
	err error
}

// Main runs a package's tests, stops the shared server if one was started, cleans
// up, and fails the package when goroutines were left behind.
func Main(m *testing.M, cleanUp ...func()) {
	redis.SetLogger(silent{}) // errors come back anyway
	if path := os.Getenv(DefectVar); path != "" {
		putIn(path)
	} else if dir := os.Getenv(TraceVar); dir != "" {
		trace(dir)
	}
	code := m.Run()
	for _, f := range cleanUp {
		f()
	}
	if shared.Server != nil {
		shared.Kill()
		said, _ := version()
		fmt.Fprintf(os.Stderr, "tests ran on %s: %s\n", binary(), said)
	}
	_ = os.RemoveAll(shared.dir)
	if code == 0 {
		// go-redis goes on dialling a dead server once a second for a while, closed or not.
		dialling := goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial")
		if err := goleak.Find(dialling); err != nil {
			fmt.Fprintf(os.Stderr, "goroutines left behind: %v\n", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Until polls until ok, for at most a minute: for what tells nobody of its changes.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute until %s", what)
		}
	}
}

// InfoNumber reads a number that follows a name in what INFO says, or gives 0.
func InfoNumber(info, name string) (n int64) {
	if _, rest, ok := strings.Cut(info, name); ok {
		_, _ = fmt.Sscan(rest, &n)
	}
	return n
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// Shared returns the package's redis-server and starts it for the first test.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.once.Do(func() {
		shared.dir, shared.err = os.MkdirTemp("", "lanekeeper-redis-")
		if shared.err == nil {
			shared.Server, shared.err = Start(shared.dir, "--appendonly", "no", "--enable-debug-command", "local")
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.Server
}

// Own starts a redis-server for one test, which may do to it what it likes.
func Own(t testing.TB, args ...string) *Server {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "redis")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Start(dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// Replica starts a replica of a server for one test, and waits until it is in step.
func Replica(t testing.TB, master *Server, args ...string) *Server {
	t.Helper()
	host, port, _ := net.SplitHostPort(master.Addr)
	s := Own(t, append([]string{"--replicaof", host, port, "--repl-diskless-sync-delay", "0"}, args...)...)
	// A replica that calls itself in step may still hear nothing for a second, until it
	// has acknowledged that. What it has acknowledged proves that it listens.
	rdb := connect.New(&redis.Options{Addr: master.Addr})
	defer rdb.Close()
	conn := rdb.Conn()
	defer conn.Close()
	ctx := context.Background()
	if err := conn.Set(ctx, "in step?", "", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Wait(ctx, 1, 30*time.Second).Result(); n != 1 || err != nil {
		t.Fatalf("the replica does not get in step: %d, %v", n, err)
	}
	return s
}

// Client returns a client of the package's redis-server.
func Client(t testing.TB) *redis.Client {
	t.Helper()
	return ClientOf(t, Shared(t))
}

// ClientOf returns a client of a server.
func ClientOf(t testing.TB, s *Server) *redis.Client {
	rdb := connect.New(&redis.Options{Addr: s.Addr})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// Mini returns a miniredis in the process and a client of it.
func Mini(t testing.TB) (*miniredis.Miniredis, *redis.Client) {
	t.Helper()
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	rdb := connect.New(&redis.Options{Addr: m.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	return m, rdb
}

// Each runs a test on redis-server and on miniredis.
func Each(t *testing.T, test func(t *testing.T, rdb *redis.Client)) {
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, Client(t))
	})
	t.Run("mini", func(t *testing.T) {
		t.Parallel()
		_, rdb := Mini(t)
		test(t, rdb)
	})
}

// Namespace returns a namespace that no other test has, and removes its keys
// after the test.
func Namespace(t testing.TB, rdb *redis.Client) string {
	t.Helper()
	name := "test-" + uuid.NewString()
	t.Cleanup(func() { Clear(rdb, name) })
	return name
}

// Clear removes a namespace's keys. A test with many namespaces does so after each: what is left makes
// every walk over the server's keys longer.
func Clear(rdb *redis.Client, name string) {
	ctx := context.Background() // a test's own is cancelled by its end
	iter := rdb.Scan(ctx, 0, "{"+name+"*", 1000).Iterator()
	for iter.Next(ctx) {
		rdb.Unlink(ctx, iter.Val())
	}
}
