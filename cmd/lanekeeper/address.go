package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

const (
	redisVariable     = "LANEKEEPER_REDIS"
	redisFileVariable = "LANEKEEPER_REDIS_FILE"
	namespaceVariable = "LANEKEEPER_NAMESPACE"
)

// maxAddress is the most bytes that the file of --redis-file may have.
const maxAddress = 64 << 10

// errNoAddress is what a command within a program finds: its worker keeps the address, which is
// the right to all that the worker may do, for itself.
var errNoAddress = errors.New("no Redis address: what 'work' and 'exec' start gets none")

// address is where Redis is said to be.
type address struct {
	url     string // or "" for the default
	file    string // that it came from
	found   bool
	flag    string
	secrets secrets
}

// name says where the address was given.
func (a *address) name() string {
	switch {
	case a.file != "":
		return "the Redis address in " + a.file
	case a.flag != "":
		return "--redis"
	}
	return redisVariable
}

// set takes an address, which may hold passwords.
func (a *address) set(url, file string) {
	a.url, a.file, a.found, a.secrets = url, file, true, newSecrets(connect.Secrets(url))
}

// named returns the address that flags or the environment name, and "" when there is none.
func (a *app) named() (string, error) {
	at := &a.redis
	if at.found {
		return at.url, nil
	}
	url, file, what := at.flag, at.file, "--redis and --redis-file"
	if cmp.Or(url, file) == "" {
		url, file, what = os.Getenv(redisVariable), os.Getenv(redisFileVariable), redisVariable+" and "+redisFileVariable
	}
	if url != "" && file != "" {
		return "", usage("%s are both set: which of them is meant can't be told", what)
	}
	if file != "" {
		var err error
		if url, err = readAddress(file); err != nil {
			return "", usage("the Redis address in %s: %w", file, err)
		}
	}
	at.set(url, file)
	if at.flag != "" && len(at.secrets.texts) > 0 {
		a.note("--redis holds a password, which every user of this machine can see (ps): --redis-file or LANEKEEPER_REDIS hide it.")
	}
	return url, nil
}

// readAddress reads a file that holds an address, and that nobody else may read.
func readAddress(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case info.IsDir():
		return "", errors.New("is a directory")
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("others may use that file (mode %04o), which may hold a password; chmod 600", info.Mode().Perm())
	}
	text, err := readAll(f, maxAddress)
	url := strings.TrimSpace(string(text))
	if err == nil && url == "" {
		err = errors.New("it is empty")
	}
	return url, err
}

// forPrograms are the variables that tell programs where lanes are. The address is only among them when
// that was asked for; a command in a program that gets none fails, and doesn't go elsewhere.
func (a *app) forPrograms() []string {
	env := []string{namespaceVariable + "=" + a.namespace}
	switch {
	case !a.passRedis:
	case a.redis.file != "":
		path, err := filepath.Abs(a.redis.file)
		if err != nil { // the working directory is gone
			path = a.redis.file
		}
		env = append(env, redisFileVariable+"="+path)
	default:
		env = append(env, redisVariable+"="+cmp.Or(a.redis.url, defaultRedis))
	}
	return env
}

// addPassFlag adds the flag of commands that start programs.
func (a *app) addPassFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.passRedis, "pass-redis", false,
		"tell programs the Redis address, with its password, as LANEKEEPER_REDIS or LANEKEEPER_REDIS_FILE")
}
