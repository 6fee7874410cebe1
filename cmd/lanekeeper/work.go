package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/worker"
)

// workOptions are the flags of work, and what a --config file may set.
type workOptions struct {
	app        *app
	handle     []string
	config     string
	untilEmpty bool
	stopAtOnce bool // a stop timeout of 0s was asked for

	Concurrency int               `yaml:"concurrency"`
	LeaseTTL    time.Duration     `yaml:"lease_ttl"`
	Timeout     time.Duration     `yaml:"timeout"`
	StopTimeout time.Duration     `yaml:"stop_timeout"`
	LaneBatch   map[string]int    `yaml:"lane_batch"`
	Handlers    map[string]string `yaml:"handlers"`

	Kinds      map[string]dispatcher.Kind `yaml:"kinds"`
	Pools      map[string]int             `yaml:"pools"`
	PoolLimits map[string]int             `yaml:"pool_limits"`
	Blame      bool                       `yaml:"blame"`
	PassRedis  bool                       `yaml:"pass_redis"`
}

func (a *app) workCommand() *cobra.Command {
	o := &workOptions{app: a}
	cmd := &cobra.Command{
		Use:   "work --handle KIND=PROGRAM …",
		Short: "Run a pool that starts a program for each job",
		Long: `Runs a pool of workers. For each job of a kind it starts the program given for
that kind, with the payload on standard input and in its environment

  LANEKEEPER_JOB  LANEKEEPER_SUBJECT  LANEKEEPER_KIND
  LANEKEEPER_ATTEMPT  LANEKEEPER_TOKEN  LANEKEEPER_SEQ
  LANEKEEPER_HEADERS  the job's headers as a JSON object
  LANEKEEPER_NAMESPACE

The address of Redis is the right to all that this worker may do, so programs do not get it: neither
LANEKEEPER_REDIS nor LANEKEEPER_REDIS_FILE is passed on, unless --pass-redis asks for it. A 'lanekeeper
enqueue' in a program needs one of the two. Its password, should it be in what a program prints, is
replaced before that is kept.

Exit code 0 finishes the job, 65 makes it a dead letter, any other retries it after
a backoff; the end of the program's output is kept as the error, or as the result
where the job's outcome is kept. A program that must
stop gets SIGTERM, and SIGKILL before its subject can pass to another worker. It dies
with its worker, even one killed with -9, and so does all that is still in its process group
when it ends. A worker that is stopped (Ctrl-Z) stops its programs; whose lease ends meanwhile
is killed.

PROGRAM is split into words like a shell would, but no shell is started and nothing is expanded: $HOME,
~ and * stay as they are, with a remark unless they are quoted so that a shell would leave them too.
Jobs of kinds without a program are left to other workers.

On SIGTERM, SIGINT or SIGHUP the pool claims no more, lets programs finish for --stop-timeout,
then stops them and hands their jobs back with the attempt refunded. As the first process
of a container it also waits for what programs leave behind.`,
		Example: `  lanekeeper work --handle expire=./expire.sh --handle 'move=./move --to s3'
  lanekeeper work --config work.yaml

work.yaml:
  concurrency: 20
  lease_ttl: 30s
  lane_batch:
    expire: 20
  handlers:
    expire: ./expire.sh
    move: ./move --to s3
  # All that follows may be left out. Once kinds are declared, others are refused.
  kinds:
    expire: {owner: storage, subject: artifact, max_attempts: 5, loggable: [why]}
    move: {owner: storage, subject: artifact, pool: slow, limit: 3, on_failure: halt}
  pools: {default: 20, slow: 2}     # programs at once in this process, instead of concurrency
  pool_limits: {slow: 4}            # and in all processes
  pass_redis: true                  # as --pass-redis
  blame: true                       # claim no more of a kind that fails here and goes well elsewhere`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.addFlags(cmd)
	a.addLogFlags(cmd)
	cmd.Flags().StringVar(&o.config, "config", "", "YAML file with the same settings; flags go before it")
	cmd.Flags().BoolVar(&o.untilEmpty, "until-empty", false, "end with 0 when no lane has anything left; jobs on the schedule do not count")
	_ = cmd.RegisterFlagCompletionFunc("config", fileNames)
	return cmd
}

func (o *workOptions) addFlags(cmd *cobra.Command) {
	o.app.addPassFlag(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&o.handle, "handle", nil, "KIND=PROGRAM; may be given again")
	f.IntVar(&o.Concurrency, "concurrency", 0, "programs that run at once (default 10 a CPU)")
	f.DurationVar(&o.LeaseTTL, "lease-ttl", 0, "how long a subject stays closed after its worker died (default 30s)")
	f.StringToIntVar(&o.LaneBatch, "lane-batch", nil, "KIND=N: claim up to N (at most 250) waiting jobs of one lane together; a crash repeats those not reported yet")
	f.Lookup("lane-batch").DefValue = ""
	f.BoolVar(&o.Blame, "blame", false, "claim no more of a kind, for a while, when five different jobs of it in a row fail here and others finish such")
	f.DurationVar(&o.Timeout, "timeout", 0, "longest time of an attempt whose job sets none (default 1h)")
	f.DurationVar(&o.StopTimeout, "stop-timeout", 0, "how long programs may go on when told to stop (default 20s)")
}

func (o *workOptions) run(cmd *cobra.Command) error {
	err := o.checkFlags(cmd)
	if err == nil {
		err = o.app.runLong()
	}
	if err == nil {
		err = o.readConfig(cmd)
	}
	if err != nil && cmd.Context().Err() == nil {
		return err
	}
	if cmd.Context().Err() != nil {
		return nil // told to stop before the start was done
	}
	programs, err := o.programs()
	if err != nil {
		return err
	}
	if len(programs) == 0 {
		return usage("work needs at least one --handle KIND=PROGRAM, or handlers in --config")
	}
	kinds, err := o.declared(programs)
	if err != nil {
		return err
	}
	d, err := o.app.openAs(cmd.Context(), dispatcher.Config{Kinds: kinds, PoolLimits: o.PoolLimits})
	if cmd.Context().Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	pools, err := o.pools(d, programs)
	if err != nil {
		return err
	}
	o.app.note("Working on %s in namespace %s; stop with Ctrl-C.", strings.Join(kindsOf(programs), ", "), o.app.namespace)
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	if o.untilEmpty {
		go o.stopWhenEmpty(ctx, d, programs, stop)
	}
	return o.report(pools, runAll(ctx, pools))
}

// declared returns the kinds of the --config file. With any, each program's kind is among
// those of the file or of the namespace, which Open and the pools check.
func (o *workOptions) declared(programs map[string][]string) ([]dispatcher.Kind, error) {
	var kinds []dispatcher.Kind
	for _, name := range slices.Sorted(maps.Keys(o.Kinds)) {
		k := o.Kinds[name]
		if k.Name != "" && k.Name != name {
			return nil, usage("--config %s: kind %s says that its name is %s", o.config, name, k.Name)
		}
		k.Name = name
		kinds = append(kinds, k)
	}
	for pool, n := range o.Pools {
		if n < 1 {
			return nil, usage("--config %s: pools: %s=%d must be at least 1", o.config, pool, n)
		}
	}
	return kinds, nil
}

// runAll runs pools until ctx is done. One that can't start stops the others.
func runAll(ctx context.Context, pools []*worker.Pool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	errs := make([]error, len(pools))
	for i, p := range pools {
		all.Go(func() {
			if errs[i] = p.Run(ctx); errs[i] != nil {
				stop()
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// programs returns the program of each kind; --handle goes before the file.
func (o *workOptions) programs() (map[string][]string, error) {
	lines := make(map[string]string)
	for kind, line := range o.Handlers {
		lines[kind] = line
	}
	seen := make(map[string]bool)
	for _, h := range o.handle {
		kind, line, found := strings.Cut(h, "=")
		if !found {
			return nil, usage("--handle %q must be of the form KIND=PROGRAM", h)
		}
		if seen[kind] {
			return nil, usage("--handle %s is given twice", kind)
		}
		seen[kind], lines[kind] = true, line
	}
	programs := make(map[string][]string)
	for kind, line := range lines {
		if err := dispatcher.CheckKind(kind); err != nil {
			return nil, err
		}
		argv, stays, err := parseProgram(line)
		if err != nil {
			return nil, usage("handler of %s: %w", kind, err)
		}
		if stays != "" {
			o.app.note("handler of %s: %s stays as it is, for no shell is started; in single quotes it is no news.", kind, stays)
		}
		programs[kind] = argv
	}
	for kind, n := range o.LaneBatch {
		switch {
		case programs[kind] == nil:
			return nil, usage("lane batch %s=%d: there is no handler for kind %s", kind, n, kind)
		case n < 1 || n > session.MaxLaneBatch:
			return nil, usage("lane batch %s=%d: the number must be 1 to %d", kind, n, session.MaxLaneBatch)
		}
	}
	return programs, nil
}

func kindsOf(programs map[string][]string) []string {
	var kinds []string
	for kind := range programs {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

// asFlags turns the fields that worker's errors name into what the user typed.
var asFlags = strings.NewReplacer(
	"worker: Config.Concurrency", "--concurrency", "worker: Config.LeaseTTL", "--lease-ttl",
	"worker: Config.Timeout", "--timeout", "worker: Config.StopTimeout", "--stop-timeout",
)

// pools makes a pool for each name that the programs' kinds are declared for.
func (o *workOptions) pools(d *dispatcher.Dispatcher, programs map[string][]string) ([]*worker.Pool, error) {
	byPool := make(map[string]map[string][]string)
	for kind, argv := range programs {
		k, _ := d.Declared(kind)
		name := orElse(k.Pool, dispatcher.DefaultPool)
		if len(o.Pools) > 0 && o.Pools[name] == 0 {
			return nil, usage("--config %s: kind %s is declared for the pool %s, which is not among the pools", o.config, kind, name)
		}
		if byPool[name] == nil {
			byPool[name] = make(map[string][]string)
		}
		byPool[name][kind] = argv
	}
	for name := range o.Pools {
		if byPool[name] == nil {
			return nil, usage("--config %s: pools: no program is for the pool %s", o.config, name)
		}
	}
	var pools []*worker.Pool
	for _, name := range slices.Sorted(maps.Keys(byPool)) {
		p, err := o.pool(d, name, byPool[name])
		if err != nil {
			return nil, err
		}
		pools = append(pools, p)
	}
	return pools, nil
}

func (o *workOptions) pool(d *dispatcher.Dispatcher, name string, programs map[string][]string) (*worker.Pool, error) {
	batches := make(map[string]int)
	for kind, n := range o.LaneBatch {
		if programs[kind] != nil {
			batches[kind] = n
		}
	}
	stopTimeout := o.StopTimeout
	if o.stopAtOnce {
		stopTimeout = 1 // of worker.Config a zero is the default
	}
	cfg := worker.Config{
		Name: name, Concurrency: cmp.Or(o.Pools[name], o.Concurrency), LeaseTTL: o.LeaseTTL, Timeout: o.Timeout,
		StopTimeout: stopTimeout, LaneBatch: batches, Blame: o.Blame, Logger: o.app.log,
	}
	pool, err := worker.New(d, cfg)
	if err != nil {
		return nil, usage("%s", asFlags.Replace(err.Error()))
	}
	// SIGKILL must come before the pool gives the handler up, and so before the
	// lease can pass on.
	grace := pool.CancelGrace() * 3 / 4
	for kind, argv := range programs {
		pool.Handle(kind, o.app.programHandler(argv, grace))
	}
	return pool, nil
}

// stopWhenEmpty stops the pool when no lane has anything left.
func (o *workOptions) stopWhenEmpty(ctx context.Context, d *dispatcher.Dispatcher, programs map[string][]string, stop func()) {
	warned := make(map[string]bool)
	for {
		stats, err := inspect.New(d).Stats(ctx)
		if err == nil && stats.InLanes == 0 {
			stop()
			return
		}
		if stats.Suspended > 0 && !warned[""] {
			warned[""] = true
			o.app.note("%s suspended or halted ('lane ls --state suspended'); --until-empty goes on waiting", count(stats.Suspended, "lane")+oneOr(stats.Suspended, " is", " are"))
		}
		for kind, k := range stats.Kinds {
			if k.Ready > 0 && k.Workers == 0 && programs[kind] == nil && !warned[kind] {
				warned[kind] = true
				o.app.note("%s for kind %s, which no worker handles; --until-empty goes on waiting", count(k.Ready, "lane")+oneOr(k.Ready, " waits", " wait"), kind)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// report says what the pools did.
func (o *workOptions) report(pools []*worker.Pool, err error) error {
	var c worker.Counts
	for _, p := range pools {
		c.Add(p.Counts())
	}
	o.app.note("Stopped: %d finished, %d retried, %s, %d cancelled, %d handed back, %s lost.",
		c.Finished, c.Retried, count(int(c.Dead), "dead letter"), c.Cancelled, c.HandedBack, count(int(c.Lost), "lease"))
	var stopped *worker.StopError
	if errors.As(err, &stopped) {
		return fmt.Errorf("%w; those jobs run again", err)
	}
	return err
}
