package move

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// The most that lines may say: what an enqueue takes, and what scripts reckon with.
const (
	mostSlots   = 1000            // of a limit
	mostOfSeq   = 1<<39 - 1       // a job's number
	mostOfFloor = 1<<52 - 1       // of numbers: half of what scripts count up to
	mostTime    = 253402300799999 // ms since 1970: to the end of the year 9999
	mostPayload = 64 << 20        // with which no line is longer than mostLine
	mostHeaders = 4096
	mostKey     = 256 // bytes of a unique key
	mostWait    = 100 * 365 * 24 * time.Hour
	mostKeep    = 30 * 24 * time.Hour
)

// bound is a number that a line says, and the most that it may be. The least is 0.
type bound struct {
	field    string
	is, most int64
}

func inRange(bounds ...bound) error {
	for _, b := range bounds {
		if b.is < 0 || b.is > b.most {
			return lanes.Invalid(b.field, b.is, fmt.Sprintf("must be 0 to %d", b.most))
		}
	}
	return nil
}

// check sees that tokens and numbers have room to rise. Tokens are µs since 1970 or, after a clock that was ahead, more:
// so far ahead no clock ever was, and a namespace keeps its largest token for ever.
func (line *floorLine) check(now time.Time) error {
	if line.Token < 0 || line.Token > now.Add(mostWait).UnixMicro() {
		return lanes.Invalid("token", line.Token, "must be 0 to 100 years ahead, in µs since 1970")
	}
	return inRange(bound{"seq", line.Seq, mostOfFloor})
}

func (line *laneLine) check() error {
	if err := dispatcher.CheckSubject(line.Subject); err != nil {
		return err
	}
	bounds := []bound{{"backoff_until_ms", line.BackoffMS, mostTime}}
	for _, s := range []*stopped{line.Suspended, line.Halted} {
		if s != nil {
			bounds = append(bounds, bound{"at_ms", s.AtMS, mostTime})
		}
	}
	return inRange(bounds...)
}

func (line *windowLine) check() error {
	_, err := subject.ParseID(line.ID)
	for _, check := range []func() error{
		func() error { return dispatcher.CheckSubject(line.Subject) },
		func() error { return dispatcher.CheckKind(line.Kind) },
		func() error { return checkUnique(line.Key, line.Digest, 0) },
		func() error { return inRange(bound{"until_ms", line.UntilMS, mostTime}) },
	} {
		if err == nil {
			err = check()
		}
	}
	return err
}

// stored is the field of the window, and the packed id of the job that took it.
func (line *windowLine) stored() (field, packed string) {
	id, _ := subject.ParseID(line.ID) // it was checked
	return record.UniqueField(line.Subject.Canonical(), line.Kind, string(line.Key), line.Digest), record.PackID(id)
}

// checkUnique checks a unique key, or the digest that stands for one.
func checkUnique(key, digest blob, merged int) error {
	if len(key) > mostKey || (len(key) == 0) == (len(digest) == 0) || len(digest) > mostKey {
		return lanes.Invalid("key or digest", fmt.Sprintf("%d and %d bytes", len(key), len(digest)), fmt.Sprintf("one must have 1 to %d, and the other be left out", mostKey))
	}
	return inRange(bound{"merged", int64(merged), math.MaxInt32})
}

func (line *kindLine) check() error {
	if err := dispatcher.CheckKind(line.Kind); err != nil {
		return err
	}
	if line.Declaration != nil && (!bytes.HasPrefix(line.Declaration, []byte("{")) || !json.Valid(line.Declaration)) {
		return lanes.Invalid("declaration", string(line.Declaration), "must be an object")
	}
	if strings.ContainsRune(line.Owner, ' ') {
		return lanes.Invalid("owner", strconv.Quote(line.Owner), "must be a word")
	}
	return inRange(
		bound{"version", int64(line.Version), math.MaxInt32}, bound{"last_version", int64(line.LastVersion), math.MaxInt32},
		bound{"dead_keep_ms", line.DeadKeepMS, mostWait.Milliseconds()}, bound{"dead_max", int64(line.DeadMax), math.MaxInt32},
	)
}

func (line *kindLine) retention() record.Retention {
	return record.Retention{Keep: time.Duration(line.DeadKeepMS) * time.Millisecond, Most: line.DeadMax}
}

func (line *limitLine) check() error {
	of := strings.TrimPrefix(line.Limit, lanes.KindLimit(""))
	if lanes.IsPoolLimit(line.Limit) {
		of = strings.TrimPrefix(line.Limit, lanes.PoolLimit(""))
	}
	if of == line.Limit || of == "" || strings.HasSuffix(of, " next") {
		return lanes.Invalid("limit", line.Limit, "must be that of a kind or of a pool")
	}
	return inRange(
		bound{"most", int64(line.Most), mostSlots}, bound{"every_ms", line.EveryMS, mostWait.Milliseconds()},
		bound{"version", int64(line.Version), math.MaxInt32}, bound{"next_ms", line.NextMS, mostTime},
	)
}

func (line *limitLine) limit() record.Limit {
	return record.Limit{Most: line.Most, Every: time.Duration(line.EveryMS) * time.Millisecond, Version: line.Version}
}

// isScore reports whether a text can be a score of Redis, ms since 1970: no other may get into a script. Of what is scheduled it may be
// infinite.
func isScore(text string, infinite bool) bool {
	f, err := strconv.ParseFloat(text, 64)
	return infinite && text == "inf" || err == nil && f >= 0 && f <= mostTime && strings.Trim(text, "0123456789.") == ""
}
