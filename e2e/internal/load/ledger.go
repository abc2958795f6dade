// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/e2e/internal/remoteread"
)

// Outcome is what came of a request.
type Outcome string

// The outcomes. What was abandoned may be stored or not.
const (
	Acknowledged Outcome = "acknowledged"
	Rejected     Outcome = "rejected"
	Abandoned    Outcome = "abandoned"
)

// Request is one request, or one pass of a request that holds several: a sample at TimestampMs for each series of Span.
type Request struct {
	Span        Span    `json:"span"`
	TimestampMs int64   `json:"timestamp_ms"`
	Outcome     Outcome `json:"outcome"`
}

// Ledger is the memory of a run. With it every sample that was sent, and its value, is known.
type Ledger struct {
	Run      string    `json:"run"`
	Series   int       `json:"series"`
	Requests []Request `json:"requests"`
}

// Save writes the ledger to a file.
func (l *Ledger) Save(path string) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// ReadLedger reads a ledger that Save wrote.
func ReadLedger(path string) (*Ledger, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	l := new(Ledger)
	if err := json.Unmarshal(text, l); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

// Verification compares what was read with what was sent, in samples.
type Verification struct {
	// Acknowledged were sent and answered by 2xx, Found are those of them that were read with equal bits.
	Acknowledged, Found int64
	// Missing were acknowledged and not read. Different were read with other bits than sent.
	Missing, Different int64
	// Unacknowledged were sent without 2xx and read all the same; that is allowed, for their outcome was unknown.
	Unacknowledged int64
	// Foreign were read in a series or at a time that was never sent; Repeated were read more than once.
	Foreign, Repeated int64
	// Examples describe the first few of what is wrong.
	Examples []string
}

// OK says whether every acknowledged sample was read, once, with equal bits, and nothing else that was not sent.
func (v *Verification) OK() bool { return v.Missing+v.Different+v.Foreign+v.Repeated == 0 }

func (v *Verification) example(format string, args ...any) {
	if len(v.Examples) < 10 {
		v.Examples = append(v.Examples, fmt.Sprintf(format, args...))
	}
}

// Verify reads everything that the run sent by remote read at url and compares it with the ledger: a query per metric name and
// span of time. An error means that reading failed, and nothing about the samples.
func (l *Ledger) Verify(ctx context.Context, client *http.Client, url string, span time.Duration) (*Verification, error) {
	v := &Verification{}
	if len(l.Requests) == 0 {
		return v, nil
	}
	set := NewSet(l.Series, l.Run)
	sent := make([]map[int64]Outcome, l.Series) // by series: when, and what came of it
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	bySpan := map[Span]map[int64]Outcome{} // series of one template share the map
	for _, r := range l.Requests {
		if bySpan[r.Span] == nil {
			bySpan[r.Span] = map[int64]Outcome{}
			for n := range r.Span.Count {
				sent[r.Span.at(n)] = bySpan[r.Span]
			}
		}
		bySpan[r.Span][r.TimestampMs] = r.Outcome
		first, last = min(first, r.TimestampMs), max(last, r.TimestampMs)
	}
	byName := map[string][]int{}
	for i := range l.Series {
		byName[set.Name(i)] = append(byName[set.Name(i)], i)
	}
	names := make([]string, 0, len(byName))
	for name := range byName {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		index := map[string]int{}
		for _, i := range byName[name] {
			index[key(set.Labels(i))] = i
		}
		seen := make(map[int]map[int64]bool, len(index))
		for from := first; from <= last; from += span.Milliseconds() {
			result, err := read(ctx, client, url, name, l.Run, from, min(last, from+span.Milliseconds()-1))
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", name, err)
			}
			v.compare(set, result, index, sent, seen)
		}
		for _, i := range byName[name] {
			for t, outcome := range sent[i] {
				if outcome != Acknowledged {
					continue
				}
				v.Acknowledged++
				if !seen[i][t] {
					v.Missing++
					v.example("missing: %s{%s} at %d", name, text(set.Labels(i)), t)
				}
			}
		}
	}
	return v, nil
}

// compare counts the samples of a result and marks them in seen.
func (v *Verification) compare(set Set, result *prompb.QueryResult, index map[string]int, sent []map[int64]Outcome, seen map[int]map[int64]bool) {
	for _, ts := range result.Timeseries {
		labels := make([]Label, len(ts.Labels))
		for n, l := range ts.Labels {
			labels[n] = Label{l.Name, l.Value}
		}
		i, ok := index[key(labels)]
		if !ok {
			v.Foreign += int64(len(ts.Samples))
			v.example("never sent: {%s}", text(labels))
			continue
		}
		if seen[i] == nil {
			seen[i] = map[int64]bool{}
		}
		for _, s := range ts.Samples {
			outcome, ok := sent[i][s.Timestamp]
			switch {
			case !ok:
				v.Foreign++
				v.example("never sent: {%s} at %d", text(labels), s.Timestamp)
				continue
			case seen[i][s.Timestamp]:
				v.Repeated++
				v.example("twice: {%s} at %d", text(labels), s.Timestamp)
				continue
			case math.Float64bits(s.Value) != math.Float64bits(set.Value(i, s.Timestamp)):
				v.Different++
				v.example("different: {%s} at %d: got %v, sent %v", text(labels), s.Timestamp, s.Value, set.Value(i, s.Timestamp))
			case outcome == Acknowledged:
				v.Found++
			default:
				v.Unacknowledged++
			}
			seen[i][s.Timestamp] = true
		}
	}
}

// read asks for the series of one metric of a run, both bounds included.
func read(ctx context.Context, client *http.Client, url, name, run string, fromMs, toMs int64) (*prompb.QueryResult, error) {
	results, err := remoteread.Read(ctx, client, url, &prompb.Query{
		StartTimestampMs: fromMs, EndTimestampMs: toMs,
		Matchers: []*prompb.LabelMatcher{
			{Type: prompb.LabelMatcher_EQ, Name: "__name__", Value: name},
			{Type: prompb.LabelMatcher_EQ, Name: "cluster", Value: run},
		},
	})
	if err != nil {
		return nil, err
	}
	return results[0], nil
}

func text(labels []Label) string {
	parts := make([]string, len(labels))
	for i, l := range labels {
		parts[i] = fmt.Sprintf("%s=%q", l.Name, l.Value)
	}
	return strings.Join(parts, ", ")
}
