package main

// fromUsers are defects in what is made of code, rights and bad jobs of users.
var fromUsers = []defect{
	{
		"an error of the user's is asked where a panic is everybody's", "worker/verdict.go",
		`if cause := recover(); cause != nil { // of middleware, or of a batch`, `if cause := any(nil); cause != nil {`,
	},
	{
		"an error that panics takes the other errors of its batch with it", "worker/verdict.go",
		`if panicked := safely(func() { v.text = err.Error() }); panicked != "" {`, `if v.text = err.Error(); false {
		panicked := ""`,
	},
	{
		"who says something waits for the Logger", "worker/scribe.go",
		`	if s.writing.CompareAndSwap(false, true) {
		go s.write()
	}
}

// laid`, `	if s.writing.CompareAndSwap(false, true) {
		s.write()
	}
}

// laid`,
	},
	{
		"nobody is told that lines are missing", "worker/scribe.go",
		`if n := s.missing.Swap(0); n > 0 {`, `if n := s.missing.Load(); n < 0 {`,
	},
	{
		"a renewal that panics ends the process", "lease/keeper.go",
		`	defer func() { panicked = recover() }()
`, ``,
	},
	{
		"bad jobs blame all workers", "worker/blame.go",
		`	if finished <= c.others {`, `	if finished < c.others {`,
	},
	{
		"the last worker of a kind is blamed", "dispatcher/session/blame.go",
		`	case !others:`, `	case !others && false:`,
	},
	{
		"who is blamed looks before it has said so", "dispatcher/session/blame.go",
		`	err := s.Beat(ctx)
	others := false
	if err == nil {
		others, err = s.othersTake(ctx, kind)
	}
`, `	others, err := s.othersTake(ctx, kind)
	if err == nil {
		err = s.Beat(ctx)
	}
`,
	},
	{
		"a blame is for all kinds", "dispatcher/session/blame.go",
		`return s.blame.why[kind] != "" })`, `return len(s.blame.why) > 0 })`,
	},
	{
		"a blame never ends", "worker/blame.go",
		`	case !now.Before(c.probe):`, `	case false:`,
	},
	{
		"a probe takes all there is", "dispatcher/session/session.go",
		`one.Want, one.InHand = 1, nil`, `one.Want, one.InHand = 100, nil`,
	},
	{
		"who is blamed keeps a wake-up to itself", "dispatcher/session/session.go",
		`	if !own(woken.Key) {`, `	if false {`,
	},
	{
		"a kind whose workers are all blamed has workers", "dispatcher/inspect/whylane.go",
		`|| slices.ContainsFunc(f.workers, func(o session.Worker) bool { return o.Takes(l.Kind) }) {`, `|| f.handled(l.Kind) {`,
	},
	{
		"all of CONFIG travels to whoever examines lanes", "dispatcher/doctor/server.go",
		`rdb.ConfigGet(ctx, name)`, `rdb.ConfigGet(ctx, "*")`,
	},
	{
		"a server that evicts is opened", "dispatcher/internal/lanes/namespace.go",
		`InfoField(memory, "maxmemory"), InfoField(memory, "maxmemory_policy"); Evicts`, `InfoField(memory, "maxmemory"), InfoField(memory, "maxmemory-policy"); Evicts`,
	},
	{
		"a reader may ask for the passwords of Redis", "docs/operations.md",
		"+info|persistence\n```", "+info|persistence +config|get\n```",
	},
	{
		"a producer may cut the namespace otherwise", "docs/operations.md",
		"user producer on >change-me resetchannels &{lanekeeper:* ~{lanekeeper:* %R~{lanekeeper}:*", "user producer on >change-me resetchannels &{lanekeeper:* ~{lanekeeper:* ~{lanekeeper}:*",
	},
	{
		"a transaction that was not taken does not say why", "internal/connect/atomic.go",
		`if !redis.HasErrorPrefix(err, "EXECABORT") {`, `if true {`,
	},
	{
		"who may not list keys can't examine lanes", "dispatcher/doctor/survey.go",
		`	if redis.HasErrorPrefix(err, "NOPERM") {`, `	if false {`,
	},
}
