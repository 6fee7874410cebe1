package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/subject"
)

// parseLine reads one line of a --from file strictly: a field that is not known is an error, not
// an option that silently does nothing; and so is one that is there twice, or that holds
// what JSON can't carry, which encoding/json would replace without a word.
func parseLine(text []byte) (dispatcher.NewJob, error) {
	var job dispatcher.NewJob
	var payload, coded bool
	var at string
	err := object(text, strings.ToLower, func(f field) (err error) {
		switch strings.ToLower(f.name) {
		case "subject":
			var text string
			if text, err = f.text("such as \"artifact:42\""); err == nil {
				job.Subject, err = subject.Parse(text)
			}
		case "kind":
			job.Kind, err = f.text("such as \"expire\"")
		case "payload":
			payload = f.value != nil
			job.Payload, err = f.payload()
		case "payload_base64":
			coded = f.value != nil
			job.Payload, err = f.bytes()
		case "id":
			var text string
			if text, err = f.text("such as \"e-42\""); err == nil && text != "" {
				job.ID, err = subject.ParseID(text)
			}
		case "delay":
			job.Delay, err = f.duration(0)
		case "run_at":
			if at, err = f.text("such as \"2026-12-01T00:00:00Z\""); err == nil {
				job.RunAt, err = runAt("run_at", at)
			}
		case "max_attempts":
			job.MaxAttempts, err = f.count()
		case "timeout":
			job.Timeout, err = f.duration(time.Millisecond)
		case "keep":
			job.Keep, err = f.duration(time.Millisecond)
		case "headers":
			job.Headers, err = f.texts()
		case "unique":
			job.Unique, err = f.unique()
		default:
			err = fmt.Errorf("unknown field %q", f.name)
		}
		return err
	})
	if err == nil && payload && coded {
		err = errors.New("payload and payload_base64 can't both be set")
	}
	return job, err
}

// field is a field of a JSON object: its name, and its value as it stands.
type field struct {
	name  string
	value json.RawMessage
}

// object calls see for each field of a JSON object, in their order. No two may have names that
// same makes equal. A null is as if the field were not there.
func object(text []byte, same func(string) string, see func(field) error) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	first, err := dec.Token()
	if err != nil {
		return plainJSON(err)
	}
	if first != json.Delim('{') {
		return errors.New("must be a JSON object, { … }")
	}
	seen := make(map[string]bool)
	for dec.More() {
		begin := dec.InputOffset()
		name, err := dec.Token()
		if err != nil {
			return plainJSON(err)
		}
		f := field{name: fmt.Sprint(name)}
		if err := carried(text[begin:dec.InputOffset()]); err != nil {
			return fmt.Errorf("the name of the field %q %w", f.name, err)
		}
		if err := dec.Decode(&f.value); err != nil {
			return plainJSON(err)
		}
		if seen[same(f.name)] {
			return fmt.Errorf("the field %q is there twice", f.name)
		}
		seen[same(f.name)] = true
		if f.value = bytes.TrimSpace(f.value); string(f.value) == "null" {
			f.value = nil
		}
		if err := see(f); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return plainJSON(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// plainJSON says what is wrong with a line that is no JSON.
func plainJSON(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("not JSON: it ends in the middle")
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON: byte %d: %w", syntax.Offset, err)
	}
	return fmt.Errorf("not JSON: %w", err)
}

// carried returns an error when JSON text has what JSON can't carry: bytes that are not UTF-8,
// or half of a surrogate pair. encoding/json takes U+FFFD for both.
func carried(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("has bytes that are not UTF-8, which JSON can't carry")
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++
		r, ok := unit(text, i)
		if !ok || !utf16.IsSurrogate(r) {
			continue
		}
		second, ok := unit(text, i+6)
		if !ok || text[i+5] != '\\' || utf16.DecodeRune(r, second) == utf8.RuneError {
			return fmt.Errorf("has half of a surrogate pair, \\%s, which stands for no character", text[i:i+5])
		}
		i += 10
	}
	return nil
}

// unit reads the uXXXX at i.
func unit(text []byte, i int) (rune, bool) {
	if i+5 > len(text) || text[i] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[i+1:i+5]), 16, 16)
	return rune(n), err == nil
}

// must says which rule a field breaks. What is in a payload is nobody's business.
func (f field) must(rule string) error {
	if strings.HasPrefix(f.name, "payload") {
		return fmt.Errorf("%s must be %s", f.name, rule)
	}
	value := string(f.value)
	if r := []rune(value); len(r) > 40 {
		value = string(r[:40]) + "…"
	}
	return fmt.Errorf("%s %s must be %s", f.name, printable(strings.ToValidUTF8(value, "\ufffd")), rule)
}

