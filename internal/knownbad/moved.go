package main

// fromMoving are defects in what is done with whole namespaces, each by which a job or a neighbour would be lost.
var fromMoving = []defect{
	{
		"namespace rm takes the keys of neighbours", "dispatcher/move/remove.go",
		`(:\d+(\.\d+)?)?)\}:`, `(:[^}]*)?)\}:`,
	},
	{
		"namespace rm takes its marker first: half a namespace is open to all", "dispatcher/move/remove.go",
		`		if key != fence {
			ours = append(ours, key)
		}`, `		if key != fence || key == r.m.Meta() {
			ours = append(ours, key)
		}`,
	},
	{
		"an import that goes on brings jobs twice", "dispatcher/internal/lanes/bring.lua",
		`if call('HEXISTS', JOBS, id) == 0 or was_due(subject, entry, place) then`, `if true then`,
	},
	{
		"an import lists a lane as ready that is suspended", "dispatcher/internal/lanes/bring.lua",
		`elseif reasons == '' then`, `else`,
	},
	{
		"fencing tokens begin anew after an import", "dispatcher/move/import.go",
		`im.n.Raise(ctx, p, "token", line.Token)`, `im.n.Raise(ctx, p, "token", 0)`,
	},
	{
		"an export that was cut or changed is imported", "dispatcher/move/reader.go",
		`counted != *last`, `false`,
	},
	{
		"a migration that goes on forgets attempts", "dispatcher/move/schema6.go",
		`			tx.HDel(ctx, o.base+"errors", e.ID)
			tx.HDel(ctx, o.base+"failed", e.ID)
`, ``,
	},
	{
		"a migration runs under workers of the release before", "dispatcher/move/migrate.go",
		`return refuseWorkers("schema "+m.meta.Schema+" is theirs", holders)`, `return refuseWorkers("", holders[:0])`,
	},
	{
		"an import that stood still is let in by a namespace that was opened since", "dispatcher/internal/lanes/mark.lua",
		`if said ~= from or mover ~= was then`, `if said ~= from then`,
	},
	{
		"an import that was overtaken parks lanes that were resumed", "dispatcher/internal/lanes/fenced.lua",
		`if call('HGET', KEYS[1], 'mover') ~= ARGV[FIRST] then`, `if false then`,
	},
	{
		"a removal that stood still takes away what was made under the name since", "dispatcher/internal/lanes/fence.go",
		`meta.mover != m.run.String() || meta.Mark() != m.mark`, `false`,
	},
	{
		"what an import sent before it opened the namespace, and comes late, brings jobs again", "internal/record/mover.lua",
		`is > was or run == said or`, `is >= was or`,
	},
	{
		"an export skips what stands behind a job that went meanwhile", "dispatcher/internal/lanes/after.lua",
		`    from = middle + 1`, `    from = middle + 2`,
	},
}
