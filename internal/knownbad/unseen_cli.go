package main

// unseenCLI are defects of the command line that no test saw once: of several lines, ids and pages, of
// calls that are filled, and of ends.
var unseenCLI = []defect{
	{
		"--from names a wrong line for the second refused job of a call", "cmd/lanekeeper/feed.go",
		`append(f.batch, batch[i]), append(f.lines, lines[i])`, `append(f.batch, batch[i]), append(f.lines, lines[len(f.lines)])`,
	},
	{
		"--from puts more jobs into a call than it may have", "cmd/lanekeeper/feed.go",
		`if len(f.batch) == batchJobs ||`, `if len(f.batch) == 2*batchJobs ||`,
	},
	{
		"--from puts more bytes into a call than it may have", "cmd/lanekeeper/feed.go",
		`f.bytes+len(job.Payload) > batchBytes`, `f.bytes > batchBytes`,
	},
	{
		"--from leaves room in calls", "cmd/lanekeeper/feed.go",
		`f.bytes+len(job.Payload) > batchBytes`, `f.bytes+len(job.Payload) >= batchBytes`,
	},
	{
		"dead replay --front of several ids reverses their order", "cmd/lanekeeper/dead.go",
		`		if front {
			x, y = y, x
		}
`, ``,
	},
	{
		"dead replay takes several ids in the order in which they are named", "cmd/lanekeeper/dead.go",
		`		return cmp.Compare(seq[x], seq[y])`, `		return cmp.Compare(x.ID[:0], y.ID[:0])`,
	},
	{
		"an id that is not there keeps a command from those behind it", "cmd/lanekeeper/dead.go",
		`[]error{dispatcher.ErrNotFound, dispatcher.ErrTaken,`, `[]error{dispatcher.ErrTaken,`,
	},
	{
		"an interrupted command ends with 1, not 130", "cmd/lanekeeper/main.go",
		`errors.As(context.Cause(ctx), &signal) && errors.Is(err, context.Canceled)`, `errors.As(err, &signal)`,
	},
	{
		"a list shows part of a batch of HSCAN and goes on behind it", "dispatcher/inspect/lanes.go",
		`return step[:room], cursor{at.partition, rank(step[room-1]), at.place}, nil`, `return step[:room], cursor{at.partition, 0, part.Next}, nil`,
	},
	{
		"a list of lanes shows a batch in Redis's order, which changes", "dispatcher/inspect/lanes.go",
		`cmp.Compare(rank(a), rank(b))`, `cmp.Compare(0*rank(a), 0*rank(b))`,
	},
	{
		"a list begins a batch of HSCAN again that it had shown in part", "dispatcher/inspect/lanes.go",
		`if rank(part.Found[i]) > at.list {`, `if rank(part.Found[i]) > 0 {`,
	},
	{
		"an outage is told as a failure", "cmd/lanekeeper/main.go",
		`	case errors.Is(err, dispatcher.ErrUnavailable):
		return true
`, `	case errors.Is(err, dispatcher.ErrUnavailable):
		return false
`,
	},
	{
		"a job is said to be replayed before it is", "cmd/lanekeeper/dead.go",
		`		instead, err := do(ref)
`, `		a.say("%s %s", idWord(id), what)
		instead, err := do(ref)
`,
	},
	{
		"exec that finds its subject held ends as if it had failed", "cmd/lanekeeper/exec.go",
		`exitBusy     = 75`, `exitBusy     = 1`,
	},
	{
		"a server that is not there is a failure of the command", "cmd/lanekeeper/main.go",
		`	case redisAway(err):
		return exitNoRedis`, `	case redisAway(err):
		return exitFailed`,
	},
}
