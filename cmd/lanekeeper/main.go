// Command lanekeeper runs, feeds and looks into lanes: see 'lanekeeper help'.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Exit codes. 'lanekeeper help exit-codes' shows them.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitFalse       = 4
	exitNoRedis     = 6
	exitNotFinished = 7
	exitIncomplete  = 8
	exitMoved       = 10
)

const exitCodesHelp = `Every command ends with one of these codes:

  0    done; also for an empty list
  1    failed
  2    the command or a value in it is wrong
  3    no such job, lane or dead letter
  4    what was asked is not so: doctor found something, demo saw a violation, other than
       '--expect' dead letters match; or 'why' says that nothing moves before somebody acts
  6    Redis can't be reached, or refuses to serve
  7    the job that 'enqueue --wait' waited for did not finish
  8    what is shown is not all: a part of Redis could not be asked
  10   another job is the head of the lane than the one that --head names; nothing was changed
  75   'exec' could not have the subject in time; nothing was run
  126  'exec' could not run its command
  127  'exec' did not find its command
  129  ended by SIGHUP
  130  ended by SIGINT (Ctrl-C)
  143  ended by SIGTERM

5 is not used. A local error, such as a full disk, is a 1 and never a 6: repeating the
command when Redis is back does not mend it.

'exec' ends with the exit code of its command, once that was started: with 128 and the
signal's number when a signal ended it.

'work' and 'dev' end with 0 when a signal told them to stop and all handlers finished in time,
also when it came before they had begun, and with 1 when some had to be cancelled or given up. A
second signal ends any command at once. SIGQUIT makes one print its stacks and end with 2,
as programs in Go do; 'exec' passes it on.`

func main() {
	if os.Args[0] == guardName {
		watchGroups(os.Stdin)
		return
	}
	redis.SetLogger(&redisLog)
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run runs one command line and returns the exit code.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, end := context.WithCancelCause(context.Background())
	defer end(nil)
	a := &app{in: in, out: &outlet{Writer: out}, err: errOut, signals: listen(end)}
	defer a.signals.stop()
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(a.out)
	root.SetErr(errOut)

	err := root.ExecuteContext(ctx)
	a.close()
	if err == nil && a.out.failed != nil { // whoever printed it did not look
		err = fmt.Errorf("write the output: %w", a.out.failed)
	}
	if err == nil && a.incomplete != nil {
		err = a.incomplete
	}
	if err == nil {
		return 0
	}
	a.fail(a.where.aim(a.clean(message(err))), a.where.aim(a.hint(err)))
	return exitCode(ctx, err)
}

// fail says why a command ends as it does.
func (a *app) fail(text, hint string) {
	switch {
	case text == "":
	case a.log != nil && a.logFormat == "json":
		a.log.Error(text, "hint", hint)
	default:
		fmt.Fprintln(a.err, "lanekeeper: "+text)
		if hint != "" {
			fmt.Fprintln(a.err, hint)
		}
	}
}

// noSentinel is how go-redis begins to say that no Sentinel names the master. It has no type for it.
const noSentinel = "redis: all sentinels specified"

// sentinels returns the error that says so, among all that an error wraps, or nil.
func sentinels(err error) error {
	if err == nil || strings.HasPrefix(err.Error(), noSentinel) {
		return err
	}
	for _, cause := range causes(err) {
		if found := sentinels(cause); found != nil {
			return found
		}
	}
	return nil
}

// hint says what to try next, where an error has an answer. It goes by what an error is, and by the
// text of one that Redis has sent: all other text may be a user's.
func (a *app) hint(err error) string {
	var network *net.OpError
	var answer redis.Error
	answered := errors.As(err, &answer)
	says := func(text string) bool { return answered && strings.Contains(answer.Error(), text) }
	noOne := sentinels(err)
	switch {
	case errors.Is(err, dispatcher.ErrIncomplete):
		return "What is shown is right, and not all. Repeat the command when all servers of the cluster are back."
	case errors.Is(err, dispatcher.ErrAmbiguous):
		return "Say which job is meant with --subject."
	case errors.Is(err, dispatcher.ErrMoved):
		return "Look again with 'lanekeeper lane show'; without --head the command takes whatever is the head."
	case errors.Is(err, errNoAddress):
		return noAddress
	case noOne != nil && slices.ContainsFunc([]string{"NOAUTH", "WRONGPASS", "NOPERM"}, func(no string) bool { return strings.Contains(noOne.Error(), no) }):
		return "The Sentinels want a user and a password of their own: add ?sentinel_username=…&sentinel_password=… to the address."
	case noOne != nil:
		return "No Sentinel answers there, or none of them knows a master of that name."
	case says("WRONGTYPE"):
		return "A key in Redis is not what it should be: 'lanekeeper doctor' says which, and --fix sets it aside."
	case says("MOVED "):
		return "That server is part of a cluster: name it with redis+cluster://."
	case errors.Is(err, dispatcher.ErrUndeclared):
		return "'lanekeeper kind ls' shows the declared kinds; a worker that declares this one has to start first."
	case says("cluster support disabled"):
		return "That server is no cluster: name it with redis://."
	case errors.As(err, &network) && network.Op == "dial" && errors.Is(err, syscall.ECONNREFUSED):
		return notThere
	case redisAway(err) && !answered:
		if text := a.plainHint(); text != "" {
			return text
		}
	}
	if errors.As(err, &network) && network.Op == "dial" {
		return notThere
	}
	return ""
}

