// Command dist makes what a release consists of: for each platform a tar.gz with the static binary, manual pages, completions, a
// systemd unit, LICENSE and README, and SHA256SUMS of them. 'make dist' runs it. The same commit and the same Go make
// the same bytes: paths, times and owners of the machine are in none of them.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

func main() {
	out := flag.String("o", "dist", "the folder that is made anew")
	only := flag.String("only", "", "one platform, such as linux/amd64, instead of all")
	flag.Parse()
	platforms := []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64"}
	if *only != "" {
		platforms = []string{*only}
	}
	if err := run(*out, platforms); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// run makes all anew in the folder out, of the module in the working directory.
func run(out string, platforms []string) error {
	r, err := releaseOf(".")
	if err != nil {
		return err
	}
	return r.make(out, platforms)
}

func (r release) make(out string, platforms []string) error {
	work, err := os.MkdirTemp("", "lanekeeper-dist-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	common, err := r.common(work)
	if err != nil {
		return err
	}
	// Only what this command has made goes: somebody may have named a folder of theirs.
	old, _ := filepath.Glob(filepath.Join(out, "lanekeeper-*.tar.gz"))
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	var names []string
	for _, platform := range platforms {
		fmt.Fprintln(os.Stderr, "building", r.version, "for", platform)
		binary := filepath.Join(work, strings.ReplaceAll(platform, "/", "-"))
		if err := r.build(".", binary, platform); err != nil {
			return err
		}
		folder := "lanekeeper-" + r.version + "-" + filepath.Base(binary)
		files := append([]file{{"lanekeeper", binary, 0o755}}, common...)
		if err := pack(filepath.Join(out, folder+".tar.gz"), folder, files, r.at); err != nil {
			return err
		}
		names = append(names, folder+".tar.gz")
	}
	return sums(out, names)
}

// release is what a build is told of itself.
type release struct {
	version, revision string
	at                time.Time // when the revision was committed
}

// releaseOf asks git: the version is that of the tag on this very commit, or says that there is none.
func releaseOf(dir string) (release, error) {
	git := func(args ...string) string {
		out, _ := exec.Command("git", append([]string{"-C", dir}, args...)...).Output()
		return strings.TrimSpace(string(out))
	}
	r := release{version: strings.TrimPrefix(git("describe", "--tags", "--exact-match", "--match", "v[0-9]*"), "v"), revision: git("rev-parse", "HEAD")}
	if r.revision == "" {
		return r, fmt.Errorf("git tells no commit here: a release is made of a clone")
	}
	at, err := time.Parse(time.RFC3339, git("show", "-s", "--format=%cI", "HEAD"))
	if err != nil {
		return r, err
	}
	r.at = at.UTC()
	r.version = cmp.Or(r.version, "0.1.0-dev-"+r.revision[:7])
	if git("status", "--porcelain") != "" {
		r.revision += "+" // files were changed since
	}
	return r, nil
}

// build builds the command of a clone for a platform: static, without paths of this machine.
func (r release) build(clone, to, platform string) error {
	system, machine, _ := strings.Cut(platform, "/")
	flags := fmt.Sprintf("-s -w -buildid= -X main.version=%s -X main.revision=%s -X main.committed=%s", r.version, r.revision, r.at.Format(time.RFC3339))
	return command([]string{"CGO_ENABLED=0", "GOOS=" + system, "GOARCH=" + machine},
		"build", "-C", clone, "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", to, "./cmd/lanekeeper")
}

// common makes the files that the archives of all platforms have.
func (r release) common(work string) ([]file, error) {
	pages := filepath.Join(work, "man")
	if err := os.Mkdir(pages, 0o755); err != nil {
		return nil, err
	}
	if err := command(nil, "test", "-count=1", "-run", "^TestManPages$", "./cmd/lanekeeper", "-man", pages, "-man-version", r.version); err != nil {
		return nil, err
	}
	files := []file{{"LICENSE", "LICENSE", 0o644}, {"README.md", "README.md", 0o644}, {"CHANGELOG.md", "CHANGELOG.md", 0o644}}
	made, err := filepath.Glob(filepath.Join(pages, "*.1"))
	if err != nil {
		return nil, err
	}
	for _, page := range made {
		files = append(files, file{"man/" + filepath.Base(page), page, 0o644})
	}
	here := filepath.Join(work, "here")
	if err := r.build(".", here, runtime.GOOS+"/"+runtime.GOARCH); err != nil {
		return nil, err
	}
	for shell, name := range map[string]string{"bash": "lanekeeper.bash", "zsh": "_lanekeeper", "fish": "lanekeeper.fish"} {
		text, err := exec.Command(here, "completion", shell).Output()
		if err != nil {
			return nil, fmt.Errorf("completion %s: %w", shell, err)
		}
		path := filepath.Join(work, name)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return nil, err
		}
		files = append(files, file{"completions/" + name, path, 0o644})
	}
	return append(files, file{"systemd/lanekeeper@.service", "internal/dist/lanekeeper@.service", 0o644}), nil
}

// command runs go, with variables besides those of this process.
func command(variables []string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), variables...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", args[0], err, out)
	}
	return nil
}
