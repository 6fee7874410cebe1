package move

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/lanekeeper/lanekeeper/subject"
)

// format is the version of an export's lines. A release reads those of all releases before it.
const format = 1

// An export is JSON, an object a line, and each says in "type" what it is about. Times are ms since 1970 of Redis's clock,
// subjects and ids have their text forms.
const (
	typeHeader  = "header"  // the first line
	typeFloor   = "floor"   // what tokens and sequence numbers may not fall behind
	typeKind    = "kind"    // a declared kind, or one that was declared once
	typeLimit   = "limit"   // as it is enforced
	typeLane    = "lane"    // a lane that is parked; its jobs follow
	typeJob     = "job"     // those of one lane follow each other, head first
	typeWindow  = "window"  // a unique key that stays taken for a time
	typeOutcome = "outcome" // how a job has ended
	typeTrailer = "trailer" // the last line
)

// Header is the first line of an export.
type Header struct {
	Type       string    `json:"type"`
	Format     int       `json:"format"`
	ID         string    `json:"id"` // of this export: an import that goes on knows its file by it
	Namespace  string    `json:"namespace"`
	Schema     string    `json:"schema"`
	Partitions int       `json:"partitions"`
	At         time.Time `json:"exported_at"`
	Running    bool      `json:"while_running,omitempty"` // jobs may have moved meanwhile
}

// Totals is the last line of an export: what it has, to be checked by who reads it. Stored is how many jobs the namespace
// itself counted, dead letters among them, and 0 of an export made while jobs moved.
type Totals struct {
	Type      string `json:"type"`
	Lines     int    `json:"lines"` // before this one
	Jobs      int    `json:"jobs"`  // in lanes
	Scheduled int    `json:"scheduled"`
	Dead      int    `json:"dead"`
	Outcomes  int    `json:"outcomes"`
	Windows   int    `json:"windows"`
	Kinds     int    `json:"kinds"`
	Stored    int    `json:"stored,omitempty"`
	LeftOut   int    `json:"left_out,omitempty"` // callers that waited in lanes: they are no jobs
	SHA256    string `json:"sha256"`             // of all lines before this one
}

type floorLine struct {
	Type  string `json:"type"`
	Token int64  `json:"token,string"`
	Seq   int64  `json:"seq"`
}

type kindLine struct {
	Type        string          `json:"type"`
	Kind        string          `json:"kind"`
	Version     int             `json:"version,omitempty"`
	LastVersion int             `json:"last_version,omitempty"`
	Owner       string          `json:"owner,omitempty"`
	DeadKeepMS  int64           `json:"dead_keep_ms,omitempty"` // how long it keeps its dead letters, and how many
	DeadMax     int             `json:"dead_max,omitempty"`
	Declaration json.RawMessage `json:"declaration,omitempty"` // byte by byte: a declaration that differs is a new version
}

type limitLine struct {
	Type    string `json:"type"`
	Limit   string `json:"limit"`
	Most    int    `json:"most"`
	EveryMS int64  `json:"every_ms"`
	Version int    `json:"version"`
	NextMS  int64  `json:"next_ms,omitempty"`
}

type laneLine struct {
	Type      string      `json:"type"`
	Subject   subject.Key `json:"subject"`
	BackoffMS int64       `json:"backoff_until_ms,omitempty"`
	Suspended *stopped    `json:"suspended,omitempty"`
	Halted    *stopped    `json:"halted,omitempty"`
}

type stopped struct {
	AtMS int64 `json:"at_ms"`
	By   blob  `json:"by,omitempty"`
	Why  blob  `json:"why,omitempty"`
}

// jobLine has everything of a job: what was enqueued, where it stands, and what has come of it.
type jobLine struct {
	Type    string       `json:"type"`
	Place   string       `json:"place"` // lane, scheduled or dead
	ID      string       `json:"id"`
	Subject *subject.Key `json:"subject,omitempty"`
	Kind    string       `json:"kind,omitempty"`

	Seq         int64     `json:"seq,omitempty"`      // its number
	Unplaced    bool      `json:"unplaced,omitempty"` // it never had a place in its lane
	EnqueuedMS  int64     `json:"enqueued_ms,omitempty"`
	MaxAttempts int       `json:"max_attempts,omitempty"`
	TimeoutMS   int64     `json:"timeout_ms,omitempty"`
	KeepMS      int64     `json:"keep_ms,omitempty"`
	Headers     [][2]blob `json:"headers,omitempty"`
	Flags       string    `json:"flags,omitempty"` // s skip, h halt, u unique, k keep
	Payload     blob      `json:"payload,omitempty"`
	Raw         *blob     `json:"stored,omitempty"` // of a dead letter that can't be read, instead of all above but id and subject
	Name        *blob     `json:"name,omitempty"`   // of one like it: what is known of its unique key, as it is stored

	RunAt     string     `json:"run_at_ms,omitempty"` // of a scheduled job; inf is never by itself
	DiedAt    string     `json:"died_at_ms,omitempty"`
	Attempts  int        `json:"attempts,omitempty"` // that have ended
	Suspended bool       `json:"suspended,omitempty"`
	FailedOn  []blob     `json:"failed_on,omitempty"`
	Reason    blob       `json:"reason,omitempty"` // of a dead letter
	Error     blob       `json:"error,omitempty"`
	Unique    *uniqueKey `json:"unique,omitempty"`
}

// uniqueKey is what a job has of a unique key. Free says that the key is not the job's now, as with a dead letter.
type uniqueKey struct {
	Key    blob `json:"key,omitempty"`
	Digest blob `json:"digest,omitempty"`
	Merged int  `json:"merged,omitempty"`
	Free   bool `json:"free,omitempty"`
}

type windowLine struct {
	Type    string      `json:"type"`
	Subject subject.Key `json:"subject"`
	Kind    string      `json:"kind"`
	Key     blob        `json:"key,omitempty"`
	Digest  blob        `json:"digest,omitempty"`
	ID      string      `json:"id"`
	UntilMS int64       `json:"until_ms"`
}

type outcomeLine struct {
	Type     string      `json:"type"`
	ID       string      `json:"id"`
	Subject  subject.Key `json:"subject"`
	State    string      `json:"state"`
	Attempts int         `json:"attempts"`
	EndedMS  int64       `json:"ended_ms"`
	UntilMS  int64       `json:"until_ms"`
	Result   blob        `json:"result,omitempty"`
}

// blob are bytes of any value: a JSON string where they are UTF-8, and else {"base64": "…"}.
type blob []byte

type base64Form struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON makes that form; nothing that a browser could mistake has to be escaped here.
func (b blob) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) {
		return json.Marshal(string(b))
	}
	return json.Marshal(base64Form{b})
}

// UnmarshalJSON reads it.
func (b *blob) UnmarshalJSON(text []byte) error {
	var s string
	if json.Unmarshal(text, &s) == nil {
		*b = blob(s)
		return nil
	}
	var form base64Form
	if err := json.Unmarshal(text, &form); err != nil {
		return fmt.Errorf("neither a string nor {\"base64\": …}: %w", err)
	}
	*b = form.Base64
	return nil
}