const noAddress = "Name it within the program with --redis-file or LANEKEEPER_REDIS_FILE, best that of a Redis user with less rights,\n" +
	"or start 'work' or 'exec' with --pass-redis, which tells programs its own."

const notThere = "Is it running there? Name another server with --redis redis://host:port, --redis-file or LANEKEEPER_REDIS,\n" +
	"or try 'lanekeeper dev', which needs none."

// plainHint asks a server with which a connection failed what it says to somebody without TLS.
func (a *app) plainHint() string {
	address := cmp.Or(a.redis.url, defaultRedis)
	line, closed := connect.Plain(address)
	tls := strings.HasPrefix(address, "rediss:")
	switch {
	case line != "" && tls:
		return "That port does not speak TLS: name it with redis://."
	case strings.Contains(line, "max number of clients"):
		return "The server has no room for another client: it says '" + printable(line) + "'."
	case closed && !tls:
		return "That port ends the connection without a word. If it speaks TLS, name it with rediss://."
	}
	return ""
}

// falseError says that what was asked is not so; its text was printed already.
type falseError struct{}

func (falseError) Error() string { return "" }

// exitError ends with a code of its own; without an error it says nothing.
type exitError struct {
	code int
	error
}

func (e exitError) Error() string {
	if e.error == nil {
		return ""
	}
	return e.error.Error()
}

func (e exitError) Unwrap() error { return e.error }

// usageError is a mistake in the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func exitCode(ctx context.Context, err error) int {
	var own exitError
	var signal interrupted
	switch {
	case errors.As(err, &own):
		return own.code
	case errors.As(context.Cause(ctx), &signal) && errors.Is(err, context.Canceled):
		return signal.code()
	case errors.As(err, new(falseError)):
		return exitFalse
	case errors.As(err, new(usageError)), errors.Is(err, dispatcher.ErrInvalid), errors.Is(err, subject.ErrInvalid),
		errors.Is(err, dispatcher.ErrUndeclared), errors.Is(err, dispatcher.ErrTooLarge), errors.Is(err, dispatcher.ErrAmbiguous):
		return exitUsage
	case errors.Is(err, dispatcher.ErrIncomplete):
		return exitIncomplete
	case errors.Is(err, dispatcher.ErrNotFound):
		return exitNotFound
	case errors.Is(err, dispatcher.ErrMoved):
		return exitMoved
	case redisAway(err):
		return exitNoRedis
	}
	return exitFailed
}

// redisAway reports whether an error says that Redis can't be reached or does not serve. What
// the kernel says of a file, a disk or a program has the methods of a net.Error too, so
// only errors of the network's own types count: and of those not that of a port that can't
// be listened on, nor that of a process without a file descriptor left.
func redisAway(err error) bool {
	var network *net.OpError
	var call *os.SyscallError
	var server redis.Error
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return false
	case errors.Is(err, dispatcher.ErrUnavailable):
		return true
	case errors.As(err, &network):
		return network.Op != "listen"
	case errors.As(err, &call): // of a connection's check: files have errors of another type
		return call.Syscall == "read" || call.Syscall == "write"
	case errors.As(err, &server):
		return !errors.Is(err, redis.Nil)
	}
	return errors.As(err, new(*net.DNSError)) || errors.As(err, new(*tls.CertificateVerificationError)) ||
		errors.As(err, new(tls.RecordHeaderError)) || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, redis.ErrPoolTimeout) || sentinels(err) != nil
}

// root makes the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "lanekeeper",
		Short: "Background jobs that run one at a time per subject",
		Long: `Lanekeeper runs background jobs one at a time per subject. All jobs of one
subject (build:17, artifact:42) form a lane, first in, first out; a worker touches
a subject only while it holds that subject's lease in Redis; different subjects run
in parallel.

Start with 'lanekeeper demo', which needs nothing else.`,
		Version:       thisBuild().text(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w\nSee '%s --help'.", err, cmd.CommandPath())
	})
	a.addGlobalFlags(root)
	for _, c := range []*cobra.Command{
		a.demoCommand(), a.devCommand(), a.enqueueCommand(), a.workCommand(), a.laneCommand(),
		a.jobCommand(), a.kindCommand(), a.execCommand(), a.deadCommand(), a.workerCommand(), a.statsCommand(), a.doctorCommand(), a.whyCommand(), a.namespaceCommand(), a.exportCommand(), a.importCommand(), a.migrateCommand(), a.logCommand(), a.holdCommand(), a.releaseCommand(),
		a.versionCommand(),
	} {
		root.AddCommand(c)
	}
	root.AddCommand(&cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodesHelp})
	// Names of files are no subjects, kinds or ids: no command but exec takes a file's name.
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	a.addCompletion(root)
	noteUsage(root)
	return root
}

// fileNames completes the value of a flag that names a file. All others are none.
func fileNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// noteUsage makes wrong arguments usage errors in every command of a tree.
func noteUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usage("%w\nSee '%s --help'.", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		noteUsage(c)
	}
}
