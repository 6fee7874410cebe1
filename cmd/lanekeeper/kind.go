package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// kindView is a declared kind as the CLI shows it, with what was measured of it.
type kindView struct {
	Kind        string            `json:"kind"`
	Owner       string            `json:"owner"`
	Version     int               `json:"version"`
	Subject     string            `json:"subject,omitempty"`
	Description string            `json:"description,omitempty"`
	Pool        string            `json:"pool"`
	OnFailure   dispatcher.Policy `json:"on_failure"`
	MaxAttempts int               `json:"max_attempts,omitempty"`
	Timeout     string            `json:"timeout,omitempty"`
	Backoff     string            `json:"backoff,omitempty"`
	Unique      string            `json:"unique,omitempty"`
	Keep        string            `json:"keep,omitempty"`
	DeadKeep    string            `json:"dead_keep,omitempty"`
	DeadMax     int               `json:"dead_max,omitempty"`
	Limit       int               `json:"limit,omitempty"`
	Every       string            `json:"every,omitempty"`
	Priority    int               `json:"priority"`
	Expected    string            `json:"expected,omitempty"`
	Loggable    []string          `json:"loggable,omitempty"`
	Page        bool              `json:"page"`
	Note        string            `json:"note,omitempty"`
	Slots       *inspect.LimitUse `json:"slots,omitempty"`
	Measured    *measuredView     `json:"measured,omitempty"`
	Flow        *flowView         `json:"flow,omitempty"`
}

type measuredView struct {
	Count    int64            `json:"count"`
	ByEnding map[string]int64 `json:"by_ending"`
	P50      string           `json:"p50"`
	P95      string           `json:"p95"`
	Max      string           `json:"max"`
}

