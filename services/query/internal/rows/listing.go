// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/result"

	"github.com/tributary-project/tributary/services/query/internal/plan"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// LabelSets collects the label sets of a statement's rows. It is not safe for concurrent use.
type LabelSets struct {
	Statement plan.Statement
	// Matchers must all hold.
	Matchers []*labels.Matcher
	Meter    Meter
	Damage   Damage

	dims []promschema.Dimension
	id   []byte
	// found are the label sets, each once, as they came: sorted or nearly so when the statement sorts. known has their bytes.
	found []labels.Labels
	known map[string]struct{}
}

// Row takes a row.
func (l *LabelSets) Row(row result.Row) error {
	ls, ok, err := l.decode(row)
	if err != nil || !ok {
		return err
	}
	return l.add(ls)
}

// decode returns the label set of a row; false when it is damaged or not selected.
func (l *LabelSets) decode(row result.Row) (ls labels.Labels, ok bool, err error) {
	for i, o := range l.Statement.Outputs {
		if o.Role == plan.Rest && !row[i].Null && string(row[i].Text) != "false" {
			return ls, false, ErrRest
		}
	}
	ls, l.dims, err = decodeLabels(&l.Statement, row, l.dims)
	if err != nil {
		l.Damage.Add(Damage{Labels: 1, Example: err})
		return ls, false, nil //nolint:nilerr // what is damaged is counted and left out
	}
	return ls, matches(l.Matchers, ls), nil
}

func (l *LabelSets) add(ls labels.Labels) error {
	l.id = ls.Bytes(l.id[:0])
	if _, ok := l.known[string(l.id)]; ok {
		return nil
	}
	if err := l.Meter.Take(seriesBytes + 3*int64(len(l.id))); err != nil {
		return err
	}
	if l.known == nil {
		l.known = map[string]struct{}{}
	}
	l.known[string(l.id)] = struct{}{}
	l.found = append(l.found, ls)
	return nil
}

// MergeLabelSets returns what several found, sorted, each once.
func MergeLabelSets(all ...*LabelSets) []labels.Labels {
	n := 0
	for _, l := range all {
		n += len(l.found)
	}
	out := make([]labels.Labels, 0, n)
	for _, l := range all {
		out = append(out, l.found...)
	}
	slices.SortFunc(out, labels.Compare)
	return slices.CompactFunc(out, func(a, b labels.Labels) bool { return labels.Equal(a, b) })
}

// Texts collects texts, each once: label names or the values of a label.
type Texts struct {
	Statement plan.Statement
	// Name is the label whose values are meant; empty for the names of labels.
	Name   string
	Meter  Meter
	Damage Damage

	dims  []promschema.Dimension
	Found map[string]struct{}
}

// Row takes a row.
func (x *Texts) Row(row result.Row) error {
	for i, o := range x.Statement.Outputs {
		if o.Role != plan.Any || row[i].Null {
			continue
		}
		name := o.Name
		if name == "" {
			name = model.MetricNameLabel
		}
		if err := x.Add(name); err != nil {
			return err
		}
	}
	ls, dims, err := decodeLabels(&x.Statement, row, x.dims)
	x.dims = dims
	if err != nil {
		x.Damage.Add(Damage{Labels: 1, Example: err})
		return nil //nolint:nilerr // what is damaged is counted and left out
	}
	if x.Name != "" {
		return x.Add(ls.Get(x.Name))
	}
	ls.Range(func(l labels.Label) {
		if err == nil && l.Name != model.MetricNameLabel {
			err = x.Add(l.Name)
		}
	})
	return err
}

// Add adds a text; the empty one counts for nothing.
func (x *Texts) Add(s string) error {
	if _, ok := x.Found[s]; ok || s == "" {
		return nil
	}
	if err := x.Meter.Take(64 + int64(len(s))); err != nil {
		return err
	}
	if x.Found == nil {
		x.Found = map[string]struct{}{}
	}
	x.Found[strings.Clone(s)] = struct{}{}
	return nil
}

// Exemplars collects exemplars. It is not safe for concurrent use.
type Exemplars struct {
	LabelSets
	StartMs, EndMs int64

	times result.Clock
	byID  map[string]*series.Exemplars
}

