package redistest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/lanekeeper/lanekeeper/internal/script"
)

// DefectVar names the variable of the environment that says in which file there is a [Defect] to
// be put into the Lua scripts of a test binary, which needs no build for it.
const DefectVar = "LANEKEEPER_TEST_DEFECT"

// Defect is a Lua file that is to be another one while tests run.
type Defect struct{ Good, Bad string }

func putIn(path string) {
	var d Defect
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil {
		panic(err)
	}
	// Shared sources come joined, each whole.
	script.Alter = func(source string) string { return strings.Replace(source, d.Good, d.Bad, 1) }
}

// TraceVar names the variable of the environment that says in which folder it is noted what a test runs: an empty
// file "process-<id>" for each process, and the sources of the scripts that were called.
const TraceVar = "LANEKEEPER_TEST_TRACE"

func trace(dir string) {
	note := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			panic(err)
		}
	}
	note(fmt.Sprint("process-", os.Getpid()), "")
	script.Alter = func(source string) string { // called once for each script that is used
		sum := sha256.Sum256([]byte(source))
		note(hex.EncodeToString(sum[:])+".lua", source)
		return source
	}
}
