// Package testdata ships the trace that the demo replays. The stories beside it
// (*.txt) are replayed by dispatcher_test.go in the folder above.
package testdata

import _ "embed"

// TraceName says where Trace comes from.
const TraceName = "trace_cratesio_git_2026.csv"

// Trace is the git history of crates.io in 2026 by file path: "unix_ts,subject",
// 8,422 events on 1,936 subjects, of which the ten busiest hold 30 %.
//
//go:embed trace_cratesio_git_2026.csv
var Trace []byte
