package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/connect"
)

const (
	defaultRedis     = connect.Default
	defaultNamespace = "lanekeeper"
)

// app is what all commands share: streams, global flags, and the connection.
type app struct {
	in      io.Reader
	out     *outlet
	err     io.Writer
	signals *signals
	groups  groups // of the programs that run

	logFormat, logLevel string
	log                 *slog.Logger // of commands that run long, once they have begun

	redis     address
	passRedis bool // tell programs where it is
	namespace string
	output    string
	quiet     bool
	noColor   bool
	reason    string // why somebody acts, as he says
	where     where  // what commands that are advised have to be told

	rdb redis.UniversalClient

	incomplete *dispatcher.IncompleteError // what looks could not show; the command ends with it
}

func (a *app) addGlobalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&a.redis.flag, "redis", "", "Redis: redis://, rediss://, redis+cluster:// or redis+sentinel://…/MASTER (env LANEKEEPER_REDIS, default "+defaultRedis+")")
	f.StringVar(&a.redis.file, "redis-file", "", "file with that address, which only its owner may read: arguments and environments show a password to others (env LANEKEEPER_REDIS_FILE)")
	f.StringVar(&a.namespace, "namespace", "", "namespace of the lanes (env LANEKEEPER_NAMESPACE, default "+defaultNamespace+")")
	f.StringVarP(&a.output, "output", "o", "table", "output: table, wide, json or jsonl")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "print only ids in lists, and no progress or remarks")
	f.BoolVar(&a.noColor, "no-color", false, "no colour, also without a terminal or with NO_COLOR set")
	_ = root.RegisterFlagCompletionFunc("redis-file", fileNames)
	_ = root.RegisterFlagCompletionFunc("namespace", a.namespaces)
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "wide", "json", "jsonl"}, cobra.ShellCompDirectiveNoFileComp))
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		switch a.output {
		case "table", "wide", "json", "jsonl":
		default:
			return usage("--output %q must be table, wide, json or jsonl", a.output)
		}
		a.where = whereFrom(cmd)
		a.namespace = cmp.Or(a.namespace, os.Getenv(namespaceVariable), defaultNamespace)
		cmd.SetContext(dispatcher.As(cmd.Context(), dispatcher.Actor{Who: whoami(), Face: "cli", Why: a.reason}))
		return nil
	}
}

// connect returns a client of the servers that were named, or of the default one.
func (a *app) connect() (redis.UniversalClient, error) {
	address, err := a.named()
	if err != nil {
		return nil, err
	}
	if address == "" && withinProgram() {
		return nil, usageError{errNoAddress}
	}
	rdb, err := connect.Parse(address)
	if err != nil {
		return nil, usage("%s: %w", a.redis.name(), err)
	}
	a.rdb = rdb
	return rdb, nil
}

// open opens the namespace that was named, and creates it when it is new.
func (a *app) open(ctx context.Context) (*dispatcher.Dispatcher, error) {
	return a.openAs(ctx, dispatcher.Config{})
}

// look opens the namespace that was named for a command that only looks, or changes
// only what it finds: a look must not decide how a namespace is cut.
func (a *app) look(ctx context.Context) (*dispatcher.Dispatcher, error) {
	return a.openAs(ctx, dispatcher.Config{Look: true})
}

func (a *app) openAs(ctx context.Context, cfg dispatcher.Config) (*dispatcher.Dispatcher, error) {
	rdb, err := a.connect()
	if err != nil {
		return nil, err
	}
	cfg.Redis, cfg.Namespace = rdb, a.namespace
	return dispatcher.Open(ctx, cfg)
}

// partly lets a command that has found something go on without what could not be asked: it shows
// that, says what is missing, and ends with a code of its own.
func (a *app) partly(err error, found bool) error {
	var missing *dispatcher.IncompleteError
	if !found || !errors.As(err, &missing) {
		return err
	}
	if a.incomplete == nil {
		a.incomplete = &dispatcher.IncompleteError{Err: missing.Err}
	}
	for _, what := range missing.Missing {
		if !a.lacks(what) {
			a.incomplete.Missing = append(a.incomplete.Missing, what)
		}
	}
	return nil
}

// lacks reports whether something is missing from what a look could show.
func (a *app) lacks(what string) bool {
	return a.incomplete != nil && slices.Contains(a.incomplete.Missing, what)
}

// now is the time by Redis's clock, which all times of lanes and jobs are by.
func (a *app) now(ctx context.Context) time.Time {
	if now, err := a.rdb.Time(ctx).Result(); err == nil {
		return now
	}
	return time.Now()
}

func (a *app) close() {
	a.groups.close()
	if a.rdb != nil {
		_ = a.rdb.Close()
	}
}

// outlet is where a command prints. It keeps the first error of a write, for most of those who
// print do not look; a command that could not say what it was asked has failed.
type outlet struct {
	io.Writer
	failed error
}

func (o *outlet) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if o.failed == nil {
		o.failed = err
	}
	return n, err
}

// isTerminal reports whether a stream is a person's.
func isTerminal(stream any) bool {
	if o, ok := stream.(*outlet); ok {
		stream = o.Writer
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// color wraps text in an ANSI colour when a person looks and wants it. States are
// always words too.
func (a *app) color(code, text string) painted {
	if a.noColor || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !isTerminal(a.out) {
		return painted(text)
	}
	return painted("\x1b[" + code + "m" + text + "\x1b[0m")
}

func (a *app) red(text string) painted   { return a.color("31", text) }
func (a *app) green(text string) painted { return a.color("32", text) }
