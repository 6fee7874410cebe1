package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/lease"
)

// runWorker is what a child process does: work until it is told to stop.
func runWorker(addr string) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	l, err := openLanekeeper(ctx, connect.New(&redis.Options{Addr: addr}))
	if err != nil {
		return err
	}
	stop, err := l.work(concurrency, func(context.Context, job) {})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return errors.Join(stop(), l.close())
}

// crew is a number of worker processes.
type crew []*exec.Cmd

func startCrew(addr string, n int) (crew, error) {
	var c crew
	for range n {
		cmd := exec.Command(os.Args[0], "-worker", addr)
		cmd.Stderr = os.Stderr
		dieWithParent(cmd)
		if err := cmd.Start(); err != nil {
			c.stop()
			return nil, err
		}
		c = append(c, cmd)
	}
	return c, nil
}

func (c crew) stop() {
	for _, cmd := range c {
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, cmd := range c {
		_ = cmd.Wait()
	}
}

// cpu is the CPU time that the first process has used.
func (c crew) cpu() time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c[0].Process.Pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / 100 // clock ticks of Linux
}

// runScaleOut drains with several processes on one Redis.
func runScaleOut(ctx context.Context, at *venue, c contender, name string) (figures, error) {
	l := c.(*lanekeeper)
	f := make(figures)
	for _, n := range []int{1, 2, 4} {
		if err := at.redis.clear(ctx); err != nil {
			return nil, err
		}
		fresh, err := openLanekeeper(ctx, l.rdb)
		if err != nil {
			return nil, err
		}
		jobs := at.scaled(100_000, 20_000)
		if _, err := fill(ctx, fresh, jobs, jobs/10); err != nil {
			return nil, err
		}
		// The clock starts when the first job is gone, because processes take time to start.
		workers, err := startCrew(at.redis.addr, n)
		if err != nil {
			return nil, err
		}
		var start time.Time
		var startCPU time.Duration
		first := 0
		for {
			s, err := inspect.New(fresh.d).Stats(ctx)
			if err != nil {
				workers.stop()
				return nil, err
			}
			if start.IsZero() && s.Jobs < jobs {
				start, startCPU, first = time.Now(), at.redis.cpu(ctx), s.Jobs
			}
			if s.Jobs == 0 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		f[fmt.Sprintf("scale_%d", n)] = float64(first) / time.Since(start).Seconds()
		f[fmt.Sprintf("scale_%d_cpu_us", n)] = float64((at.redis.cpu(ctx) - startCPU).Microseconds()) / float64(first)
		workers.stop()
	}
	return f, nil
}

// runIdleCost counts what idle processes send, and how many of 50 one job wakes.
func runIdleCost(ctx context.Context, at *venue, c contender, name string) (figures, error) {
	l := c.(*lanekeeper)
	f := make(figures)
	for _, n := range []int{1, 50} {
		workers, err := startCrew(at.redis.addr, n)
		if err != nil {
			return nil, err
		}
		time.Sleep(5 * time.Second) // to start and to fall idle
		before, cpu := at.redis.sent(ctx), workers.cpu()
		const watch = 20 * time.Second
		time.Sleep(watch)
		f[fmt.Sprintf("idle_%d_commands", n)] = float64(at.redis.sent(ctx)-before) / watch.Seconds() / float64(n)
		if n == 1 {
			f["idle_1_cpu"] = 100 * (workers.cpu() - cpu).Seconds() / watch.Seconds()
		} else if f["woken_of_50"], err = woken(ctx, at.redis.addr, l); err != nil {
			workers.stop()
			return nil, err
		}
		workers.stop()
	}
	return f, nil
}

// woken enqueues a job ten times and returns how many connections besides our own
// ran scripts because of one job: the mean, from what MONITOR shows.
func woken(ctx context.Context, addr string, l *lanekeeper) (float64, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		return 0, err
	}
	lines := bufio.NewReader(conn)
	const times = 10
	var sum int
	for i := range times {
		if err := l.enqueue(ctx, []job{newJob("a", i)}); err != nil {
			return 0, err
		}
		// A claim carries the lease's TTL after the holder's name, which holds the process id.
		holders := make(map[string]bool)
		_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				break // no more within the time
			}
			if words := strings.Fields(line); len(words) > 3 && strings.EqualFold(words[3], `"evalsha"`) && strings.Contains(line, `"30000"`) {
				holders[words[2]] = true
			}
		}
		sum += len(holders)
	}
	return float64(sum) / times, nil
}

// trip is the time of a finish and claim of one job, by one client that does nothing
// else: the mean of n.
func (l *lanekeeper) trip(ctx context.Context, n int) (time.Duration, error) {
	if _, err := fill(ctx, l, n+1, 1); err != nil {
		return 0, err
	}
	s, err := session.Join(ctx, l.d, session.Claimant{Holder: "trip", Kinds: []string{jobKind}, TTL: 30 * time.Second}, 1)
	if err != nil {
		return 0, err
	}
	defer s.Close(ctx)
	turn := session.Turn{Claim: true, Want: 1, Partition: l.d.Namespace().Partition(newLaneJob(newJob("0", 0)).Subject)}
	var start time.Time
	for i := range n + 1 {
		answer := s.Turns(ctx, []session.Turn{turn})[0]
		if answer.Err != nil {
			return 0, answer.Err
		}
		if len(answer.Claims) != 1 {
			return 0, fmt.Errorf("trip %d claimed %d lanes: %w", i, len(answer.Claims), lease.ErrLost)
		}
		turn.Ends = []session.End{{Claim: &answer.Claims[0]}}
		if i == 0 {
			start = time.Now()
		}
	}
	return time.Since(start) / time.Duration(n), nil
}
