package redistest

import "syscall"

// withTests ends a server with the tests, however those end.
var withTests = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
