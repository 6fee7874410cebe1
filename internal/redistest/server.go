package redistest

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"sync"
)

// ServerVar names the binary that all tests start as redis-server, as a path or as a name that is looked for in PATH: a
// Redis of another version, or a Valkey. Servers of clusters and Sentinels are started from it too.
const ServerVar = "REDIS_SERVER"

// binary is what tests start.
func binary() string { return cmp.Or(os.Getenv(ServerVar), "redis-server") }

// version is what the binary says of itself, such as "Valkey server v=8.0.1", and its first number.
var version = sync.OnceValues(func() (string, error) {
	out, err := exec.Command(binary(), "--version").CombinedOutput()
	if err != nil {
		if path := os.Getenv(ServerVar); path != "" {
			return "", fmt.Errorf("%s %q is not a server that can be started: %w", ServerVar, path, err)
		}
		return "", fmt.Errorf("redis-server is not installed; run 'make redis', or install it " +
			"with the system's package manager (Debian: apt-get install redis-server)")
	}
	said := regexp.MustCompile(`^(?:Redis server|Valkey server|Server) v=[0-9.]+`).Find(out) // the last is Valkey 7.2
	if said == nil {
		return "", fmt.Errorf("%s --version says %q, which is no version of Redis or Valkey", binary(), out)
	}
	return string(said), nil
})

// before7 reports whether the server is a Redis 6, which has no settings for the command DEBUG and for the port of a
// cluster's bus. Valkey begins with 7.2.
func before7() bool {
	said, _ := version()
	number := regexp.MustCompile(`v=(\d+)`).FindStringSubmatch(said)
	if number == nil {
		return false
	}
	major, _ := strconv.Atoi(number[1])
	return major < 7
}

// known leaves out of a server's arguments the settings, each with its value, that the server does not know. Without them a
// Redis 6 does what is meant: it lets DEBUG through.
func known(args []string) []string {
	if !before7() {
		return args
	}
	args = slices.Clone(args)
	for _, setting := range []string{"--enable-debug-command", "--cluster-port"} {
		if i := slices.Index(args, setting); i >= 0 {
			args = slices.Delete(args, i, i+2)
		}
	}
	return args
}
