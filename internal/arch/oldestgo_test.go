package arch

import (
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// library are the packages that other modules import.
var library = []string{"./subject", "./lease", "./dispatcher/...", "./worker"}

// What other modules import builds with the Go that go.mod promises. Where the tests run on that release each build is the proof, since
// no release takes or adds anything within itself; a later one fetches the toolchain.
func TestOldestGoBuildsTheLibrary(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^go ((\d+\.\d+)\.\d+)$`).FindStringSubmatch(string(text))
	readme, _ := os.ReadFile("../../README.md")
	if line == nil || !strings.Contains(string(readme), "- **Go** "+line[2]+" or newer") {
		t.Fatalf("README.md and go.mod name different releases of Go: %q", line)
	}
	if strings.HasPrefix(runtime.Version()+".", "go"+line[2]+".") {
		return
	}
	oldest := append(os.Environ(), "GOTOOLCHAIN=go"+line[1])
	had := exec.Command("go", "version")
	had.Env = oldest
	if out, err := had.CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: go%s can't be had here, so nobody knows whether the library still builds with it: %v\n%s", line[1], err, out)
	}
	build := exec.Command("go", append([]string{"build"}, library...)...)
	build.Env, build.Dir = oldest, "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("with go%s: %v\n%s", line[1], err, out)
	}
}
