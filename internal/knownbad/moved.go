package main

// fromMoving are defects in what is done with whole namespaces, each by which a job or a neighbour would be lost.
var fromMoving = []defect{
	{
		"namespace rm takes the keys of neighbours", "dispatcher/move/remove.go",
		`(:\d+(\.\d+)?)?\}:`, `(:[^}]*)?\}:`,
	},
	{
		"namespace rm takes its marker first: half a namespace is open to all", "dispatcher/move/remove.go",
		`own.MatchString(key) && key != marker`, `own.MatchString(key)`,
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
		`im.n.Raise(ctx, p, "token", it.floor.Token)`, `im.n.Raise(ctx, p, "token", 0)`,
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
}
