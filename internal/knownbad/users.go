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
}
