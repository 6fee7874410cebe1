package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// What Redis, programs and users say is data. On its way to a terminal, a log or JSON all of it comes through
// here, so that nothing in it acts: no control character moves the cursor or changes a title, no
// mark turns the direction of writing, no line break makes up a line. The forms with which things are named
// again, ids and subjects, are printable by themselves: see subject.Key.String.

// printable makes text one line of characters that can be seen.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// printableLines is printable for text of several lines.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = printable(strings.ReplaceAll(l, "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

// painted is text of our own with the colours of a terminal.
type painted string

// text is a remark of ours, with data in it.
func (a *app) text(format string, args ...any) string {
	shown := make([]any, len(args))
	for i, arg := range args {
		switch v := arg.(type) {
		case error:
			shown[i] = a.clean(message(v))
		case string:
			shown[i] = a.clean(v)
		case fmt.Stringer:
			shown[i] = a.clean(v.String())
		default: // painted, and numbers
			shown[i] = arg
		}
	}
	return fmt.Sprintf(format, shown...)
}

// clean is text of others that may have several lines, without the secrets of our own address.
func (a *app) clean(text string) string { return printableLines(a.redis.secrets.mask(text)) }

// encode prints a value as JSON: indented, or as one line.
func (a *app) encode(v any, indent string) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := escaped{a.out}.Write(text.Bytes())
	return err
}

// escaped writes JSON with each character that can't be seen as an escape, which means the same:
// encoding/json does so below U+0020 alone.
type escaped struct{ io.Writer }

func (e escaped) Write(p []byte) (int, error) {
	text := make([]byte, 0, len(p))
	for rest := p; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r < utf8.RuneSelf && r != 0x7f, unicode.IsPrint(r) && size > 1:
			text = append(text, rest[:size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			text = fmt.Appendf(text, `\u%04x\u%04x`, high, low)
		default:
			text = fmt.Appendf(text, `\u%04x`, r)
		}
		rest = rest[size:]
	}
	if _, err := e.Writer.Write(text); err != nil {
		return 0, err
	}
	return len(p), nil
}