func viewKind(k dispatcher.DeclaredKind, workers []session.Worker) kindView {
	v := kindView{
		Kind: k.Name, Owner: k.Owner, Version: k.Version, Subject: k.Subject, Description: k.Description,
		Pool: orElse(k.Pool, dispatcher.DefaultPool), OnFailure: dispatcher.Policy(orElse(string(k.OnFailure), string(dispatcher.Block))),
		MaxAttempts: k.MaxAttempts, Timeout: span(k.Timeout), Keep: span(k.Keep), DeadKeep: span(k.DeadKeep), DeadMax: k.DeadMax, Limit: k.Limit, Every: span(k.Every),
		Priority: k.Priority, Expected: span(k.Expected), Loggable: k.Loggable, Page: !k.NoPage,
	}
	if k.Backoff.Cap > 0 {
		v.Backoff = fmt.Sprintf("%s to %s", k.Backoff.Base, k.Backoff.Cap)
	}
	if u := k.Unique; u != nil {
		v.Unique = strings.TrimSpace(fmt.Sprintf("%s %s %s", orElse(string(u.Scope), string(dispatcher.WhileWaiting)), span(u.Window), u.OnConflict))
	}
	var others []string
	for _, w := range workers {
		if version, ok := w.Versions[k.Name]; ok && w.Alive && version != k.Version {
			others = append(others, fmt.Sprintf("%s runs version %d", w.Holder, version))
		}
	}
	v.Note = strings.Join(others, ", ")
	return v
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// span shows a duration, or nothing for none.
func span(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.Round(time.Millisecond).String()
}

var kindColumns = []column[kindView]{
	{"KIND", false, func(k kindView) string { return k.Kind }},
	{"OWNER", false, func(k kindView) string { return k.Owner }},
	{"VERSION", false, func(k kindView) string { return itoa(k.Version) }},
	{"POOL", false, func(k kindView) string { return k.Pool }},
	{"ON FAILURE", false, func(k kindView) string { return string(k.OnFailure) }},
	{"LIMIT", false, limitText},
	{"PRIORITY", false, func(k kindView) string { return itoa(k.Priority) }},
	{"NOTE", false, func(k kindView) string { return k.Note }},
	{"DESCRIPTION", true, func(k kindView) string { return k.Description }},
}

func limitText(k kindView) string {
	var parts []string
	if k.Limit > 0 {
		parts = append(parts, fmt.Sprintf("%d at once", k.Limit))
	}
	if k.Every != "" {
		parts = append(parts, "one every "+k.Every)
	}
	return strings.Join(parts, ", ")
}

func (a *app) kindCommand() *cobra.Command {
	cmd := group("kind", "Look at declared job kinds, take declarations back")
	cmd.AddCommand(
		&cobra.Command{
			Use:   "ls",
			Short: "List the kinds that are declared, and workers that know other versions of them",
			Args:  cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				views, _, err := a.kinds(cmd)
				if err != nil {
					return err
				}
				if len(views) == 0 {
					a.note("No kind is declared, so any goes. 'lanekeeper work --help' shows how to declare some.")
				}
				return list(a, views, func(k kindView) string { return k.Kind }, kindColumns)
			},
		},
		&cobra.Command{
			Use:   "show KIND",
			Short: "Show what is declared of a kind, and how long its jobs take",
			Args:  cobra.ExactArgs(1),
			RunE:  func(cmd *cobra.Command, args []string) error { return a.showKind(cmd, args[0]) },
		})
	rm := &cobra.Command{
		Use:   "rm KIND",
		Short: "Take a declaration back, with its limit",
		Long: `Takes a declaration back, with its limit. Jobs of the kind stay; processes that know it go
on until they end, and declare it again when they start. When it was the last one, any kind goes.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			if err := d.Undeclare(cmd.Context(), args[0]); err != nil {
				return err
			}
			if a.machine() {
				return a.show(map[string]string{"kind": args[0], "declaration": "removed"}, nil)
			}
			a.say("%s is no longer declared", args[0])
			return nil
		},
	}
	a.addWhy(rm)
	cmd.AddCommand(rm)
	return cmd
}

// showKind shows what is declared of a kind, and what was measured.
func (a *app) showKind(cmd *cobra.Command, name string) error {
	if err := dispatcher.CheckKind(name); err != nil {
		return err
	}
	views, d, err := a.kinds(cmd)
	if err != nil {
		return err
	}
	v := kindView{Kind: name, Note: "not declared"}
	for _, k := range views {
		if k.Kind == name {
			v = k
		}
	}
	measured, err := inspect.New(d).Durations(cmd.Context(), name)
	if err != nil {
		return err
	}
	if measured.Count > 0 {
		v.Measured = viewMeasured(measured)
		flow, err := inspect.New(d).Flow(cmd.Context(), name)
		if err != nil {
			return err
		}
		v.Flow = viewFlow(flow)
	}
	use, err := inspect.New(d).KindLimit(cmd.Context(), name)
	if err != nil {
		return err
	}
	if use != (inspect.LimitUse{}) {
		v.Slots = &use
	}
	if v.Owner == "" && v.Measured == nil {
		return fmt.Errorf("%w: kind %s is not declared, and no job of it has ended", dispatcher.ErrNotFound, name)
	}
	return a.show(v, kindFields(v, a.now(cmd.Context())))
}

func (a *app) kinds(cmd *cobra.Command) ([]kindView, *dispatcher.Dispatcher, error) {
	d, err := a.look(cmd.Context())
	if err != nil {
		return nil, nil, err
	}
	kinds, err := d.Kinds(cmd.Context())
	if err != nil {
		return nil, nil, err
	}
	workers, err := session.Workers(cmd.Context(), d)
	if err != nil {
		return nil, nil, err
	}
	var views []kindView
	for _, k := range kinds {
		views = append(views, viewKind(k, workers))
	}
	return views, d, nil
}

func viewMeasured(m inspect.Durations) *measuredView {
	v := &measuredView{Count: m.Count, ByEnding: make(map[string]int64), P50: span(m.P50), P95: span(m.P95), Max: span(m.Max)}
	for how, n := range m.ByEnding {
		v.ByEnding[string(how)] = n
	}
	return v
}

// slotsText says how far a limit is used.
func slotsText(u *inspect.LimitUse, now time.Time) string {
	var parts []string
	if u != nil && u.Most > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d taken", u.Held, u.Most))
	}
	if u != nil && u.Held > 0 {
		parts = append(parts, fmt.Sprintf("the oldest for %s, by %s", now.Sub(u.Since).Truncate(time.Second), u.Holder))
	}
	if u != nil && !u.Next.IsZero() {
		parts = append(parts, "no start before "+clock(&u.Next))
	}
	return strings.Join(parts, "; ")
}

func kindFields(v kindView, now time.Time) [][]string {
	fields := [][]string{
		{"kind", v.Kind}, {"owner", v.Owner}, {"note", v.Note}, {"description", v.Description}, {"subject kind", v.Subject},
	}
	if v.Owner != "" {
		fields = append(fields, [][]string{
			{"version", itoa(v.Version)}, {"pool", v.Pool}, {"on failure", string(v.OnFailure)},
			{"max attempts", positive(v.MaxAttempts)}, {"timeout", v.Timeout}, {"backoff", v.Backoff}, {"unique", v.Unique},
			{"keep outcomes", v.Keep}, {"keep dead letters", retentionText(v)}, {"limit", limitText(v)}, {"slots", slotsText(v.Slots, now)}, {"priority", itoa(v.Priority)}, {"expected", v.Expected},
			{"loggable", strings.Join(v.Loggable, ", ")}, {"page", fmt.Sprint(v.Page)},
		}...)
	}
	if m := v.Measured; m != nil {
		var ends []string
		for _, how := range session.Endings {
			if n := m.ByEnding[string(how)]; n > 0 {
				ends = append(ends, fmt.Sprintf("%d %s", n, how))
			}
		}
		of := ""
		if len(ends) > 1 {
			of = " (of all attempts, however they ended)"
		}
		return append(fields, []string{"attempts", strings.Join(ends, ", ")}, []string{"p50", m.P50 + of}, []string{"p95", m.P95}, []string{"max", m.Max}, []string{"flow", flowText(v.Flow)})
	}
	return append(fields, []string{"attempts", "none has ended: unknown how long they take"})
}

// retentionText says which dead letters of a kind stay, nothing for all.
func retentionText(v kindView) string {
	var parts []string
	if v.DeadKeep != "" {
		parts = append(parts, v.DeadKeep)
	}
	if v.DeadMax > 0 {
		parts = append(parts, fmt.Sprintf("the newest %d", v.DeadMax))
	}
	return strings.Join(parts, ", ")
}

func positive(n int) string {
	if n == 0 {
		return ""
	}
	return itoa(n)
}
