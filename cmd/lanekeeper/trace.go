package main

import (
	"context"
	"encoding/csv"
	"io"
	"strings"

	"github.com/lanekeeper/lanekeeper/testdata"
)

// event is one line of a trace and its place among those of its subject.
type event struct {
	subject string
	seq     int
}

// events reads the trace that --trace names, or the one that is shipped, as many events
// as --jobs asks for.
func (d *demo) events(ctx context.Context) ([]event, error) {
	var source io.Reader = strings.NewReader(string(testdata.Trace))
	name := testdata.TraceName
	if d.trace != "" {
		source, name = inputFrom(ctx, d.trace), "--trace "+d.trace
	}
	if d.jobs < 0 {
		return nil, usage("--jobs %d must not be negative", d.jobs)
	}
	rows, err := csv.NewReader(source).ReadAll()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, usage("%s: %w", name, err)
	}
	if len(rows) < 2 || len(rows[0]) < 2 || rows[0][1] != "subject" {
		return nil, usage("%s: must have the header 'unix_ts,subject' and at least one event", name)
	}
	rows = rows[1:]
	if d.jobs == 0 {
		d.jobs = len(rows)
	}
	events := make([]event, d.jobs)
	for i := range events {
		events[i] = event{subject: rows[i%len(rows)][1], seq: i}
		if events[i].subject == "" || len(events[i].subject) > 500 {
			return nil, usage("%s: line %d: the subject must have 1 to 500 bytes", name, 2+i%len(rows))
		}
	}
	return events, nil
}
