// Package record has the forms of what is stored, each on a page of its own: what it looks like, and
// who reads and writes it in Go and in Lua. A form that only one of the two knows has one page.
//
//	id          how a job's id stands everywhere
//	text        a subject before a text; small sets, a line each
//	job         a stored job: its number, its time, the rest
//	entry       what stands in a lane for a job, or for somebody who waits to run a section
//	note        what has come of a job so far
//	lease       who holds a subject
//	ask         what is asked of a lease's holder
//	schedule    a member of the schedule
//	expiring    a member of what goes by itself at a time
//	reason      why a job is a dead letter
//	park        why a lane that nobody holds may not be claimed
//	unique      who has a unique key, and what is known of its job
//	outcome     how a job has ended
//	declaration what is declared of a kind
//	retention   how long a kind keeps its dead letters, and how many
//	wait        that who has a lease waits for another subject
//	trail       an attempt that has ended
//	limit       a limit, its slots, and a place in the line of those who are short of it
//	hold        what operators hold, as each partition knows it
//	act         what an operator did, and who
//	mover       which run of a command moves a whole namespace
//
// Ids and subjects are bytes, so no form may be made or read by what stops at a NUL or at a space.
package record

import (
	_ "embed"
	"errors"
	"strings"
)

// ErrCorrupt is wrapped when something that is stored can't be read.
var ErrCorrupt = errors.New("dispatcher: corrupt job")

//go:embed text.lua
var textLua string

//go:embed entry.lua
var entryLua string

//go:embed note.lua
var noteLua string

//go:embed job.lua
var jobLua string

//go:embed lease.lua
var leaseLua string

//go:embed ask.lua
var askLua string

//go:embed schedule.lua
var scheduleLua string

//go:embed expiring.lua
var expiringLua string

//go:embed reason.lua
var reasonLua string

//go:embed park.lua
var parkLua string

//go:embed unique.lua
var uniqueLua string

//go:embed outcome.lua
var outcomeLua string

//go:embed declaration.lua
var declarationLua string

//go:embed retention.lua
var retentionLua string

//go:embed wait.lua
var waitLua string

//go:embed limit.lua
var limitLua string

//go:embed hold.lua
var holdLua string

//go:embed act.lua
var actLua string

//go:embed mover.lua
var moverLua string

// Lua is the Lua side of all pages. It needs no keys: what it has reads and makes texts.
var Lua = strings.Join([]string{
	textLua, entryLua, noteLua, jobLua, leaseLua, askLua, scheduleLua, expiringLua, reasonLua, parkLua, uniqueLua, outcomeLua, declarationLua, retentionLua, waitLua, limitLua, holdLua, actLua, moverLua,
}, "\n")