// text is the value of a field that is a JSON string.
func (f field) text(such string) (string, error) {
	if f.value == nil {
		return "", nil
	}
	if f.value[0] != '"' {
		return "", f.must("a text " + such)
	}
	if err := carried(f.value); err != nil {
		return "", fmt.Errorf("%s %w%s", f.name, err, f.instead())
	}
	var s string
	return s, json.Unmarshal(f.value, &s)
}

// instead is what carries the bytes of a field that JSON can't.
func (f field) instead() string {
	switch strings.ToLower(f.name) {
	case "payload":
		return "; payload_base64 takes any bytes"
	case "subject", "id":
		raw := strings.Trim(string(f.value), `"`)
		if strings.Contains(raw, `\`) { // half a surrogate pair stands for no bytes
			return ""
		}
		text := subject.IDText(raw)
		if kind, id, ok := strings.Cut(raw, ":"); ok && strings.EqualFold(f.name, "subject") {
			text = subject.Key{Kind: kind, ID: id}.String()
		}
		quoted, err := json.Marshal(text)
		if err != nil {
			return ""
		}
		return "; write it quoted: " + string(quoted)
	}
	return ""
}

// payload is the text of a JSON string, or any other value as the JSON text that it is.
func (f field) payload() ([]byte, error) {
	if f.value == nil || f.value[0] == '"' {
		text, err := f.text("")
		if f.value == nil {
			return nil, err
		}
		return []byte(text), err
	}
	if !utf8.Valid(f.value) {
		return nil, fmt.Errorf("%s %w%s", f.name, carried(f.value), f.instead())
	}
	return f.value, nil
}

func (f field) bytes() ([]byte, error) {
	const such = "in base64, such as \"AP8=\""
	text, err := f.text(such)
	if err != nil {
		return nil, err
	}
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, f.must("a text " + such)
	}
	return decoded, nil
}

// count is how often something may be done: 0 is no such number, and not the default.
func (f field) count() (int, error) {
	if f.value == nil {
		return 0, nil
	}
	n, err := strconv.Atoi(string(f.value))
	if err != nil || n < 1 || n > math.MaxInt32 {
		return 0, f.must(fmt.Sprintf("a whole number, 1 to %d", math.MaxInt32))
	}
	return n, nil
}

// duration is a length of time, and at least so long: where 0 would be the default, it is to be
// left out.
func (f field) duration(least time.Duration) (time.Duration, error) {
	const such = "such as \"90s\" or \"10m\""
	text, err := f.text(such)
	if err != nil || text == "" {
		return 0, err
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, f.must("a duration " + such)
	case d < least:
		return 0, f.must("at least " + least.String() + "; leave it out for the default")
	}
	return d, nil
}

func (f field) texts() (map[string]string, error) {
	if f.value == nil {
		return nil, nil
	}
	if f.value[0] != '{' {
		return nil, f.must(`an object of texts such as {"trace": "…"}`)
	}
	texts := make(map[string]string)
	exactly := func(name string) string { return name }
	err := object(f.value, exactly, func(of field) error {
		text, err := field{f.name + "." + of.name, of.value}.text("such as \"…\"")
		texts[of.name] = text
		return err
	})
	return texts, within(f.name, err)
}

func (f field) unique() (*dispatcher.Unique, error) {
	if f.value == nil {
		return nil, nil
	}
	if f.value[0] != '{' {
		return nil, f.must(`an object such as {"key": "e-42"}`)
	}
	u := &dispatcher.Unique{}
	err := object(f.value, strings.ToLower, func(of field) (err error) {
		var text string
		of.name = f.name + "." + of.name
		switch strings.ToLower(of.name) {
		case "unique.key": // none is the payload's digest
			u.Key, err = of.text("such as \"e-42\"")
		case "unique.scope":
			text, err = of.text("such as \"waiting\"")
			u.Scope = dispatcher.Scope(text)
		case "unique.window":
			u.Window, err = of.duration(time.Millisecond)
		case "unique.on_conflict":
			text, err = of.text("such as \"merge\"")
			u.OnConflict = dispatcher.Conflict(text)
		default:
			err = fmt.Errorf("unknown field %q", of.name)
		}
		return err
	})
	return u, within(f.name, err)
}

// within names the field that an error is about, unless the error does.
func within(name string, err error) error {
	if err == nil || strings.HasPrefix(err.Error(), name+".") {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// runAt reads a time. The zero time would mean none.
func runAt(field, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	switch {
	case err != nil:
		return at, fmt.Errorf("%s %q must be a time like 2026-12-01T00:00:00Z", field, text)
	case at.IsZero():
		return at, fmt.Errorf("%s %q must lie between the years 1970 and 9999", field, text)
	}
	return at, nil
}
