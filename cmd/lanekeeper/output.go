package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// column is one column of a table of rows of type T. Wide ones show with -o wide.
type column[T any] struct {
	title string
	wide  bool
	text  func(T) string
}

// list prints rows in the form that -o asks for: a table, one JSON array, or one
// JSON object a line. With -q it prints only id, one a line: a word of a shell.
func list[T any](a *app, rows []T, id func(T) string, columns []column[T]) error {
	switch {
	case a.output == "json":
		if rows == nil {
			rows = []T{} // an empty list is [], never null
		}
		return a.encode(rows, "  ")
	case a.output == "jsonl":
		for _, r := range rows {
			if err := a.encode(r, ""); err != nil {
				return err
			}
		}
		return nil
	case a.quiet:
		for _, r := range rows {
			if word := id(r); word != "" {
				fmt.Fprintln(a.out, printable(word))
			}
		}
		return nil
	}
	if len(rows) == 0 {
		return nil
	}
	return a.table(rows2cells(rows, columns, a.output == "wide", isTerminal(a.out)))
}

// rows2cells makes cells of rows. On a terminal long ones are cut, unless wide.
func rows2cells[T any](rows []T, columns []column[T], wide, terminal bool) [][]string {
	var shown []column[T]
	var titles []string
	for _, c := range columns {
		if !c.wide || wide {
			shown, titles = append(shown, c), append(titles, c.title)
		}
	}
	cells := [][]string{titles}
	for _, r := range rows {
		line := make([]string, len(shown))
		for i, c := range shown {
			line[i] = c.text(r)
			if !wide && terminal {
				line[i] = shorten(line[i], 60)
			}
		}
		cells = append(cells, line)
	}
	return cells
}

// table prints cells in aligned columns.
func (a *app) table(cells [][]string) error { return tableTo(a.out, cells) }

func tableTo(out io.Writer, cells [][]string) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, line := range cells {
		for i, c := range line {
			line[i] = printable(c)
			if c == "" {
				line[i] = "-"
			}
		}
		fmt.Fprintln(w, strings.Join(line, "\t"))
	}
	return w.Flush()
}

// show prints one object: as JSON, or as a table of its fields.
func (a *app) show(object any, fields [][]string) error {
	switch a.output {
	case "json":
		return a.encode(object, "  ")
	case "jsonl":
		return a.encode(object, "")
	}
	var filled [][]string
	for _, f := range fields {
		if f[1] != "" {
			filled = append(filled, f)
		}
	}
	return a.table(filled)
}

// machine reports whether the output is for a program.
func (a *app) machine() bool { return a.output == "json" || a.output == "jsonl" }

// say prints a line for a person, unless they want machine output or quiet.
func (a *app) say(format string, args ...any) {
	if !a.quiet && !a.machine() {
		fmt.Fprintln(a.out, a.text(a.where.format(format), args...))
	}
}

// note prints a remark that is not part of the output.
func (a *app) note(format string, args ...any) {
	format = a.where.format(format)
	switch {
	case a.quiet:
	case a.log != nil && a.logFormat == "json":
		a.log.Info(a.text(format, args...))
	default:
		fmt.Fprintln(a.err, a.text(format, args...))
	}
}

func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// clock shows a time to the second in UTC, or nothing for no time.
func clock(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// until says when something ends, or how long ago it did: what is over must not look as if it
// were still to come.
func until(ends, ended string, t *time.Time, now time.Time) string {
	switch {
	case t == nil:
		return ""
	case t.After(now):
		return ends + " " + clock(t)
	}
	return ended + " " + now.Sub(*t).Round(time.Second).String() + " ago"
}

// runsAt says when a job falls due, or that it has.
func runsAt(t *time.Time, now time.Time) string {
	if t == nil || t.After(now) {
		return clock(t)
	}
	return fmt.Sprintf("%s (fell due %s ago)", clock(t), now.Sub(*t).Round(time.Second))
}

// optional returns nil for a time that is not set, which JSON then leaves out.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func itoa(n int) string { return fmt.Sprint(n) }

// count is a number of things, by the word for one of them.
func count(n int, one string) string { return fmt.Sprintf("%d %s", n, oneOr(n, one, one+"s")) }

// oneOr is the word for one thing, or that for another number of them.
func oneOr(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}
