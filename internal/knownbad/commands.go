package main

// fromCommands are defects in what the binary does with bytes, signals, pipes and ends.
var fromCommands = []defect{
	{
		"all scripts are put together before main", "internal/script/script.go",
		`lua: sync.OnceValue(func() source {
		return put(own, shared...)
	})}`, `lua: func() func() source {
		made := put(own, shared...)
		return func() source { return made }
	}()}`,
	},
	{
		"JSON: bytes that are not UTF-8 become U+FFFD (golang/go#51094)", "cmd/lanekeeper/line.go",
		`	if !utf8.Valid(text) {
		return errors.New("has bytes`, `	if false {
		return errors.New("has bytes`,
	},
	{
		"JSON: halves of surrogate pairs become U+FFFD", "cmd/lanekeeper/line.go",
		`if !ok || !utf16.IsSurrogate(r) {`, `if !ok || utf16.IsSurrogate(r) || true {`,
	},
	{
		"JSON: of a field that is there twice the last one counts", "cmd/lanekeeper/line.go",
		`if seen[same(f.name)] {`, `if false {`,
	},
	{
		"the mark of UTF-8 at the start of a file is part of it", "cmd/lanekeeper/input.go",
		`bytes.TrimPrefix(line, []byte("\ufeff"))`, `bytes.TrimPrefix(line, nil)`,
	},
	{
		"ids are printed as they are (felixmosh/bull-board#375)", "subject/id.go",
		`func IDText(id string) string { return part(id, "") }`, `func IDText(id string) string { return id }`,
	},
	{
		"ids look like flags", "subject/id.go",
		` && !strings.HasPrefix(s, "-") {`, ` {`,
	},
	{
		"-q prints what a shell takes apart", "cmd/lanekeeper/ids.go",
		`return subject.IDWord(id)`, `return subject.IDText(id)`,
	},
	{
		"ids stand in the log as they are", "cmd/lanekeeper/log.go",
		`attr.Key == "job"`, `attr.Key == "id"`,
	},
	{
		"headers that JSON can't carry are changed", "cmd/lanekeeper/program.go",
		`if utf8.ValidString(k) && utf8.ValidString(v) {`, `if utf8.ValidString(k) {`,
	},
	{
		"an error's text loses what looks like a package", "cmd/lanekeeper/message.go",
		`strings.CutPrefix(said, name+": "); found {`, `strings.ReplaceAll(said, name+": ", ""), true; found && text != said {`,
	},
	{
		"a broken log pipe ends the worker (prometheus/node_exporter#587)", "cmd/lanekeeper/signals.go",
		`func (s *signals) outlivePipes() { signal.Notify(s.pipes, syscall.SIGPIPE) }`, `func (s *signals) outlivePipes() {}`,
	},
	{
		"what a worker starts does not die of a broken pipe", "cmd/lanekeeper/signals.go",
		`signal.Notify(s.pipes, syscall.SIGPIPE)`, `signal.Ignore(syscall.SIGPIPE)`,
	},
	{
		"a pool that is told to stop while it joins has failed (python-arq/arq#501)", "worker/run.go",
		`	if err != nil && ctx.Err() != nil {
		return false, nil`, `	if err != nil && ctx.Err() != nil {
		return false, fmt.Errorf("start pool: %w", err)`,
	},
	{
		"a worker that is told to stop while it connects has failed", "cmd/lanekeeper/work.go",
		`	if cmd.Context().Err() != nil {
		return nil
	}
`, ``,
	},
	{
		"a hang-up is a crash (delayed_job#1178)", "cmd/lanekeeper/signals.go",
		`syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}`, `syscall.SIGINT, syscall.SIGTERM}`,
	},
	{
		"every signal ends with the same code", "cmd/lanekeeper/signals.go",
		`return 128 + int(i.signal)`, `return 130`,
	},
	{
		"standard input is read until its end, whatever signals come (exoscale/egoscale#236)", "cmd/lanekeeper/input.go",
		`		case <-in.ctx.Done():
			in.err`, `		case <-(chan struct{})(nil):
			in.err`,
	},
	{
		"lines wait until a batch is full (datalust/seqcli#33)", "cmd/lanekeeper/feed.go",
		`f.due.Reset(soon)`, `f.due.Reset(time.Hour)`,
	},
	{
		"half a line counts as one when the command is interrupted", "cmd/lanekeeper/input.go",
		`case errors.Is(l.err, io.EOF) && (`, `case l.err != nil && (`,
	},
	{
		"standard input is kept whole, however large", "cmd/lanekeeper/input.go",
		`io.LimitReader(in, int64(most)+1)`, `io.LimitReader(in, 1<<40)`,
	},
	{
		"output that can't be written is no failure (uutils/coreutils#9782)", "cmd/lanekeeper/main.go",
		`if err == nil && a.out.failed != nil {`, `if false {`,
	},
	{
		"every errno says that Redis is away (civitai/cli#241)", "cmd/lanekeeper/main.go",
		`errors.As(err, new(*net.DNSError))`, `errors.As(err, new(net.Error))`,
	},
	{
		"what is too large is no mistake in the command", "cmd/lanekeeper/main.go",
		`, errors.Is(err, dispatcher.ErrTooLarge), errors.Is(err, dispatcher.ErrAmbiguous):`, `, errors.Is(err, dispatcher.ErrAmbiguous):`,
	},
	{
		"exec: a command that is not there is a usage error", "cmd/lanekeeper/exec.go",
		`code = exitNoSuch`, `code = exitUsage`,
	},
	{
		"exec: signals end the section instead of going to the command", "cmd/lanekeeper/exec.go",
		`.take(passed.hear, `, `.take(nil, `,
	},
	{
		"exec: a terminal's keys are lanekeeper's and not the command's (sashahart/vex#29)", "cmd/lanekeeper/exec.go",
		`cmd.SysProcAttr.Ctty = tty.foreground() == tty.own, int(tty.Fd())`, `cmd.SysProcAttr.Ctty = false, int(tty.Fd())`,
	},
	{
		"exec: a wait that is over does not say for whom it was", "cmd/lanekeeper/exec.go",
		`return ": held by " + lane.Holder`, `return ""`,
	},
	{
		"zombies pile up under PID 1 (openabdev/openab#436)", "cmd/lanekeeper/system_linux.go",
		`if os.Getpid() != 1 && subreaper == 0 {`, `if true {`,
	},
	{
		"PID 1 takes the ends of its own programs away", "cmd/lanekeeper/system_linux.go",
		`if pid > 0 && !own {`, `if pid > 0 {`,
	},
	{
		"0 attempts are the default (azkaban/azkaban#2263)", "cmd/lanekeeper/enqueue.go",
		`case f.Changed("max-attempts") && (`, `case false && (`,
	},
	{
		"a stop timeout of 0 is the default", "cmd/lanekeeper/work.go",
		`stopTimeout = 1 //`, `stopTimeout = 0 //`,
	},
	{
		"a timeout under a millisecond is none", "dispatcher/job.go",
		`case j.Timeout > 0 && j.Timeout < time.Millisecond:`, `case false:`,
	},
	{
		"a declared timeout under a millisecond is none", "dispatcher/kind.go",
		`case k.Timeout > 0 && k.Timeout < time.Millisecond:`, `case false:`,
	},
	{
		"a declared subject that is not UTF-8 is stored as another", "dispatcher/kind.go",
		`if !utf8.ValidString(text) {`, `if false && utf8.ValidString(text) {`,
	},
	{
		"a window under a millisecond is none", "dispatcher/unique.go",
		`case u.Window > 0 && u.Window < time.Millisecond:`, `case false:`,
	},
	{
		"1.5 in a work.yaml is 1", "cmd/lanekeeper/config.go",
		`if !isNumber {`, `if false {`,
	},
	{
		"Sentinels get no password (rq/django-rq#354)", "internal/connect/connect.go",
		`SentinelPassword: password,`, `SentinelPassword: password[:0],`,
	},
	{
		"what is wrong with an address' parameters is not said", "internal/connect/connect.go",
		`"://localhost/0" + query); err != nil {`, `"://localhost/0" + query); err != nil && false {`,
	},
	{
		"an error shows what stands behind a ? in a password", "internal/connect/connect.go",
		`if strings.Contains(path, "@") {`, `if false {`,
	},
	{
		"a # in a password makes another host of it", "internal/connect/connect.go",
		`case strings.Contains(address, "#"):`, `case false:`,
	},
	{
		"TLS to a plain port is not said to be that", "cmd/lanekeeper/main.go",
		`case line != "" && tls:`, `case false && tls:`,
	},
	{
		"what is over is shown as still to come", "cmd/lanekeeper/output.go",
		`	case t.After(now):
		return ends`, `	case t != nil:
		return ends`,
	},
	{
		"the id of a dead letter swallows new jobs (OptimalBits/bull#1828)", "cmd/lanekeeper/enqueue.go",
		`err == nil && dead {`, `err == nil && dead && false {`,
	},
	{
		"a program waits for the subject that its own job holds", "cmd/lanekeeper/held.go",
		`if line == a.held(key) {`, `if line == "" && line == a.held(key) {`,
	},
	{
		"shown fields are JSON in JSON", "cmd/lanekeeper/job.go",
		`fields[name] = json.RawMessage(strings.ToValidUTF8(value, "\ufffd"))`, `fields[name], _ = json.Marshal(value)`,
	},
	{
		"a panic's stack is a line of a table", "cmd/lanekeeper/job.go",
		`return firstLine(j.Error)`, `return j.Error`,
	},
	{
		"a log in JSON has lines that are not", "cmd/lanekeeper/log.go",
		`slog.New(slog.NewJSONHandler(escaped{a.err}, options))`, `slog.New(slog.NewTextHandler(a.err, options))`,
	},
	{
		"go-redis's lines are nowhere", "cmd/lanekeeper/log.go",
		`redisLog.to.Store(a.log)`, `redisLog.to.Store(nil)`,
	},
	{
		"subjects are completed with names of files", "cmd/lanekeeper/main.go",
		`SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)`, `SetDefaultShellCompDirective(cobra.ShellCompDirectiveDefault)`,
	},
	{
		"H10: the command of exec has no group of its own on a terminal", "cmd/lanekeeper/groups.go",
		`	if err := start(cmd); err != nil {`, `	if cmd.SysProcAttr.Foreground {
		cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Setpgid = false, false
	}
	if err := start(cmd); err != nil {`,
	},
	{
		"H10: what a command leaves behind holds on", "cmd/lanekeeper/program.go",
		`	_ = syscall.Kill(-leader, syscall.SIGKILL)
	<-ended`, `	<-ended`,
	},
	{
		"H11: Ctrl-Z stops the worker and not its programs", "cmd/lanekeeper/groups.go",
		`syscall.Kill(-leader, syscall.SIGSTOP)`, `leader`,
	},
	{
		"H11: programs that were stopped stay so", "cmd/lanekeeper/groups.go",
		`_ = syscall.Kill(-leader, signal)`, `_, _ = leader, signal`,
	},
	{
		"H11: nobody ends the programs of a worker that stands still", "cmd/lanekeeper/guard.go",
		`if boot.Now() < one.until {`, `if one.until != 0 {`,
	},
	{
		"H11: a worker that is stopped while it starts a program has told nobody", "cmd/lanekeeper/groups.go",
		`defer s.untellLocked(unborn)`, `s.untellLocked(unborn)`,
	},
	{
		"H11: the guard ends only what it was told of", "cmd/lanekeeper/guard.go",
		`leaders = born(one.since, parent, groups)`, `leaders = nil`,
	},
	{
		"H11: what ran before is ended for what was not told of", "cmd/lanekeeper/system_linux.go",
		`time.Duration(ticks+1)*tick > since`, `ticks >= 0`,
	},
	{
		"H11: what programs have started outlives a dead worker", "cmd/lanekeeper/guard.go",
		`			for leader := range groups {
				_ = syscall.Kill`, `			for leader := range map[int]bool{} {
				_ = syscall.Kill`,
	},
	{
		"H11: a guard that is killed is missed by nobody", "cmd/lanekeeper/groups.go",
		`		for leader, one := range s.all {
			one.told = 0`, `		for leader, one := range map[int]*program{} {
			one.told = 0`,
	},
	{
		"H11: of two leases the longer counts", "lease/until.go",
		`one.Before(end)`, `one.After(end)`,
	},
	{
		"H20: a wall clock that is set forward ends all work", "lease/keeper.go",
		`	return !now.at.Add(now.slept - h.proven.slept).Before(t)`,
		`	return !now.at.Add(now.slept-h.proven.slept).Before(t) || !now.at.Round(0).Before(t.Round(0))`,
	},
	{
		"H20: work goes on after its machine slept through the lease", "lease/keeper.go",
		`now.at.Add(now.slept - h.proven.slept)`, `now.at`,
	},
	{
		"H20: a suspension between a claim and its reply is not seen", "lease/keeper.go",
		`moment{l.Proven, now.slept - asleep}`, `moment{l.Proven, now.slept - 0*asleep}`,
	},
	{
		"H4: programs inherit the address of Redis", "cmd/lanekeeper/held.go",
		`case heldVariable, redisVariable, redisFileVariable, namespaceVariable:`, `case heldVariable, namespaceVariable:`,
	},
	{
		"H4: --pass-redis passes nothing", "cmd/lanekeeper/address.go",
		`case !a.passRedis:`, `case a.passRedis || !a.passRedis:`,
	},
	{
		"H4: passwords that programs print are kept", "cmd/lanekeeper/program.go",
		`text := t.secrets.mask(t.rest + string(p))`, `text := t.rest + string(p)`,
	},
	{
		"H4: a password that comes in pieces is kept", "cmd/lanekeeper/program.go",
		`len(text)-max(0, t.secrets.longest()-1))`, `len(text))`,
	},
	{
		"H4: others may read the file with the address", "cmd/lanekeeper/address.go",
		`case info.Mode().Perm()&0o077 != 0:`, `case false:`,
	},
	{
		"H4: dev prints its password", "cmd/lanekeeper/dev.go",
		`a.welcome(file, `, `a.welcome(file+" "+server.URL(), `,
	},
	{
		"H19: programs are not told their namespace", "cmd/lanekeeper/address.go",
		`env := []string{namespaceVariable + "=" + a.namespace}`, `var env []string`,
	},
	{
		"H19: a command in a program goes to the default server", "cmd/lanekeeper/app.go",
		`if address == "" && withinProgram() {`, `if false {`,
	},
	{
		"H4: what commands in a program know of the server is made of its password", "cmd/lanekeeper/held.go",
		`defaultRedis)))`, `defaultRedis)) + a.redis.url)`,
	},
	{
		"H4: passwords stand in logs", "cmd/lanekeeper/log.go",
		`slog.StringValue(a.redis.secrets.mask(text))`, `slog.StringValue(text)`,
	},
	{
		"H20: marks that turn the direction of writing act in tables", "cmd/lanekeeper/screen.go",
		`		if !unicode.IsPrint(r) {
			return ' '`, `		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '`,
	},
	{
		"H20: remarks print what they are told", "cmd/lanekeeper/screen.go",
		`		case string:
			shown[i] = a.clean(v)`, `		case string:
			shown[i] = v`,
	},
	{
		"H20: JSON has control characters as they are", "cmd/lanekeeper/screen.go",
		`escaped{a.out}.Write(`, `a.out.Write(`,
	},
	{
		"H20: a log in JSON has control characters as they are", "cmd/lanekeeper/log.go",
		`slog.NewJSONHandler(escaped{a.err}, options)`, `slog.NewJSONHandler(a.err, options)`,
	},
	{
		"H20: hints go by what a user wrote", "cmd/lanekeeper/main.go",
		`answered && strings.Contains(answer.Error(), text)`, `strings.Contains(err.Error(), text)`,
	},
	{
		"H20: a message takes a user's word for its cause", "cmd/lanekeeper/message.go",
		`case strings.Count(text, cause) == 1:`, `case strings.Contains(text, cause):`,
	},
	{
		"H20: a message loses a user's word at its beginning", "cmd/lanekeeper/message.go",
		`	if !named(err) {`, `	if named(err) && false {`,
	},
	{
		"H20: \\n in quotes of a program is n", "cmd/lanekeeper/words.go",
		`if quote == '"' && !strings.ContainsRune(`, `if quote == 'x' && !strings.ContainsRune(`,
	},
	{
		"H20: what a shell would expand stays without a word", "cmd/lanekeeper/words.go",
		`if expands && stays == "" {`, `if expands && stays != "" {`,
	},
	{
		"H20: payloads can be tried out", "cmd/lanekeeper/job.go",
		`[]byte(digestKey())`, `[]byte(digestKey()[:0])`,
	},
	{
		"H10: a command that reads in the background stops alone", "cmd/lanekeeper/exec.go",
		`	stopTogether()
	p.app.groups.halt(func()`, `	if p.tty.foreground() != leader {
		return
	}
	stopTogether()
	p.app.groups.halt(func()`,
	},
	{
		"H10: a command that is stopped does not hear that it is to end", "cmd/lanekeeper/exec.go",
		`if slices.Contains(ending, os.Signal(signal)) {`, `if false {`,
	},
}
