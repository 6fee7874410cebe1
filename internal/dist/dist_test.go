package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"flag"
	"go/build"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var builds = flag.Bool("builds", false, "build twice and compare")

// The same commit makes the same bytes, in another folder and at another time; what is in them has all that
// somebody without a clone needs, and none of this machine's paths.
func TestBuildsTwiceTheSame(t *testing.T) {
	t.Parallel()
	if !*builds {
		t.Skip("'make dist' runs it with -builds: where nothing is in the cache it builds for minutes")
	}
	r := release{version: "1.2.3", revision: "abcdef", at: time.Unix(1_800_000_000, 0).UTC()}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var made [2]string
	for i := range made {
		dir := t.TempDir()
		clone := filepath.Join(dir, "clone")
		if out, err := exec.Command("cp", "-r", "-L", root, clone).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		binary := filepath.Join(dir, "binary")
		if err := r.build(clone, binary, "linux/amd64"); err != nil {
			t.Fatal(err)
		}
		made[i] = filepath.Join(dir, "one.tar.gz")
		if err := os.Chtimes(binary, time.Now(), time.Unix(int64(i), 0)); err != nil {
			t.Fatal(err)
		}
		files := []file{{"lanekeeper", binary, 0o755}, {"LICENSE", filepath.Join(clone, "LICENSE"), 0o644}}
		if i == 1 {
			files[0], files[1] = files[1], files[0]
		}
		if err := pack(made[i], "lanekeeper-1.2.3", files, r.at); err != nil {
			t.Fatal(err)
		}
	}
	first, _ := os.ReadFile(made[0])
	second, _ := os.ReadFile(made[1])
	if len(first) == 0 || string(first) != string(second) {
		t.Errorf("%d and %d bytes, and not the same", len(first), len(second))
	}
	names, binary := unpack(t, made[0])
	if got := strings.Join(names, " "); got != "lanekeeper-1.2.3/LICENSE lanekeeper-1.2.3/lanekeeper" {
		t.Errorf("it holds %s", got)
	}
	for _, here := range []string{root, os.TempDir(), build.Default.GOPATH} {
		if strings.Contains(binary, here+"/") {
			t.Errorf("the binary names %s", here)
		}
	}
}

// unpack returns the names of what is in an archive, and the content of the binary.
func unpack(t *testing.T, path string) (names []string, binary string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(zipped)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return names, binary
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
		if header.Uid != 0 || header.Gid != 0 {
			t.Errorf("%s is %d's", header.Name, header.Uid)
		}
		if header.FileInfo().Mode()&0o100 != 0 {
			content, _ := io.ReadAll(archive)
			binary = string(content)
		}
	}
}

// The command builds for macOS, where no test runs: what it needs of Linux has another form there.
func TestBuildsForDarwin(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it builds for minutes where nothing is in the cache")
	}
	r := release{version: "1.2.3", at: time.Unix(0, 0)}
	if err := r.build("../..", filepath.Join(t.TempDir(), "lanekeeper"), "darwin/arm64"); err != nil {
		t.Error(err)
	}
}

// SHA256SUMS is what 'sha256sum -c' reads, and tells a file that was changed.
func TestSumsAreThoseOfTheFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.tar.gz")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sums(dir, []string{"a.tar.gz"}); err != nil {
		t.Fatal(err)
	}
	check := func() error {
		cmd := exec.Command("sha256sum", "-c", "SHA256SUMS")
		cmd.Dir = dir
		return cmd.Run()
	}
	if err := check(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if check() == nil {
		t.Error("a changed file passes")
	}
}
