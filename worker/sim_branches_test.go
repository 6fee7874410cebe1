package worker

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/internal/sim"
)

var simBranches = flag.String("sim.branches", "", "write how often each branch of each script ran to this file")

// coreScripts are those of which every branch has to run: a job's way from its enqueue to its end.
var coreScripts = []string{"turn", "enqueue", "reap", "end", "ending", "release", "refund", "short", "lot", "rolling", "arriving", "rivals", "placing", "finishing", "claiming", "handing", "leaving"}

// scriptBranches are all that there are.
func scriptBranches(t *testing.T) []sim.Branch {
	paths, _ := filepath.Glob("../dispatcher/internal/lanes/*.lua")
	more, _ := filepath.Glob("../lease/*.lua")
	shared, _ := filepath.Glob("../internal/*/*.lua")
	parts, _ := filepath.Glob("../dispatcher/internal/lanes/parts/*.lua")
	all, err := sim.Branches(slices.Concat(paths, parts, more, shared)...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func writeBranches(t *testing.T, ran map[string]int) {
	var b strings.Builder
	for _, branch := range scriptBranches(t) {
		fmt.Fprintf(&b, "%d\t%s\t%s\n", ran[branch.Name], branch, branch.Name)
	}
	if err := os.WriteFile(*simBranches, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// judgeBranches looks whether the simulation took every road.
func judgeBranches(t *testing.T, ran map[string]int, seeds int) {
	if os.Getenv(redistest.DefectVar) != "" {
		return // a branch's name is its text
	}
	for _, complaint := range complaints(scriptBranches(t), ran, seeds) {
		t.Error(complaint)
	}
}

// complaints says which branches are dark that may not be, and which are said to be and are not.
func complaints(all []sim.Branch, ran map[string]int, seeds int) (list []string) {
	exists := make(map[string]bool)
	for _, b := range all {
		exists[b.Name] = true
		file, _, _ := strings.Cut(b.Name, ".lua: ")
		_, mayBeDark := darkBranches[b.Name]
		switch n := ran[b.Name]; {
		case n > 0 && mayBeDark:
			list = append(list, fmt.Sprintf("%s ran %d times, and is on the list of branches that do not: take it off", b, n))
		case n > 0 || mayBeDark || !slices.Contains(coreScripts, file):
		case seeds >= manySeeds || seeds >= fewSeeds && seldomBranches[b.Name] == "":
			list = append(list, fmt.Sprintf("no seed ran %s", b))
		}
	}
	for name := range darkBranches {
		if !exists[name] {
			list = append(list, fmt.Sprintf("%s is on the list of branches that do not run, and does not exist: take it off", name))
		}
	}
	for name := range seldomBranches {
		if !exists[name] {
			list = append(list, fmt.Sprintf("%s is on the list of branches that seldom run, and does not exist: take it off", name))
		}
	}
	slices.Sort(list)
	return list
}

// From fewSeeds on what is not seldom has to run, and from manySeeds on all.
const fewSeeds, manySeeds = 30, 1000

// darkBranches do not run, each for its reason.
var darkBranches = map[string]string{
	"arriving.lua: body_of: if length > 0 and a.bytes > 0 and a.bytes + length > MOST_BYTES + a.n * MOST_BESIDES": "no job here is large: dispatcher/bytes_test.go has those",
	"rivals.lua: admit: else of if known":                            "no job here is large: dispatcher/bytes_test.go has those",
	"rivals.lua: admit: if exists == 'heavy'":                        "no job here is large: dispatcher/bytes_test.go has those",
	"rivals.lua: contend: if other and body_of(a, other) == 'heavy'": "no job here is large: dispatcher/bytes_test.go has those",
	"placing.lua: grown: if #new[i] > longest":                       "no job here is large: dispatcher/bytes_test.go has those",
	"placing.lua: grown: if longest > SMALL and (a.stored == 0 or longest > tonumber(call('HGET', CLOCK, 'largest') or 0))": "no job here is large: dispatcher/bytes_test.go has those",
	"enqueue.lua: returns 'heavy'":                                     "no job here is large: dispatcher/bytes_test.go has those",
	"reap.lua: end_leases: if #lost > MOST or lost.bytes > MOST_BYTES": "no call here fills a page: dispatcher's tests of bounds do",
	"lot.lua: fits: for i = 1, light(#ids) and 0 or #ids":              "no job here is large: dispatcher/bytes_test.go has those",
	"lot.lua: fits: if bytes > MOST_BYTES and i > 1":                   "no job here is large: dispatcher/bytes_test.go has those",
	"lot.lua: give: for i = #ids, last_one + 1, -1":                    "no job here is large: dispatcher/bytes_test.go has those",
	"lot.lua: give: if owners[i] ~= owners[last_one]":                  "no job here is large: dispatcher/bytes_test.go has those",
	"lot.lua: give: if not body":                                       "an index that is corrupt: dispatcher/doctor_test.go has those",
	"handing.lua: hand_over: if left":                                  "no session reports ends in the call that claims under limits",
	"leaving.lua: let_others_go: if broken[subject]":                   "an index that is corrupt: dispatcher/doctor_test.go has those",
	"leaving.lua: let_others_go: elseif late[subject]":                 "no job here is large: dispatcher/bytes_test.go has those",
	"leaving.lua: let_others_go: if late[c.lanes[i]]":                  "no job here is large: dispatcher/bytes_test.go has those",
	"leaving.lua: let_others_go: for _, lane in ipairs(back)":          "no job here is large: dispatcher/bytes_test.go has those",
}

// seldomBranches do not run in each run of fewSeeds, each for its reason.
var seldomBranches = map[string]string{
	"arriving.lua: no_room: if a.windows >= a.max_jobs":           "dead letters fill a backlog before windows do: dispatcher/bounds_test.go has those",
	"enqueue.lua: returns 'windows'":                              "dead letters fill a backlog before windows do: dispatcher/bounds_test.go has those",
	"short.lua: along_line: elseif p.starts == 0":                 "a place has to be served to its end while others wait behind it: 8 times in 30 seeds",
	"finishing.lua: keep_open: if asks and rest == ''":            "a job of a batch that is to be cancelled has to finish, and its holder to go on with the next one",
	"ending.lua: settle: for i = #t[3], 2, -1":                    "three jobs have to come in a batch, one of which ends while two stay: once in 60 seeds; dispatcher/batch_test.go has those",
	"finishing.lua: keep_open: elseif asks":                       "a lane that is to be suspended when a batch of it ends has to have a job finished before that: once in 30 seeds",
	"rolling.lua: fill: function (2)":                             "two lanes of one partition have to roll, and end a job in one call: dispatcher/rolling_test.go has that",
	"rolling.lua: given_again: elseif more":                       "an answer that fills a hand has to be lost, and the lease to be over when it is asked for again",
	"rolling.lua: given_again: if more and fenced(record, token)": "an answer that fills a hand has to be lost: once in 12 seeds",
	"rolling.lua: given_again: for k, entry in ipairs(entries)":   "an answer that fills a hand has to be lost: once in 12 seeds",
	"finishing.lua: finish: if k":                                 "two jobs of a lane have to be finished in one call: 5 times in 30 seeds",
}

// A list that names what no longer is, or excuses what runs, excuses what comes after it too.
func TestDarkBranchesAreComplainedOf(t *testing.T) {
	t.Parallel()
	var dark, seldom string
	for dark = range darkBranches {
		break
	}
	for seldom = range seldomBranches {
		break
	}
	all := scriptBranches(t)
	well := make(map[string]int)
	for _, b := range all {
		if _, ok := darkBranches[b.Name]; !ok {
			well[b.Name] = 1
		}
	}
	without := func(name string) map[string]int {
		ran := maps.Clone(well)
		delete(ran, name)
		return ran
	}
	with := maps.Clone(well)
	with[dark] = 1
	for name, c := range map[string]struct {
		all   []sim.Branch
		ran   map[string]int
		seeds int
		want  int
	}{
		"all well":                     {all, well, manySeeds, 0},
		"one is dark":                  {all, without(all[0].Name), 1, 0},
		"one of the core is dark":      {all, without("claiming.lua: pop_ready: if n > 0"), fewSeeds, 1},
		"one is dark in a run of few":  {all, without("claiming.lua: pop_ready: if n > 0"), fewSeeds - 1, 0},
		"a seldom one is dark":         {all, without(seldom), fewSeeds, 0},
		"a seldom one is dark in many": {all, without(seldom), manySeeds, 1},
		"one that is excused runs":     {all, with, 1, 1},
		"one that is excused is gone":  {slices.DeleteFunc(slices.Clone(all), func(b sim.Branch) bool { return b.Name == dark }), well, 1, 1},
		"a seldom one is gone":         {slices.DeleteFunc(slices.Clone(all), func(b sim.Branch) bool { return b.Name == seldom }), well, 1, 1},
	} {
		if got := complaints(c.all, c.ran, c.seeds); len(got) != c.want {
			t.Errorf("%s: %d complaints, want %d: %q", name, len(got), c.want, got)
		}
	}
}
