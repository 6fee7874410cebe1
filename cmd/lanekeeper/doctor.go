package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/doctor"
)

var findingColumns = []column[doctor.Finding]{
	{"SEVERITY", false, func(f doctor.Finding) string { return f.Severity }},
	{"WHAT", false, func(f doctor.Finding) string { return f.What }},
	{"WHERE", false, func(f doctor.Finding) string { return f.Where }},
	{"DETAIL", false, func(f doctor.Finding) string { return f.Detail }},
}

var mendedColumns = []column[doctor.Repair]{
	{"WHAT", false, func(m doctor.Repair) string { return m.What }},
	{"WHERE", false, func(m doctor.Repair) string { return m.Where }},
	{"DID", false, func(m doctor.Repair) string { return m.Did }},
}

func (a *app) doctorCommand() *cobra.Command {
	var fix bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Recompute every index from the lanes, list what disagrees, and mend it with --fix",
		Long: `Recomputes every index from the lanes, partition by partition, and lists what
disagrees; lanes that stand still, and why; and server settings that lose data. A
disagreement seen while jobs move is looked at again in one atomic step before it is
reported.

With --fix it makes the indexes agree with the lanes again and lists what it did. No
job is thrown away: one that has no place in any lane, or can't be read, becomes a dead
letter with the reason lost+found ('lanekeeper dead ls'). Workers may go on meanwhile,
and what is whole is left alone. A namespace that does not exist yet is made.

Ends with 4 when something is wrong, or still wrong after --fix, and else with 0. Warnings
do not count.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			open := a.look
			if fix {
				open = a.open // a namespace that is not there is made
			}
			d, err := open(cmd.Context())
			if err != nil {
				return err
			}
			if fix {
				return a.repair(cmd.Context(), d)
			}
			findings, wrong, err := a.examine(cmd.Context(), d)
			if err != nil {
				return err
			}
			for i := range findings {
				if !a.machine() { // which types no command
					findings[i].Detail = a.where.aim(findings[i].Detail)
				}
			}
			if err := list(a, findings, func(f doctor.Finding) string { return f.Where }, findingColumns); err != nil {
				return err
			}
			if wrong > 0 {
				a.note("%s wrong. 'lanekeeper doctor --fix' mends what it can.", count(wrong, "thing")+oneOr(wrong, " is", " are"))
				return falseError{}
			}
			if a.incomplete == nil {
				a.note("%s", a.green("All indexes agree with the lanes."))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&fix, "fix", false, "mend what disagrees")
	a.addWhy(cmd)
	return cmd
}

// examine returns what is not as it should be, and how much of it is wrong.
func (a *app) examine(ctx context.Context, d *dispatcher.Dispatcher) (findings []doctor.Finding, wrong int, err error) {
	bar := a.progress("partitions checked:", d.Namespace().Partitions)
	defer bar.done()
	findings, err = doctor.New(d).Examine(ctx, bar.at)
	err = a.partly(err, true)
	for _, f := range findings {
		if f.Severity == doctor.Wrong {
			wrong++
		}
	}
	return findings, wrong, err
}

func (a *app) repair(ctx context.Context, d *dispatcher.Dispatcher) error {
	bar := a.progress("partitions repaired:", d.Namespace().Partitions)
	done, err := doctor.New(d).Repair(ctx, bar.at)
	bar.done()
	if e := list(a, done, func(m doctor.Repair) string { return m.Where }, mendedColumns); e != nil {
		return e
	}
	if err = a.partly(err, true); err != nil {
		return err
	}
	_, wrong, err := a.examine(ctx, d)
	switch {
	case err != nil:
		return err
	case wrong > 0:
		a.note("%s still wrong; 'lanekeeper doctor' says what.", count(wrong, "thing")+oneOr(wrong, " is", " are"))
		return falseError{}
	case a.incomplete != nil:
	case len(done) == 0:
		a.note("%s", a.green("Nothing was wrong."))
	default:
		a.note("%s", a.green("All indexes agree with the lanes again."))
	}
	return nil
}
