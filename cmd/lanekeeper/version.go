package main

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// What 'make dist' sets with -ldflags "-X main.version=…". Other builds leave it to what Go has noted: the version
// of the module for one that 'go install …@v1.2.3' has made, and the state of the clone for one within it.
var (
	version   string
	revision  string // of git
	committed string // when that was committed, RFC 3339: a time of the build would make each build another one
)

// unreleased is the version of a build that knows no other.
const unreleased = "0.1.0-dev"

// build is what is known of how this binary was made.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`     // with + behind it when files were changed since; "" when it is not known
	Time     string `json:"committed_at"` // of the revision, RFC 3339; "" when it is not known
	Go       string `json:"go"`           // that built it
	Platform string `json:"platform"`     // linux/amd64
	Redis    string `json:"redis_client"` // version of go-redis
}

// thisBuild puts together what was set for a release and what Go has noted.
func thisBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return buildOf(info, version, revision, committed)
}

func buildOf(info *debug.BuildInfo, version, revision, committed string) build {
	noted := make(map[string]string)
	for _, s := range info.Settings {
		noted[s.Key] = s.Value
	}
	if noted["vcs.modified"] == "true" {
		noted["vcs.revision"] += "+"
	}
	b := build{
		Version: version, Revision: cmp.Or(revision, noted["vcs.revision"]), Time: cmp.Or(committed, noted["vcs.time"]),
		Go: cmp.Or(info.GoVersion, runtime.Version()), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if b.Version == "" {
		b.Version = unreleased
		// A clone has "(devel)", or a pseudo-version, which says no more than the revision.
		if module := info.Main.Version; strings.HasPrefix(module, "v") && noted["vcs.revision"] == "" {
			b.Version = strings.TrimPrefix(module, "v")
		}
	}
	for _, dep := range info.Deps {
		if dep.Path == "github.com/redis/go-redis/v9" {
			b.Redis = dep.Version
		}
	}
	return b
}

// text is the version in one line, for --version.
func (b build) text() string {
	if b.Revision == "" {
		return b.Version
	}
	return b.Version + " (" + b.Revision[:min(12, len(b.Revision))] + ")"
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, and of what and with what it was built",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := thisBuild()
			return a.show(b, [][]string{
				{"version", b.Version}, {"revision", b.Revision}, {"committed", b.Time}, {"go", b.Go}, {"platform", b.Platform}, {"go-redis", b.Redis},
			})
		},
	}
}
