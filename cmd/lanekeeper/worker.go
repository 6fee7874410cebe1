package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

var workerColumns = []column[session.Worker]{
	{"HOLDER", false, func(w session.Worker) string { return w.Holder }},
	{"STATE", false, workerState},
	{"KINDS", false, func(w session.Worker) string { return strings.Join(w.Kinds, ",") }},
	{"CONCURRENCY", false, func(w session.Worker) string { return itoa(w.Concurrency) }},
	{"STARTED (UTC)", false, func(w session.Worker) string { return clock(&w.StartedAt) }},
	{"SEEN (UTC)", false, func(w session.Worker) string { return clock(&w.SeenAt) }},
	{"NOTE", false, func(w session.Worker) string { return strings.Join(w.Why(), "; ") }},
	{"LEASE TTL", true, func(w session.Worker) string { return w.LeaseTTL }},
	{"POOL", false, func(w session.Worker) string { return w.Pool }},
	{"HOST", true, func(w session.Worker) string { return w.Host }},
	{"PID", true, func(w session.Worker) string { return itoa(w.PID) }},
}

func workerState(w session.Worker) string {
	if w.Alive && len(w.Blamed) > 0 {
		return "blamed"
	}
	if w.Alive {
		return "alive"
	}
	return "silent since " + w.SeenAt.Format(time.TimeOnly)
}

func (a *app) workerCommand() *cobra.Command {
	cmd := group("worker", "Look at workers")
	cmd.AddCommand(&cobra.Command{
		Use:   "ls",
		Short: "List worker processes seen within the last hour",
		Long: `Lists worker processes that gave a sign of life within the last hour. One counts as
alive for 15 s after its last sign; its leases end on their own, whatever this list says.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			workers, err := session.Workers(cmd.Context(), d)
			if err != nil {
				return err
			}
			if len(workers) == 0 {
				a.note("No workers. Start one with 'lanekeeper work --handle KIND=PROGRAM'.")
			}
			return list(a, workers, func(w session.Worker) string { return w.Holder }, workerColumns)
		},
	})
	return cmd
}