// Row takes a row.
func (e *Exemplars) Row(row result.Row) error {
	ls, ok, err := e.decode(row)
	if err != nil || !ok {
		return err
	}
	var x series.Exemplar
	var bits, value *result.Cell
	for i, o := range e.Statement.Outputs {
		c := &row[i]
		if c.Null {
			continue
		}
		switch o.Role {
		case plan.Time:
			if x.T, err = e.times.Millis(c.Text); err != nil {
				return err
			}
		case plan.Value:
			value = c
		case plan.Bits:
			bits = c
		case plan.ExemplarLabels:
			if x.Labels, err = promschema.DecodeExemplar(string(c.Text)); err != nil {
				e.Damage.Add(Damage{Labels: 1, Example: err})
				return nil //nolint:nilerr // what is damaged is counted and left out
			}
		}
	}
	if x.T < e.StartMs || x.T > e.EndMs {
		return nil
	}
	switch {
	case bits != nil:
		b, err := strconv.ParseInt(string(bits.Text), 10, 64)
		if err != nil {
			return fmt.Errorf("%s %.40q: %w", promschema.BitsAttribute, bits.Text, err)
		}
		x.V = promschema.FloatFromBits(b)
	case value != nil:
		if x.V, err = result.Double(value.Text); err != nil {
			return err
		}
	default:
		return nil
	}
	e.id = ls.Bytes(e.id[:0])
	of := e.byID[string(e.id)]
	if of == nil {
		if err := e.Meter.Take(seriesBytes + 3*int64(len(e.id))); err != nil {
			return err
		}
		if e.byID == nil {
			e.byID = map[string]*series.Exemplars{}
		}
		of = &series.Exemplars{Labels: ls}
		e.byID[string(e.id)] = of
	}
	size := int64(64)
	x.Labels.Range(func(l labels.Label) { size += int64(len(l.Name) + len(l.Value)) })
	if err := e.Meter.Take(size); err != nil {
		return err
	}
	of.Exemplars = append(of.Exemplars, x)
	return nil
}

// MergeExemplars returns what several found: series sorted by labels, exemplars by time, then labels, then value, each once.
func MergeExemplars(all ...*Exemplars) []series.Exemplars {
	byID := map[string]*series.Exemplars{}
	for _, e := range all {
		for id, x := range e.byID {
			if have := byID[id]; have != nil {
				have.Exemplars = append(have.Exemplars, x.Exemplars...)
			} else {
				byID[id] = x
			}
		}
	}
	out := make([]series.Exemplars, 0, len(byID))
	for _, x := range byID {
		slices.SortFunc(x.Exemplars, compareExemplars)
		x.Exemplars = slices.CompactFunc(x.Exemplars, func(a, b series.Exemplar) bool { return compareExemplars(a, b) == 0 })
		out = append(out, *x)
	}
	slices.SortFunc(out, func(a, b series.Exemplars) int { return labels.Compare(a.Labels, b.Labels) })
	return out
}

// Metadata collects metadata. It is not safe for concurrent use.
type Metadata struct {
	Statement plan.Statement
	Meter     Meter
	Damage    Damage

	times result.Clock
	found map[string][]seen
}

// seen is an entry and when it was last stored.
type seen struct {
	promschema.Metadata
	t int64
}

// Row takes a row.
func (m *Metadata) Row(row result.Row) error {
	var metric, typ, help, unit string
	var at int64
	for i, o := range m.Statement.Outputs {
		c := &row[i]
		if c.Null {
			continue
		}
		switch o.Role {
		case plan.Dimension:
			metric = string(c.Text)
		case plan.MetricType:
			typ = string(c.Text)
		case plan.Help:
			help = string(c.Text)
		case plan.Unit:
			unit = string(c.Text)
		case plan.Time:
			var err error
			if at, err = m.times.Millis(c.Text); err != nil {
				return err
			}
		}
	}
	x, err := promschema.DecodeMetadata(typ, help, unit)
	if err != nil || metric == "" {
		m.Damage.Add(Damage{Labels: 1, Example: err})
		return nil //nolint:nilerr // what is damaged is counted and left out
	}
	if err := m.Meter.Take(128 + int64(len(metric)+len(help)+len(unit))); err != nil {
		return err
	}
	if m.found == nil {
		m.found = map[string][]seen{}
	}
	m.found[metric] = append(m.found[metric], seen{x, at})
	return nil
}

// metadataInForceMs is for how long an entry counts beside one that was stored later: entries are stored every hour while they are
// seen (promschema.MetadataValue).
const metadataInForceMs = 2 * 3_600_000

// Result returns the entries that were in force when one of their metric was last stored, sorted by metric; the latest first.
func (m *Metadata) Result() []series.MetricMetadata {
	out := make([]series.MetricMetadata, 0, len(m.found))
	for metric, entries := range m.found {
		slices.SortFunc(entries, func(a, b seen) int {
			switch {
			case a.t != b.t:
				return int(max(min(b.t-a.t, 1), -1))
			case a.Type != b.Type:
				return int(a.Type) - int(b.Type)
			case a.Help != b.Help:
				return strings.Compare(a.Help, b.Help)
			}
			return strings.Compare(a.Unit, b.Unit)
		})
		x := series.MetricMetadata{Metric: metric}
		for _, e := range entries {
			if entries[0].t-e.t <= metadataInForceMs {
				x.Entries = append(x.Entries, e.Metadata)
			}
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b series.MetricMetadata) int { return strings.Compare(a.Metric, b.Metric) })
	return out
}

func compareExemplars(a, b series.Exemplar) int {
	return cmp.Or(cmp.Compare(a.T, b.T), labels.Compare(a.Labels, b.Labels), cmp.Compare(math.Float64bits(a.V), math.Float64bits(b.V)))
}
