package main

import (
	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher/move"
)

func (a *app) migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Bring a namespace of an earlier release to the stored form of this one",
		Long: `Brings a namespace of an earlier release to the stored form of this one, partition by
partition. Jobs keep their places, attempts and numbers. Stop its workers and what
enqueues first: it refuses while workers live, and names them. To go back to the
earlier release is not possible; a snapshot of Redis is a way back.

Meanwhile nobody can open the namespace. When the command was interrupted that stays
so; repeated, it goes on where it stopped.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rdb, err := a.connect()
			if err != nil {
				return err
			}
			bar := a.progress("partitions migrated:", 0)
			from, err := move.Migrate(cmd.Context(), rdb, a.namespace, func(done, all int) {
				bar.total = all
				bar.at(done)
			})
			bar.done()
			if err != nil {
				return err
			}
			one, err := move.Look(cmd.Context(), rdb, a.namespace)
			if err != nil {
				return err
			}
			object := map[string]any{"namespace": a.namespace, "from": from, "schema": one.Schema}
			if from == one.Schema {
				return a.result(object, "Namespace %s has schema %s already; nothing changed.", a.namespace, one.Schema)
			}
			return a.result(object, "Migrated namespace %s from schema %s to %s: %s, %s. 'lanekeeper doctor' proves it.",
				a.namespace, from, one.Schema, count(one.Jobs, "job"), count(one.Dead, "dead letter"))
		},
	}
}
