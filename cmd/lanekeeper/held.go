package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/subject"
)

// heldVariable tells a program, a line for each, which subjects are held while it runs: by its
// job, by the section that it is the command of, and by those around. A line is the place
// of the subject, which is a server and a namespace, and the subject.
const heldVariable = "LANEKEEPER_HELD"

// withinProgram reports whether this process is, or was started by, a program that runs under a lease.
func withinProgram() bool { return os.Getenv(heldVariable) != "" }

// place tells namespaces of different servers apart without saying where they are, and without
// anything that could be tried out: a password is not part of a place.
func (a *app) place() string {
	sum := sha256.Sum256([]byte(connect.Place(cmp.Or(a.redis.url, defaultRedis))))
	return hex.EncodeToString(sum[:6]) + "/" + a.namespace
}

func (a *app) held(key subject.Key) string { return a.place() + " " + key.String() }

// holding returns the environment of a program that runs while a subject is held. Of what this
// process was told of Redis it has only what is meant for programs.
func (a *app) holding(key subject.Key) []string {
	var env []string
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); name {
		case heldVariable, redisVariable, redisFileVariable, namespaceVariable:
		default:
			env = append(env, v)
		}
	}
	lines := a.held(key)
	if outer := os.Getenv(heldVariable); outer != "" {
		lines = outer + "\n" + lines
	}
	env = append(env, a.forPrograms()...)
	return append(env, heldVariable+"="+lines, "LANEKEEPER_SUBJECT="+key.String())
}

// refuseOwn returns an error when this process runs within what holds a subject: to wait for the
// subject would be to wait for itself.
func (a *app) refuseOwn(what string, key subject.Key) error {
	if _, err := a.named(); err != nil {
		return err
	}
	for line := range strings.SplitSeq(os.Getenv(heldVariable), "\n") {
		if line == a.held(key) {
			return fmt.Errorf("%s %s: %w: the job or the section that this command runs within holds it",
				what, key, dispatcher.ErrWouldDeadlock)
		}
	}
	return nil
}
