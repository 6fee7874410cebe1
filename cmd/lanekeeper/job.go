package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
)

// jobView is a job as the CLI shows it.
type jobView struct {
	ID           string            `json:"id"`
	Subject      string            `json:"subject"`
	Kind         string            `json:"kind"`
	Seq          int64             `json:"seq"`
	Attempt      int               `json:"attempt"`
	MaxAttempts  int               `json:"max_attempts"`
	State        string            `json:"state"`
	EnqueuedAt   *time.Time        `json:"enqueued_at,omitempty"`
	RunAt        *time.Time        `json:"run_at,omitempty"`
	Token        string            `json:"token,omitempty"`
	Holder       string            `json:"holder,omitempty"`
	ExpiresAt    *time.Time        `json:"expires_at,omitempty"`
	DiedAt       *time.Time        `json:"died_at,omitempty"`
	Reason       string            `json:"reason,omitempty"`
	Error        string            `json:"error,omitempty"`
	Timeout      string            `json:"timeout,omitempty"`
	Headers      map[string]string `json:"headers,omitempty"`
	PayloadBytes int               `json:"payload_bytes"`
	Payload      *string           `json:"payload,omitempty"`
}

func viewJob(j dispatcher.JobInfo, payload bool) jobView {
	v := jobView{
		ID: j.ID, Subject: j.Subject.String(), Kind: j.Kind, Seq: j.Seq, Attempt: j.Attempt,
		MaxAttempts: j.MaxAttempts, State: string(j.State), EnqueuedAt: optional(j.EnqueuedAt),
		RunAt: optional(j.RunAt), Holder: j.Holder, ExpiresAt: optional(j.ExpiresAt),
		DiedAt: optional(j.DiedAt), Reason: j.Reason, Error: j.Error, Headers: j.Headers,
		PayloadBytes: len(j.Payload),
	}
	if j.Token != 0 {
		v.Token = j.Token.String()
	}
	if j.Timeout > 0 {
		v.Timeout = j.Timeout.String()
	}
	if payload {
		text := string(j.Payload)
		v.Payload = &text
	}
	return v
}

func viewJobs(jobs []dispatcher.JobInfo, payload bool) []jobView {
	views := make([]jobView, len(jobs))
	for i, j := range jobs {
		views[i] = viewJob(j, payload)
	}
	return views
}

func jobID(j jobView) string { return j.ID }

// jobColumns are the columns of lists of jobs.
var jobColumns = []column[jobView]{
	{"ID", false, jobID},
	{"KIND", false, func(j jobView) string { return j.Kind }},
	{"SEQ", false, func(j jobView) string { return fmt.Sprint(j.Seq) }},
	{"STATE", false, func(j jobView) string { return j.State }},
	{"ATTEMPT", false, func(j jobView) string { return fmt.Sprintf("%d/%d", j.Attempt, j.MaxAttempts) }},
	{"ENQUEUED (UTC)", false, func(j jobView) string { return clock(j.EnqueuedAt) }},
	{"ERROR", false, func(j jobView) string { return j.Error }},
	{"PAYLOAD BYTES", true, func(j jobView) string { return itoa(j.PayloadBytes) }},
	{"HOLDER", true, func(j jobView) string { return j.Holder }},
	{"TOKEN", true, func(j jobView) string { return j.Token }},
}

func (a *app) jobCommand() *cobra.Command {
	cmd := group("job", "Look at jobs")
	var payload bool
	show := &cobra.Command{
		Use:   "show ID",
		Short: "Show one job",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			job, err := d.Job(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			v := viewJob(job, payload)
			return a.show(v, jobFields(v))
		},
	}
	show.Flags().BoolVar(&payload, "payload", false, "show the payload too")
	cmd.AddCommand(show)
	return cmd
}

func jobFields(v jobView) [][]string {
	var headers []string
	for _, k := range slices.Sorted(maps.Keys(v.Headers)) {
		headers = append(headers, k+"="+v.Headers[k])
	}
	fields := [][]string{
		{"id", v.ID}, {"subject", v.Subject}, {"kind", v.Kind}, {"state", v.State},
		{"seq", fmt.Sprint(v.Seq)}, {"attempt", fmt.Sprintf("%d of %d", v.Attempt, v.MaxAttempts)},
		{"enqueued", clock(v.EnqueuedAt)}, {"run at", clock(v.RunAt)},
		{"holder", v.Holder}, {"token", v.Token}, {"lease ends", clock(v.ExpiresAt)},
		{"died", clock(v.DiedAt)}, {"reason", v.Reason}, {"error", v.Error},
		{"timeout", v.Timeout}, {"headers", strings.Join(headers, " ")},
		{"payload bytes", itoa(v.PayloadBytes)},
	}
	if v.Payload != nil {
		fields = append(fields, []string{"payload", *v.Payload})
	}
	return fields
}

// group makes a command that only holds others: 'lane', 'job', 'dead', 'worker'.
func group(use, short string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return usage("name one of the commands of '%s'", cmd.CommandPath())
		},
	}
}
