package main

import (
	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
)

var findingColumns = []column[dispatcher.Finding]{
	{"SEVERITY", false, func(f dispatcher.Finding) string { return f.Severity }},
	{"WHAT", false, func(f dispatcher.Finding) string { return f.What }},
	{"WHERE", false, func(f dispatcher.Finding) string { return f.Where }},
	{"DETAIL", false, func(f dispatcher.Finding) string { return f.Detail }},
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Recompute every index from the lanes and list what disagrees",
		Long: `Recomputes every index from the lanes, partition by partition, and lists what
disagrees; and server settings that lose data. A disagreement seen while jobs move is
looked at again in one atomic step before it is reported.

Ends with 4 when something is wrong. Warnings about settings do not count.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			bar := a.progress("partitions checked:", d.Namespace().Partitions)
			findings, err := d.Doctor(cmd.Context(), bar.at)
			bar.done()
			if err != nil {
				return err
			}
			if err := list(a, findings, func(f dispatcher.Finding) string { return f.Where }, findingColumns); err != nil {
				return err
			}
			wrong := 0
			for _, f := range findings {
				if f.Severity == dispatcher.Wrong {
					wrong++
				}
			}
			if wrong > 0 {
				a.note("%d things are wrong.", wrong)
				return falseError{}
			}
			a.note("%s", a.green("All indexes agree with the lanes."))
			return nil
		},
	}
}
