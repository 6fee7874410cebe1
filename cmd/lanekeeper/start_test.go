package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// Before main nothing is made that the command may not need. Allocations tell of that work
// whatever else the machine does: linking all scripts took 47,000 of them, and 160 ms.
func TestD9_NothingIsMadeBeforeMain(t *testing.T) {
	t.Parallel()
	const module, most = "github.com/lanekeeper/lanekeeper/", 600
	cmd := exec.Command(built+"/lanekeeper", "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) < 4 || words[0] != "init" || words[1] != "main" && !strings.HasPrefix(words[1], module) {
			continue
		}
		seen++
		var allocs int
		if _, err := fmt.Sscan(words[len(words)-2], &allocs); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if allocs > most {
			t.Errorf("%s makes %d allocations before main, at most %d are allowed", words[1], allocs, most)
		}
	}
	if seen < 2 {
		t.Errorf("the trace shows %d of our packages:\n%s", seen, out)
	}
}

// 'exec' asks Redis as often as docs/features/sections.md says: at its start how the server and
// the namespace are set, and then once for the lease, whose script reads token and holds with the second HMGET, and once to give it back.
func TestD9_ExecRoundTrips(t *testing.T) {
	t.Parallel()
	s := redistest.Own(t)
	admin := redistest.ClientOf(t, s)
	w := &town{t: t, url: s.URL(), namespace: "lanekeeper", dir: t.TempDir()}
	w.must("exec", "s:a", "--", "true") // the server knows the scripts from here on
	if err := admin.Do(t.Context(), "config", "resetstat").Err(); err != nil {
		t.Fatal(err)
	}
	w.must("exec", "s:a", "--", "true")
	stats, err := admin.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]int64{"config|get": 0, "info": 1, "hmget": 2, "hgetall": 1, "evalsha": 2, "eval": 0, "subscribe": 1} {
		if got := redistest.InfoNumber(stats, "cmdstat_"+command+":calls="); got != want {
			t.Errorf("%s was sent %d times, want %d", command, got, want)
		}
	}
}
