package inspect

import (
	"fmt"
	"strings"
	"time"
)

// sentence ends with one mark, whatever it quotes.
func sentence(text string, args ...any) string {
	return strings.ReplaceAll(fmt.Sprintf(text, args...), "….", "…")
}

// because puts a cause behind a sentence, as one line that is not long.
func because(text string) string {
	if text = line(text); text == "" {
		return ""
	}
	return ": " + strings.TrimSuffix(text, ".")
}

// line is the first line of a text, at most 80 characters of it.
func line(text string) string {
	first, rest, _ := strings.Cut(strings.TrimSpace(text), "\n")
	first = strings.TrimSpace(first)
	if runes := []rune(first); len(runes) > 80 {
		return string(runes[:79]) + "…"
	} else if strings.TrimSpace(rest) != "" {
		return first + " …"
	}
	return first
}

// since says for how long something is so, or nothing where that is not known.
func (f *facts) since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " for " + span(f.now.Sub(t))
}

// by says who has stopped something, and when; or for how long it is so, where nobody knows who.
func (f *facts) by(who string, t time.Time) string {
	if who == "" {
		return f.since(t)
	}
	return " by " + line(who) + " " + span(f.now.Sub(t)) + " ago"
}

// at is a time of day in UTC, with the date where that is another one.
func (f *facts) at(t time.Time) string {
	if t = t.UTC(); t.Format(time.DateOnly) == f.now.UTC().Format(time.DateOnly) {
		return t.Format(time.TimeOnly) + " UTC"
	}
	return t.Format("2006-01-02 15:04") + " UTC"
}

// span is a duration in one unit, rounded down.
func span(d time.Duration) string {
	switch {
	case d < time.Millisecond: // as where time stands still, in a test
		return "less than 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
