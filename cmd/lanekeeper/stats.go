package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
)

func (a *app) statsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "Show totals: jobs, lanes by state, kinds and their workers",
		Long: `Shows totals. "leased" counts subjects that are held: by jobs, by sections ('exec'), and
slots of limits among them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			s, err := inspect.New(d).Stats(cmd.Context())
			if err = a.partly(err, true); err != nil {
				return err
			}
			if err := a.show(s, [][]string{
				{"jobs in lanes", itoa(s.InLanes)}, {"jobs scheduled", itoa(s.Scheduled)},
				{"dead letters", itoa(s.Dead)}, {"lanes", itoa(s.Lanes)}, {"  ready", itoa(s.Ready)},
				{"  leased", itoa(s.Leased)}, {"  delayed", itoa(s.Delayed)}, {"  suspended", itoa(s.Suspended)},
				{"outcomes kept", fmt.Sprintf("%d, %d bytes", s.Outcomes, s.OutcomeBytes)}, {"windows kept", itoa(s.Windows)},
				{"partitions", itoa(s.Partitions)},
			}); err != nil {
				return err
			}
			if a.machine() || len(s.Kinds) == 0 {
				return nil
			}
			ready := make(map[string]int)
			for kind, k := range s.Kinds {
				ready[kind] = k.Ready
			}
			why, err := inspect.New(d).WhyKinds(cmd.Context(), ready)
			if err = a.partly(err, true); err != nil {
				return err
			}
			a.say("")
			cells := [][]string{{"KIND", "READY LANES", "WORKERS", "NOTE"}}
			for _, kind := range slices.Sorted(maps.Keys(s.Kinds)) {
				k, note := s.Kinds[kind], why[kind].Text
				if k.Blamed > 0 && !why[kind].Stuck {
					note = strings.TrimSpace(fmt.Sprintf("%d of %d workers are blamed. %s", k.Blamed, k.Workers, note))
				}
				cells = append(cells, []string{kind, itoa(k.Ready), itoa(k.Workers), note})
			}
			return a.table(cells)
		},
	}
}
