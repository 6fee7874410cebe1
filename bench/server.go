package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// server is a redis-server of the benchmark's own.
type server struct {
	addr string
	dir  string
	cmd  *exec.Cmd
	said bytes.Buffer // on its standard error
	rdb  *redis.Client
}

// startServer starts a redis-server as production would run it, with the append-only
// file synced every second; but the file is never rewritten, because that would hit
// whoever runs at the time. It may be started under a program that looks at it.
func startServer(ctx context.Context, under ...string) (*server, error) {
	dir, err := os.MkdirTemp("", "lanekeeper-bench-")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &server{addr: "127.0.0.1:" + port, dir: dir}
	argv := append(under, "redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0",
		"--loglevel", "warning", "--slowlog-log-slower-than", "1000", "--slowlog-max-len", "100000")
	s.cmd = exec.Command(argv[0], argv[1:]...)
	s.cmd.Stderr = &s.said
	dieWithParent(s.cmd)
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start redis-server (make redis installs it): %w", err)
	}
	s.rdb = s.client()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var conn net.Conn
		if conn, err = net.Dial("tcp", s.addr); err == nil {
			err = errors.Join(conn.Close(), s.rdb.Ping(ctx).Err())
		}
		if err == nil {
			return s, nil
		}
		if time.Now().After(deadline) {
			s.stop()
			return nil, fmt.Errorf("redis-server does not answer: %w", err)
		}
	}
}

func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

func (s *server) client() *redis.Client { return connect.New(&redis.Options{Addr: s.addr}) }

func (s *server) stop() {
	_ = s.rdb.Close()
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	_ = os.RemoveAll(s.dir)
}

// end has the server end by itself, and returns what was said on its standard error.
func (s *server) end() (string, error) {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	err := s.cmd.Wait()
	return s.said.String(), err
}

// clear empties the server for the next contender.
func (s *server) clear(ctx context.Context) error {
	return errors.Join(s.rdb.FlushAll(ctx).Err(), s.rdb.Do(ctx, "slowlog", "reset").Err(),
		s.rdb.ConfigResetStat(ctx).Err(), s.rdb.Do(ctx, "memory", "purge").Err())
}

// info reads one number from a section of INFO.
func (s *server) info(ctx context.Context, section, field string) float64 {
	for _, line := range strings.Split(s.rdb.Info(ctx, section).Val(), "\r\n") {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			n, _ := strconv.ParseFloat(value, 64)
			return n
		}
	}
	return 0
}

// cpu is the CPU time that the server has used.
func (s *server) cpu(ctx context.Context) time.Duration {
	sum := s.info(ctx, "cpu", "used_cpu_sys") + s.info(ctx, "cpu", "used_cpu_user")
	return time.Duration(sum * float64(time.Second))
}

// sent counts the commands that workers have sent, without those inside scripts.
func (s *server) sent(ctx context.Context) (sum int) {
	for _, line := range strings.Split(s.rdb.Info(ctx, "commandstats").Val(), "\r\n") {
		name, rest, _ := strings.Cut(line, ":calls=")
		switch name {
		case "cmdstat_evalsha", "cmdstat_eval", "cmdstat_bzpopmin", "cmdstat_ping", "cmdstat_hello", "cmdstat_client":
			count, _, _ := strings.Cut(rest, ",")
			n, _ := strconv.Atoi(count)
			sum += n
		}
	}
	return sum
}

// slowest is the longest time that a command took since the server was cleared, and
// how many took over 5 ms.
func (s *server) slowest(ctx context.Context) (longest time.Duration, over5ms int) {
	entries, _ := s.rdb.SlowLogGet(ctx, -1).Result()
	for _, e := range entries {
		if name := strings.ToLower(e.Args[0]); name != "evalsha" && name != "eval" {
			continue
		}
		longest = max(longest, e.Duration)
		if e.Duration > 5*time.Millisecond {
			over5ms++
		}
	}
	return longest, over5ms
}

// scriptsP999 is within how many milliseconds all scripts but a thousandth were done since the server was cleared; 1 is
// that or less, for only what takes longer is logged.
func (s *server) scriptsP999(ctx context.Context) float64 {
	var calls int
	for _, line := range strings.Split(s.rdb.Info(ctx, "commandstats").Val(), "\r\n") {
		if rest, ok := strings.CutPrefix(line, "cmdstat_evalsha:calls="); ok {
			count, _, _ := strings.Cut(rest, ",")
			calls, _ = strconv.Atoi(count)
		}
	}
	entries, _ := s.rdb.SlowLogGet(ctx, -1).Result()
	var took []time.Duration
	for _, e := range entries {
		if strings.EqualFold(e.Args[0], "evalsha") {
			took = append(took, e.Duration)
		}
	}
	slices.SortFunc(took, func(a, b time.Duration) int { return cmp.Compare(b, a) })
	if over := calls / 1000; over < len(took) {
		return float64(took[over].Microseconds()) / 1000
	}
	return 1
}

// postgres is a PostgreSQL server of the benchmark's own, with default settings.
type postgres struct {
	dir string
	url string
	cmd *exec.Cmd
}

// startPostgres returns nil when PostgreSQL is not installed.
func startPostgres() (*postgres, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return nil, nil
	}
	bin := filepath.Dir(found[len(found)-1])
	dir, err := os.MkdirTemp("", "lanekeeper-bench-pg-")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p := &postgres{dir: dir, url: "postgres://bench@127.0.0.1:" + port + "/postgres?sslmode=disable&pool_max_conns=60"}
	if out, err := p.as(exec.Command(bin+"/initdb", "-D", dir+"/data", "-U", "bench", "-A", "trust")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	p.cmd = p.as(exec.Command(bin+"/postgres", "-D", dir+"/data", "-p", port, "-h", "127.0.0.1", "-k", dir))
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	for range 500 {
		if err := exec.Command(bin+"/pg_isready", "-q", "-h", "127.0.0.1", "-p", port).Run(); err == nil {
			return p, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.stop()
	return nil, errors.New("postgres does not answer")
}

// as makes a command run as the user postgres when we are root, whom PostgreSQL refuses.
func (p *postgres) as(cmd *exec.Cmd) *exec.Cmd {
	dieWithParent(cmd)
	cmd.Dir = p.dir
	if os.Getuid() != 0 {
		return cmd
	}
	out, err := exec.Command("id", "-u", "postgres").Output()
	if uid, e := strconv.Atoi(strings.TrimSpace(string(out))); err == nil && e == nil {
		_ = os.Chown(p.dir, uid, -1)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid)}
	}
	return cmd
}

func (p *postgres) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT) // at once, with all its processes
	_ = p.cmd.Wait()
	_ = os.RemoveAll(p.dir)
}
