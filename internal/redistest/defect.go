package redistest

import (
	"encoding/json"
	"os"
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
