package sim

import (
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
)

// A branch that is named after another one, or not at all, is dark unseen.
func TestBranchesAreFound(t *testing.T) {
	t.Parallel()
	const source = `-- one: first
--
-- Returns  {'ok', n} | {'lost'}
--          {'stale'}
local function f(a) -- if this then
  if a == 'then' or (a) then
    return function() return 1 end
  elseif a then
    for i = 1, 2 do end
  else
    repeat until true
  end
end
-- two: second, with
-- more: of the same
while f(1) do
  if x then y() end
  if x then y() end
end
`
	var got []string
	for _, s := range sites(source) {
		got = append(got, s.name)
	}
	want := []string{
		"one.lua: f: function", "one.lua: f: if a == 'then' or (a)", "one.lua: f: function (2)", "one.lua: f: elseif a", "one.lua: f: for i = 1, 2",
		"one.lua: f: else of elseif a", "one.lua: f: repeat", "two.lua: while f(1)", "two.lua: if x", "two.lua: if x (2)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if words := outcomes(source); !slices.Equal(words, []string{"ok", "lost", "stale"}) {
		t.Errorf("%q", words)
	}
}

// All files are read, and no two branches of theirs have one name.
func TestBranchesHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	paths, _ := filepath.Glob("../../dispatcher/internal/lanes/*.lua")
	more, _ := filepath.Glob("../../lease/*.lua")
	shared, _ := filepath.Glob("../../internal/*/*.lua")
	parts, _ := filepath.Glob("../../dispatcher/internal/lanes/parts/*.lua")
	all, err := Branches(slices.Concat(paths, parts, more, shared)...)
	if err != nil || len(all) < 500 {
		t.Fatalf("%d branches, %v", len(all), err)
	}
	seen := make(map[string]bool)
	for _, b := range all {
		if seen[b.Name] {
			t.Errorf("two are named %s", b)
		}
		seen[b.Name] = true
	}
}

// What runs is counted while things go wrong, and not when all is well.
func TestBranchesAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, err := New(1, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		rdb := w.Client("")
		defer rdb.Close()
		const source = "-- some: x\n--\n-- Returns {'yes'} | {'no'}\n\nif ARGV[1] == '1' then return { 'yes' } else return { 'no' } end"
		for _, arg := range []int{1, 1, 2} {
			if err := rdb.Eval(t.Context(), source, nil, arg).Err(); err != nil {
				t.Fatal(err)
			}
		}
		w.Calm()
		rdb.Eval(t.Context(), source, nil, 1)
		ran := w.Ran()
		if ran["some.lua: if ARGV[1] == '1'"] != 2 || ran["some.lua: else of if ARGV[1] == '1'"] != 1 || ran["some.lua: returns 'yes'"] != 2 || ran["some.lua: returns 'no'"] != 1 {
			t.Errorf("%v", ran)
		}
	})
}
