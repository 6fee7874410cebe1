package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

// A release says what was set for it; every other build says what Go has noted, and nothing that it does not know.
func TestVersionOfEachBuild(t *testing.T) {
	t.Parallel()
	noted := func(module string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: module}, Settings: settings}
	}
	at := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.time", Value: "2026-11-28T00:00:00Z"}}
	changed := append(at[:2:2], debug.BuildSetting{Key: "vcs.modified", Value: "true"})
	for _, c := range []struct {
		name                            string
		info                            *debug.BuildInfo
		version, revision, committed    string
		wantVersion, wantText, wantTime string
	}{
		{"a release", noted("(devel)"), "1.2.3", "fedcba9876543210", "2026-12-01T00:00:00Z", "1.2.3", "1.2.3 (fedcba987654)", "2026-12-01T00:00:00Z"},
		{"go install of a version", noted("v1.2.3"), "", "", "", "1.2.3", "1.2.3", ""},
		{"a clone", noted("(devel)", at...), "", "", "", unreleased, unreleased + " (0123456789ab)", "2026-11-28T00:00:00Z"},
		{"a clone with a pseudo-version", noted("v0.0.0-2026", at...), "", "", "", unreleased, unreleased + " (0123456789ab)", "2026-11-28T00:00:00Z"},
		{"one that knows nothing", noted("(devel)"), "", "", "", unreleased, unreleased, ""},
	} {
		b := buildOf(c.info, c.version, c.revision, c.committed)
		if b.Version != c.wantVersion || b.text() != c.wantText || b.Time != c.wantTime {
			t.Errorf("%s: %+v, %q", c.name, b, b.text())
		}
	}
	if b := buildOf(noted("(devel)", changed...), "", "", ""); b.Revision != "0123456789abcdef+" {
		t.Errorf("changed files are not said: %+v", b)
	}
}

// The flags of the linker reach what is printed: a name that is misspelt in them would be no error.
func TestVersionIsSetByTheLinker(t *testing.T) {
	t.Parallel()
	w := &town{t: t, dir: t.TempDir()}
	path := filepath.Join(w.dir, "lanekeeper")
	flags := "-X main.version=9.8.7 -X main.revision=abcdef -X main.committed=2026-11-28T01:02:03Z"
	if out, err := exec.Command("go", "build", "-ldflags", flags, "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(path, "version", "-o", "json").Output()
	var b build
	if err != nil || json.Unmarshal(out, &b) != nil || b.Version != "9.8.7" || b.Revision != "abcdef" || b.Time != "2026-11-28T01:02:03Z" ||
		b.Platform != runtime.GOOS+"/"+runtime.GOARCH || !strings.HasPrefix(b.Go, "go1.") || !strings.HasPrefix(b.Redis, "v9.") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := exec.Command(path, "--version").Output(); err != nil || string(out) != "lanekeeper version 9.8.7 (abcdef)\n" {
		t.Errorf("--version: %v, %q", err, out)
	}
}
