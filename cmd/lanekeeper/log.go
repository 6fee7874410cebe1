package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/subject"
)

// addLogFlags adds the flags of commands that run long enough to have a log.
func (a *app) addLogFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.logFormat, "log-format", "text", "form of the log on standard error: text or json")
	f.StringVar(&a.logLevel, "log-level", "", "least level that is logged: debug, info, warn or error (default info; error with -q)")
	_ = cmd.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("log-level",
		cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
}

// runLong prepares for running long: the log goes where the flags say, go-redis's lines with
// it, and its end, a broken pipe, is not the end of the command; programs stop with it; orphans that come to the first
// process of a container are waited for.
func (a *app) runLong() error {
	level := slog.LevelInfo
	if a.quiet {
		level = slog.LevelError
	}
	switch a.logLevel {
	case "":
	case "debug", "info", "warn", "error":
		_ = level.UnmarshalText([]byte(a.logLevel)) // it is one of those
	default:
		return usage("--log-level %q must be debug, info, warn or error", a.logLevel)
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: a.loggable}
	switch a.logFormat {
	case "text":
		a.log = slog.New(slog.NewTextHandler(a.err, options))
	case "json":
		a.log = slog.New(slog.NewJSONHandler(escaped{a.err}, options))
	default:
		return usage("--log-format %q must be text or json", a.logFormat)
	}
	redisLog.to.Store(a.log)
	a.signals.outlivePipes()
	a.signals.haltBy(func() { a.groups.halt(func() {}) })
	children.reaping.Do(reapOrphans)
	return nil
}

// loggable is a field as it is logged: the ids of jobs in their text form, with which they are
// found again, and nothing with the secrets of our own address.
func (a *app) loggable(_ []string, attr slog.Attr) slog.Attr {
	text, isText := attr.Value.Any().(string)
	if err, isError := attr.Value.Any().(error); isError {
		text, isText = err.Error(), true
	}
	switch {
	case !isText:
	case attr.Key == "job":
		attr.Value = slog.StringValue(subject.IDText(text))
	default:
		attr.Value = slog.StringValue(a.redis.secrets.mask(text))
	}
	return attr
}

// redisLog is where go-redis's own lines go: into the log of a command that has one, and
// only for those who look for the finest grain: what matters comes back as errors.
var redisLog redisLogger

type redisLogger struct{ to atomic.Pointer[slog.Logger] }

func (l *redisLogger) Printf(ctx context.Context, format string, args ...any) {
	if log := l.to.Load(); log != nil {
		log.DebugContext(ctx, strings.TrimSpace(fmt.Sprintf(format, args...)), "from", "go-redis")
	}
}
