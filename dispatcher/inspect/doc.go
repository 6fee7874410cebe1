// Package inspect looks into the lanes of a namespace, for operators and for what they look with: lanes, jobs, dead
// letters, totals, durations. It changes nothing. What a look costs depends on the page that was asked for and not on the
// backlog; on a cluster with a master away, what can be seen comes beside a [dispatcher.IncompleteError].
//
// Reading order: inspect.go has what is shown; lanes.go and jobinfo.go; dead.go, stats.go; durations.go for estimates.
package inspect
