// Package inspect shows lanes, jobs, dead letters, totals and durations. It is for operators, and
// for those who write the pages, commands and checks that operators use. A program begins with
// [New] on a dispatcher that it has opened, and with Config.Look where it shall create nothing.
//
// An [Inspector] reads and never writes: it takes no lease, and no lane waits for it. A look
// costs as much as the page that was asked for, and not more for a larger backlog. Lists come
// page by page: [Page] says how. A job or a letter that was listed may have gone on by the time
// that it is shown or replayed, so whoever acts on a list gets [dispatcher.ErrNotFound] now and
// then.
//
// On a cluster with a master away, what can be seen comes beside a [dispatcher.IncompleteError],
// which names the rest. All methods end with their context, and wait for ten seconds at most for
// each answer of Redis: their error wraps [dispatcher.ErrUnavailable] when none comes. Their
// results have a JSON form, with names like those of the command's fields, without payloads, and
// with [] for an empty list.
//
// Reading order: inspect.go has what is shown; lanes.go, jobinfo.go and limits.go; dead.go, jobs.go, audit.go, stats.go; why.go, with whyfacts.go, whylane.go, whyjob.go and whywords.go;
// durations.go for estimates; trail.go and flow.go for what has ended,
// hot.go and deepest.go for the lanes that have most, timeline.go for one lane over time.
package inspect
