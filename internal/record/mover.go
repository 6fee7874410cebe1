package record

import (
	"strconv"
	"strings"
	"time"
)

// Mover is the run of a command that moves a whole namespace and may write there: "<number> <run>" in the meta and in the clock of
// each partition that it has come to; "<number> -" once it has come to its end. Numbers rise from run to run, so what an earlier run
// still writes, however late, is known as that. The last one stays where it is.
type Mover struct {
	Number int64
	Run    string // unique, a word; "-" is nobody
}

// over is the run of a mover that has come to its end.
const over = "-"

// NextMover is the run after the one that a record says. Its number is above that, and above the time in µs: so it is above those too
// that were in a namespace of this name before, which was removed.
func NextMover(record, run string, now time.Time) Mover {
	text, _, _ := strings.Cut(record, " ")
	last, _ := strconv.ParseInt(text, 10, 64) // 0 before the first
	return Mover{max(last+1, now.UnixMicro()), run}
}

// String is the record.
func (m Mover) String() string { return strconv.FormatInt(m.Number, 10) + " " + m.Run }

// Over is what stays of a run that has come to its end.
func (m Mover) Over() Mover { return Mover{m.Number, over} }
