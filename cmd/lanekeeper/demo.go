package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/check"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/embedded"
	"github.com/lanekeeper/lanekeeper/subject"
	"github.com/lanekeeper/lanekeeper/worker"
)

// demo replays a trace of events, each touching one subject, and checks from a
// record that the handlers make what happened to each subject.
type demo struct {
	app          *app
	withoutLanes bool
	trace        string
	jobs         int
	concurrency  int
}

func (a *app) demoCommand() *cobra.Command {
	d := &demo{app: a}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Replay a real trace through lanes and check that every subject ran in order",
		Long: `Replays 8,422 real events on 1,936 subjects (the history of a git repository by
file) as fast as it can: each event is a job of its file's lane, and a pool of
handlers works on all lanes at once. Every handler records when it started and
ended; from that record the demo counts jobs that ran out of order, and jobs of
one subject that ran at the same time. With lanes both are zero.

It needs no server: without --redis it runs on an embedded one.`,
		Example: `  lanekeeper demo
  lanekeeper demo --without-lanes          # what a plain parallel pool does to them
  lanekeeper demo --redis redis://localhost:6379`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.BoolVar(&d.withoutLanes, "without-lanes", false, "give every job a lane of its own: a plain parallel pool")
	f.StringVar(&d.trace, "trace", "", "CSV file of events, 'unix_ts,subject' with a header line")
	f.IntVar(&d.jobs, "jobs", 0, "replay only so many events, or the trace over again for more")
	f.IntVar(&d.concurrency, "concurrency", 50, "handlers that run at once")
	_ = cmd.RegisterFlagCompletionFunc("trace", fileNames)
	return cmd
}

func (d *demo) run(ctx context.Context) error {
	if d.concurrency < 1 {
		return usage("--concurrency %d must be 1 to 10000", d.concurrency)
	}
	events, err := d.events(ctx)
	if err != nil {
		return err
	}
	rdb, where, closeServer, err := d.server()
	if err != nil {
		return err
	}
	defer closeServer()
	namespace := "demo-" + uuid.NewString()[:8]
	defer cleanUp(rdb, namespace)

	lanes, err := dispatcher.Open(ctx, dispatcher.Config{Redis: rdb, Namespace: namespace})
	if err != nil {
		return err
	}
	d.app.note("Replaying %d events on %s …", len(events), where)
	result, err := d.replay(ctx, lanes, events)
	if err != nil {
		return err
	}
	return d.print(result)
}

func (d *demo) server() (rdb redis.UniversalClient, where string, closeServer func(), err error) {
	if address, err := d.app.named(); address != "" || err != nil {
		rdb, err = d.app.connect()
		return rdb, "the Redis that was named", func() {}, err
	}
	server, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		return nil, "", nil, err
	}
	rdb = server.Client()
	return rdb, "an embedded server", func() { _ = rdb.Close(); server.Close() }, nil
}

// cleanUp removes what the demo stored, also after an interrupt.
func cleanUp(rdb redis.UniversalClient, namespace string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = connect.Masters(ctx, rdb, func(node *redis.Client) error {
		iter := node.Scan(ctx, 0, "{"+namespace+"*", 1000).Iterator()
		for iter.Next(ctx) {
			node.Unlink(ctx, iter.Val())
		}
		return iter.Err()
	})
}

// demoResult is what the demo prints.
type demoResult struct {
	Jobs        int     `json:"jobs"`
	Subjects    int     `json:"subjects"`
	MostAtOnce  int     `json:"most_lanes_at_once"`
	OutOfOrder  int     `json:"order_violations"`
	Overlaps    int     `json:"overlaps"`
	JobsPerSec  float64 `json:"jobs_per_second"`
	WaitP50ms   float64 `json:"wait_p50_ms"`
	WaitP99ms   float64 `json:"wait_p99_ms"`
	Seconds     float64 `json:"seconds"`
	WithoutLane bool    `json:"without_lanes"`
}

// replay enqueues all events while a pool runs them, and checks the record.
func (d *demo) replay(ctx context.Context, lanes *dispatcher.Dispatcher, events []event) (*demoResult, error) {
	pool, err := worker.New(lanes, worker.Config{Concurrency: d.concurrency})
	if err != nil {
		return nil, err
	}
	runs := make([]check.Run, len(events))
	enqueued := make([]time.Time, len(events))
	var done atomic.Int64
	all := make(chan struct{})
	pool.Handle("event", func(ctx context.Context, payload []byte) error {
		i, err := strconv.Atoi(string(payload))
		if err != nil || i < 0 || i >= len(runs) {
			return worker.Permanent(fmt.Errorf("payload %q is no event's number", payload))
		}
		start := time.Now()
		work(i)
		runs[i] = check.Run{Subject: events[i].subject, Seq: events[i].seq, Start: start, End: time.Now()}
		if int(done.Add(1)) == len(runs) {
			close(all)
		}
		return nil
	})
	bar := d.app.progress("jobs done:", len(events))
	defer bar.done()
	begin := time.Now()
	poolCtx, stop := context.WithCancel(ctx)
	defer stop()
	var ends sync.WaitGroup
	var poolErr, enqueueErr error
	ends.Go(func() { poolErr = pool.Run(poolCtx) })
	ends.Go(func() {
		if enqueueErr = d.enqueue(ctx, lanes, events, enqueued); enqueueErr != nil {
			stop()
		}
	})
	for waiting := true; waiting; {
		select {
		case <-all:
			waiting = false
		case <-poolCtx.Done():
			waiting = false
		case <-time.After(100 * time.Millisecond):
			bar.at(int(done.Load()))
		}
	}
	stop()
	ends.Wait()
	if err := errors.Join(enqueueErr, poolErr, ctx.Err()); err != nil {
		return nil, err
	}
	return d.judge(runs, enqueued, begin), nil
}

