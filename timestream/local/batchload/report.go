// SPDX-License-Identifier: Apache-2.0

package batchload

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tributary-project/tributary/timestream/local/internal/storing"
)

// failures is what a task found wrong, as its error report has it (Developer Guide, batch-load-using-error-reports): of each file the reasons,
// and of each reason the lines. It is bounded; what has no place is counted.
type failures struct {
	Task     []failure      `json:",omitempty"`
	Files    []fileFailures `json:",omitempty"`
	Reasons  int            `json:",omitempty"`
	Ranges   int            `json:",omitempty"`
	Unlisted int64          `json:",omitempty"`
}

type fileFailures struct {
	FileName string    `json:"fileName"`
	Errors   []failure `json:"errors"`
}

// failure is a reason and the lines that it is about, from the first to the last of each range; none for a whole file.
type failure struct {
	Reason     string     `json:"reason"`
	LineRanges [][2]int64 `json:"lineRanges,omitempty"`
}

const (
	maxReportReasons = 500
	maxReportRanges  = 10_000
	// maxReason is the longest reason in bytes: it may repeat what is in the file.
	maxReason = 512
)

// windowReason begins the reason of a record outside the window, which names the times; in a report it names none, so that all such lines are
// together, as in the guide's example.
const windowReason = "The record timestamp is outside the time range "

// reportReason is what a report says of a rejection or an error.
func reportReason(s string) string {
	if strings.HasPrefix(s, windowReason) {
		_, store, _ := strings.Cut(s, ") of the ")
		return windowReason + "of the " + store
	}
	if s = storing.Sentence(s); len(s) > maxReason {
		n := maxReason
		for !utf8.RuneStart(s[n]) {
			n--
		}
		return s[:n] + "…"
	}
	return s
}

// task notes what is wrong with the task.
func (e *failures) task(err error) {
	e.Task = append(e.Task, failure{Reason: reportReason(err.Error())})
}

// file notes what is wrong with a whole file.
func (e *failures) file(name string, err error) { e.lines(name, err.Error(), 0, 0) }

// lines notes what is wrong with the lines of a file.
func (e *failures) lines(name, reason string, first, last int64) {
	r := e.place(name, reportReason(reason))
	if r == nil {
		e.Unlisted++
		return
	}
	n := len(r.LineRanges) - 1
	switch {
	case first == 0:
	case n >= 0 && first <= r.LineRanges[n][1]+1:
		r.LineRanges[n][1] = max(r.LineRanges[n][1], last)
	case e.Ranges == maxReportRanges:
		e.Unlisted++
	default:
		e.Ranges++
		r.LineRanges = append(r.LineRanges, [2]int64{first, last})
	}
}

// place is where the lines of a file with a reason are noted, nil when there is no place. Files come one after another.
func (e *failures) place(name, reason string) *failure {
	if n := len(e.Files); n == 0 || e.Files[n-1].FileName != name {
		if e.Reasons == maxReportReasons {
			return nil
		}
		e.Files = append(e.Files, fileFailures{FileName: name})
	}
	f := &e.Files[len(e.Files)-1]
	for i := range f.Errors {
		if f.Errors[i].Reason == reason {
			return &f.Errors[i]
		}
	}
	if e.Reasons == maxReportReasons {
		return nil
	}
	e.Reasons++
	f.Errors = append(f.Errors, failure{Reason: reason})
	return &f.Errors[len(f.Errors)-1]
}

// clone shares nothing with e.
func (e *failures) clone() failures {
	c := *e
	c.Task = slices.Clone(e.Task)
	c.Files = slices.Clone(e.Files)
	for i := range c.Files {
		errs := slices.Clone(c.Files[i].Errors)
		for k := range errs {
			errs[k].LineRanges = slices.Clone(errs[k].LineRanges)
		}
		c.Files[i].Errors = errs
	}
	return c
}

// any tells whether something is wrong.
func (e *failures) any() bool { return len(e.Task) > 0 || len(e.Files) > 0 || e.Unlisted > 0 }

// ordered has the reasons of each file by the first lines that they are about; those about no lines come last.
func (e *failures) ordered() []fileFailures {
	files := e.clone().Files
	for _, f := range files {
		slices.SortStableFunc(f.Errors, func(a, b failure) int { return cmp.Compare(a.line(), b.line()) })
	}
	return files
}

// line is the first that a reason is about.
func (f *failure) line() int64 {
	if len(f.LineRanges) == 0 {
		return math.MaxInt64
	}
	return f.LineRanges[0][0]
}

// report is the object in the bucket. The elements of taskErrors are not published; here they have a reason, as those of files.
func (e *failures) report(id string) ([]byte, error) {
	task, files := append([]failure{}, e.Task...), e.ordered()
	if e.Unlisted > 0 {
		task = append(task, failure{Reason: fmt.Sprintf("%d more errors are not listed: a report has at most %d reasons and %d ranges of lines.", e.Unlisted, maxReportReasons, maxReportRanges)})
	}
	if files == nil {
		files = []fileFailures{}
	}
	return json.MarshalIndent(struct {
		TaskID     string         `json:"taskId"`
		TaskErrors []failure      `json:"taskErrors"`
		FileErrors []fileFailures `json:"fileErrors"`
	}{id, task, files}, "", "  ")
}
