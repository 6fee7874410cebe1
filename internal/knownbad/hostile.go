package main

// fromHostility are defects that a bad producer, a bad moment or a part that is away makes visible.
var fromHostility = []defect{
	{
		"an id that several jobs have names the first one", "dispatcher/ref.go",
		`return stored{}, &AmbiguousError{ref.ID, subjects}`, `return has[0], nil`,
	},
	{
		"with a subject, the job of another subject is found", "dispatcher/ref.go",
		`if !ref.anywhere() && err == nil && key != ref.Subject {`, `if err != nil && !ref.anywhere() && key != ref.Subject {`,
	},
	{
		"one is changed though others may have its id", "dispatcher/ref.go",
		`if errors.As(err, &missing) {`, `if errors.As(err, &missing) && s.text != "" {
		err = nil
	} else if missing != nil {`,
	},
	{
		"leaving a section does not overtake what asked for it", "dispatcher/internal/lanes/leave.go",
		`caller.Once(n.Partition(key), leaveScript`, `n.Scripts.Once(n.Partition(key), leaveScript`,
	},
	{
		"a lease of which nobody learnt stays", "lease/acquire.go",
		`s.forgo(caller, key, holder, ttl)`, `_ = s.forgo`,
	},
	{
		"slots of which nobody learnt stay", "dispatcher/session/starts.go",
		`s.lose(lostStarts{calls[i], callers[i], p.limits[i].name, len(asked[i])})`, `callers[i].Rest()`,
	},
	{
		"a slow repair renames what another one has mended", "dispatcher/internal/lanes/aside.lua",
		`if is == ARGV[FIRST] or is == 'none' or`, `if is == 'none' or`,
	},
	{
		"two repairs at once", "dispatcher/doctor/repair.go",
		`if err == nil && !mine {`, `if err != nil && !mine {`,
	},
	{
		"claims have no bound in bytes", "dispatcher/internal/lanes/parts/lot.lua",
		`for i = 1, light(#ids) and 0 or #ids do`, `for i = 1, 0 do`,
	},
	{
		"lanes that one turn has no room for are listed no more", "dispatcher/internal/lanes/parts/leaving.lua",
		`call('LPUSH', READY .. lane[1], lane[2])`, `local _ = lane`,
	},
	{
		"lanes that went on and found no room are leased for ever", "dispatcher/internal/lanes/parts/leaving.lua",
		`  elseif late[subject] then`, `  elseif false then`,
	},
	{
		"an enqueue reads all that is there", "dispatcher/internal/lanes/parts/arriving.lua",
		`if length > 0 and a.bytes > 0 and a.bytes + length > MOST_BYTES + a.n * MOST_BESIDES then`, `if false then`,
	},
	{
		"one large job takes single enqueues of others with it", "dispatcher/singles.go",
		`if errors.Is(e.Err, errHeavy) && len(batch) > 1 {`, `if false {`,
	},
	{
		"a page reads all bodies", "dispatcher/inspect/jobinfo.go",
		`ids = ids[:upTo(pageBytes, sizes)]`, `_ = pageBytes`,
	},
	{
		"nobody finds out how large jobs are", "dispatcher/doctor/survey.go",
		`, "largest": s.largest}`, `}`,
	},
	{
		"notes of waiting outlive their leases", "dispatcher/wait.go",
		`if !lane.Leased || lane.Lease.Token != int64(l.Token) || !lane.Until.After(now) {`, `if lane.Behind < 0 && now.IsZero() {`,
	},
	{
		"one partition away, and no look shows anything", "dispatcher/internal/lanes/incomplete.go",
		`if missing, err = missing.Without(n.PartitionName(p), errs[i]); err != nil {
			return nil, nil, err
		}`, `if errs[i] != nil {
			return nil, nil, errs[i]
		}
		_ = p`,
	},
	{
		"no pool starts while the list of workers is away", "dispatcher/session/session.go",
		`err != nil && !(connect.IsCluster(s.lanes.Redis) && errors.Is(err, dispatcher.ErrUnavailable)) {`, `err != nil {`,
	},
	{
		"no process starts while the home of a limit is away", "dispatcher/internal/lanes/limit.go",
		`case connect.IsCluster(n.Redis) && errors.Is(err, connect.ErrUnavailable):`,
		`case connect.IsCluster(n.Redis) && errors.Is(err, context.DeadlineExceeded):`,
	},
	{
		"the limit that was written last counts, and not the one declared last", "dispatcher/internal/lanes/limit.lua",
		`if limit_version(before) > tonumber(version) then`, `if false then`,
	},
	{
		"versions begin anew with a kind that was taken out", "dispatcher/internal/lanes/register.lua",
		`local last = tonumber(call('HGET', VERSIONS, kind) or 0)`, `local last = 0`,
	},
	{
		"the doctor does not compare limits with what is declared", "dispatcher/doctor/limitcheck.go",
		`is.Most != want.Most || is.Every != want.Every {`, `false && is == want {`,
	},
	{
		"waiters look once a second though they hear", "dispatcher/internal/lanes/news.go",
		`if hears { // not all at the same moment`, `if hears && waited < 0 {`,
	},
	{
		"a subscription that died without a word is believed", "dispatcher/internal/lanes/news.go",
		`silent < 2*quiet && errors.As`, `errors.As`,
	},
	{
		"outcomes have no bound", "dispatcher/internal/lanes/parts/kept.lua",
		`local oldest = kept > MOST_KEPT and`, `local oldest = false and`,
	},
	{
		"the newest outcomes make room", "dispatcher/internal/lanes/parts/kept.lua",
		`call('ZRANGE', extra('ended'), 0, MOST_FORGOTTEN - 1) or {}`, `call('ZREVRANGE', extra('ended'), 0, MOST_FORGOTTEN - 1) or {}`,
	},
	{
		"outcomes that go are counted still", "dispatcher/internal/lanes/parts/kept.lua",
		`return bytes > 0 and call('HINCRBY', CLOCK, 'kept', whole(-bytes))`, `return bytes`,
	},
	{
		"windows of unique keys have no bound", "dispatcher/internal/lanes/parts/arriving.lua",
		`if a.windows >= a.max_jobs then`, `if false then`,
	},
	{
		"lines of --from go in batches that no call takes", "cmd/lanekeeper/feed.go",
		`batchBytes = dispatcher.MaxBatchBytes`, `batchBytes = 2 * dispatcher.MaxBatchBytes`,
	},
	{
		"a copy of a question that was answered held gets the lease", "dispatcher/internal/lanes/section.lua",
		`  remember('held somebody 0')`, `  remember('')
  call('DEL', REQUEST)`,
	},
	{
		"an outcome whose id is used again counts twice", "dispatcher/internal/lanes/parts/kept.lua",
		`  if call('HEXISTS', extra('outcomes'), id) == 1 then -- of a job that had the id earlier`, `  if false then`,
	},
	{
		"a repair is refused by a copy of itself", "dispatcher/doctor/repair.go",
		`if err == nil && who != me {`, `if err == nil {`,
	},
	{
		"a repair takes another one's lock away", "dispatcher/internal/lanes/keeprepair.lua",
		`if call('GET', REPAIRING) ~= ARGV[FIRST] then`, `if false then`,
	},
	{
		"a limit of a later declaration that came to nothing stays", "dispatcher/doctor/limitcheck.go",
		`want.Version = is.Version`, `want.Version += 0`,
	},
	{
		"what is declared already is declared again when memory is full", "dispatcher/internal/lanes/limit.lua",
		`elseif before ~= declared then
  despite_full_memory()`, `else`,
	},
	{
		"what one call took the same call is refused", "dispatcher/internal/lanes/parts/arriving.lua",
		`local MOST_BESIDES = 5120`, `local MOST_BESIDES = 0`,
	},
	{
		"nobody is told that his ticket was passed over", "dispatcher/internal/lanes/resume.lua",
		`tell(id_of(head), 'skipped')`, `tell('nobody', 'skipped')`,
	},
}