// work is what a demo job does: a little computing, more for some jobs than for
// others, that lets other goroutines run in between as real work does. It does not
// sleep: an idle Go program sleeps for a millisecond at least, and the demo would
// measure that.
func work(i int) {
	var block [4096]byte
	for range 1 + i*7919%4 {
		sum := sha256.Sum256(block[:])
		copy(block[:], sum[:])
		runtime.Gosched()
	}
}

func (d *demo) enqueue(ctx context.Context, lanes *dispatcher.Dispatcher, events []event, at []time.Time) error {
	for from := 0; from < len(events); from += dispatcher.MaxBatch {
		to := min(from+dispatcher.MaxBatch, len(events))
		batch := make([]dispatcher.NewJob, 0, to-from)
		for i := from; i < to; i++ {
			key := subject.Key{Kind: "file", ID: events[i].subject}
			if d.withoutLanes {
				key = subject.Key{Kind: "event", ID: strconv.Itoa(i)}
			}
			batch = append(batch, dispatcher.NewJob{Subject: key, Kind: "event", Payload: []byte(strconv.Itoa(i))})
			at[i] = time.Now()
		}
		results, err := lanes.EnqueueMany(ctx, batch)
		if err != nil {
			return err
		}
		for _, r := range results {
			if r.Err != nil {
				return r.Err
			}
		}
	}
	return nil
}

func (d *demo) judge(runs []check.Run, enqueued []time.Time, begin time.Time) *demoResult {
	report := check.Check(runs)
	waits := make([]time.Duration, len(runs))
	last := begin
	for i, r := range runs {
		waits[i] = r.Start.Sub(enqueued[i])
		if r.End.After(last) {
			last = r.End
		}
	}
	slices.Sort(waits)
	ms := func(q float64) float64 {
		return float64(waits[int(q*float64(len(waits)-1))].Microseconds()) / 1000
	}
	took := last.Sub(begin)
	return &demoResult{
		Jobs: report.Runs, Subjects: report.Subjects, MostAtOnce: report.MostAtOnce,
		OutOfOrder: report.OutOfOrder, Overlaps: report.Overlaps,
		JobsPerSec: float64(report.Runs) / took.Seconds(), Seconds: took.Seconds(),
		WaitP50ms: ms(0.5), WaitP99ms: ms(0.99), WithoutLane: d.withoutLanes,
	}
}

func (d *demo) print(r *demoResult) error {
	a := d.app
	mark := func(n int) painted {
		if n == 0 {
			return a.green("0")
		}
		return a.red(itoa(n))
	}
	if a.machine() {
		if err := a.show(r, nil); err != nil {
			return err
		}
	} else if !a.quiet {
		fmt.Fprintf(a.out, "jobs run                %d\n", r.Jobs)
		fmt.Fprintf(a.out, "subjects                %d\n", r.Subjects)
		fmt.Fprintf(a.out, "most subjects at once   %d\n", r.MostAtOnce)
		fmt.Fprintf(a.out, "order violations        %s\n", mark(r.OutOfOrder))
		fmt.Fprintf(a.out, "overlaps                %s\n", mark(r.Overlaps))
		fmt.Fprintf(a.out, "jobs per second         %.0f  (%.2f s in all)\n", r.JobsPerSec, r.Seconds)
		fmt.Fprintf(a.out, "wait, enqueue to start  p50 %.1f ms, p99 %.1f ms\n", r.WaitP50ms, r.WaitP99ms)
	}
	switch {
	case r.OutOfOrder+r.Overlaps > 0 && d.withoutLanes:
		a.say("\nWithout lanes, jobs of one subject overtake and overlap each other.\nRun 'lanekeeper demo' to see the same trace with lanes.")
		return falseError{}
	case r.OutOfOrder+r.Overlaps > 0:
		a.say("\n%s", a.red("This must not happen: please report it with the trace."))
		return falseError{}
	case !d.withoutLanes:
		a.say("\nEvery subject's jobs ran one at a time and in order.\nNext: 'lanekeeper demo --without-lanes' shows what lanes prevent, 'lanekeeper dev' starts a playground.")
	}
	return nil
}
