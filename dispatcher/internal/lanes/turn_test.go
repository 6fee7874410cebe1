package lanes

import (
	"os"
	"strings"
	"testing"
)

// A reply that says more than it gives, or that is cut off, is an error.
func TestRepliesThatAreCutOff(t *testing.T) {
	t.Parallel()
	for _, reply := range [][]string{{}, {"ok"}, {"ok", "0", "7", "1"}, {"ok", "0", "7", "x", "s", "e", "b"}, {"ok", "0", "7", "", "s", "e"}} {
		if _, err := readTurn(reply, 0); err == nil {
			t.Errorf("%q is read as of a turn", reply)
		}
	}
	if turned, err := readTurn([]string{"ok", "0", "7", "", "ok+1"}, 1); err == nil || !turned.Answered() {
		t.Errorf("%+v is read of a turn that brings a job and has none: %v", turned, err)
	}
	for _, reply := range [][]string{{}, {"refused"}, {"refused", "1", "full"}, {"created"}, {"ok", "1", "7", "1"}, {"ok", "1", "7"}, {"what", "1", "7", "1", "8"}} {
		if _, _, err := readArrivals(reply, 2); err == nil {
			t.Errorf("%q is read as of an enqueue", reply)
		}
	}
	for _, reply := range [][]string{{}, {"ok", "0", "0", "0", "0"}, {"ok", "0", "0", "0", "0", "-", "kind"}} {
		if r, err := readReaped(reply); err == nil || r.Next >= 0 {
			t.Errorf("%q is read as of a reap", reply)
		}
	}
	for _, reply := range [][]string{{}, {"gone"}, {"gone", "-"}} {
		if _, err := readFates(reply, 2); err == nil {
			t.Errorf("%q is read as of ends", reply)
		}
	}
}

// What of one job can't be read is that job's error, and no other's: they are stored.
func TestArrivalThatCantBeRead(t *testing.T) {
	t.Parallel()
	all, refused, err := readArrivals([]string{"ok", "1", "7", "merged", "7,1,zz", "1", "8", "taken", "x"}, 4)
	if err != nil || refused >= 0 || len(all) != 4 {
		t.Fatal(all, refused, err)
	}
	for i, want := range []bool{false, true, false, true} {
		if (all[i].Err != nil) != want {
			t.Errorf("job %d: %+v, want an error %t", i, all[i], want)
		}
	}
	if all[0].Seq != 7 || all[2].Seq != 8 {
		t.Errorf("those that were stored are %+v", all)
	}
	all, refused, err = readArrivals([]string{"refused", "2", "taken", "x"}, 3)
	if err != nil || refused != 1 || all[0].Err == nil {
		t.Errorf("refused %d, %+v, %v", refused, all, err)
	}
}

// Every script has a Go twin: a verb's file stands beside one of the same name.
func TestEveryScriptHasATwin(t *testing.T) {
	t.Parallel()
	files, err := sources.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range files {
		name, isLua := strings.CutSuffix(f.Name(), ".lua")
		if !isLua {
			continue
		}
		found++
		if _, err := os.Stat(name + ".go"); err != nil || scripts[name] == nil {
			t.Errorf("%s.lua has no twin that makes it a script: %v", name, err)
		}
	}
	if found != len(scripts) || found < 29 {
		t.Errorf("%d scripts, and %d are made", found, len(scripts))
	}
}
