//go:build !linux

package redistest

import "syscall"

// withTests is of no use here: a server outlives tests that are killed.
var withTests = &syscall.SysProcAttr{}
