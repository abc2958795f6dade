// SPDX-License-Identifier: Apache-2.0

// Package rows turns result rows of Timestream into series: it reads the texts, decodes label sets, matches once more
// with Prometheus' own matchers, and merges what belongs to one series. Where the rows come from is left to others.
package rows

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/timestream/promschema"

	"github.com/tributary-project/tributary/services/query/internal/plan"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// Meter is told of what is being held before it is held (a histogram: when it has been read, it is never large), and can
// refuse it.
type Meter interface {
	Take(samples, bytes int64) error
}

// Approximate costs in memory, of which a Meter is told.
const (
	sampleBytes = 16
	seriesBytes = 256
)

// ErrRest says that a row has a dimension that the statement did not ask for: what it took for granted of the table is
// out of date.
var ErrRest = errors.New("a series has a label that was not known of its metric")

// Collector takes the rows of one statement. It is not safe for concurrent use.
type Collector struct {
	statement plan.Statement
	selection series.Selection
	decoder   *promschema.HistogramDecoder
	meter     Meter

	times    clock
	key      []byte
	dims     []promschema.Dimension
	byRow    map[string]*entry
	byLabels map[string]*entry
	damage   Damage
}

// Damage is what a Collector left out.
type Damage struct {
	// Labels counts the stored label sets that could not be decoded.
	Labels int
	// Histograms counts those that could not be decoded, Incomplete those of which a record is missing.
	Histograms, Incomplete int
	// Example is why the first of all was left out.
	Example error
}

// Add adds other damage.
func (d *Damage) Add(o Damage) {
	d.Labels += o.Labels
	d.Histograms += o.Histograms
	d.Incomplete += o.Incomplete
	if d.Example == nil {
		d.Example = o.Example
	}
}

// entry is one series, or, with match false, a label set that is not selected.
type entry struct {
	labels     labels.Labels
	samples    []series.Sample
	histograms []series.Histogram
	parts      []part
	match      bool
}

// NewCollector returns a collector of what the statement finds and the selection wants.
func NewCollector(st plan.Statement, sel series.Selection, d *promschema.HistogramDecoder, m Meter) *Collector {
	return &Collector{statement: st, selection: sel, decoder: d, meter: m, byRow: map[string]*entry{}, byLabels: map[string]*entry{}}
}

// Add takes rows. An error means that the result cannot be trusted or is refused by the meter; what is damaged is left out
// and counted instead, see Damage.
func (c *Collector) Add(rows []types.Row) error {
	for _, r := range rows {
		if len(r.Data) != len(c.statement.Outputs) {
			return fmt.Errorf("a row of %d columns where %d were asked for", len(r.Data), len(c.statement.Outputs))
		}
		if err := c.row(r.Data); err != nil {
			return err
		}
	}
	return nil
}

// Damage returns what was left out.
func (c *Collector) Damage() Damage { return c.damage }

func (c *Collector) row(data []types.Datum) error {
	e, err := c.entry(data)
	if err != nil || e == nil || !e.match {
		return err
	}
	var at, value, bits *string
	var texts [promschema.MaxHistogramPieces]*string
	for i, o := range c.statement.Outputs {
		switch o.Role {
		case plan.Samples:
			return c.points(e, data[i].TimeSeriesValue)
		case plan.Time:
			at = data[i].ScalarValue
		case plan.Value:
			value = data[i].ScalarValue
		case plan.Bits:
			bits = data[i].ScalarValue
		case plan.Histogram, plan.Histogram2, plan.Histogram3:
			texts[o.Role-plan.Histogram] = data[i].ScalarValue
		}
	}
	if at == nil {
		return nil
	}
	t, err := c.times.millis(*at)
	if err != nil {
		return err
	}
	if t < c.selection.StartMs || t > c.selection.EndMs {
		return nil
	}
	for piece, text := range texts {
		if text != nil {
			return c.histogram(e, t, piece, *text)
		}
	}
	if value == nil && bits == nil {
		return nil
	}
	var v float64
	if bits != nil {
		b, err := strconv.ParseInt(*bits, 10, 64)
		if err != nil {
			return fmt.Errorf("%s %.40q: %w", promschema.BitsAttribute, *bits, err)
		}
		v = promschema.FloatFromBits(b)
	} else if v, err = double(*value); err != nil {
		return err
	}
	if err := c.meter.Take(1, sampleBytes); err != nil {
		return err
	}
	e.samples = append(e.samples, series.Sample{T: t, V: v})
	return nil
}

// points appends the points of a time series.
func (c *Collector) points(e *entry, points []types.TimeSeriesDataPoint) error {
	if len(points) == 0 {
		return nil
	}
	if err := c.meter.Take(int64(len(points)), int64(len(points))*sampleBytes); err != nil {
		return err
	}
	e.samples = slices.Grow(e.samples, len(points))
	for i := range points {
		p := &points[i]
		if p.Time == nil || p.Value == nil || p.Value.ScalarValue == nil {
			return errors.New("a point of a time series has no time or no value")
		}
		t, err := c.times.millis(*p.Time)
		if err != nil {
			return err
		}
		if t < c.selection.StartMs || t > c.selection.EndMs {
			continue
		}
		v, err := double(*p.Value.ScalarValue)
		if err != nil {
			return err
		}
		e.samples = append(e.samples, series.Sample{T: t, V: v})
	}
	return nil
}

// entry returns what is known of the row's label set; nil when it is damaged.
func (c *Collector) entry(data []types.Datum) (*entry, error) {
	c.key = c.key[:0]
	for i, o := range c.statement.Outputs {
		switch o.Role {
		case plan.Dimension, plan.Measure:
			if s := data[i].ScalarValue; s != nil {
				c.key = binary.AppendUvarint(c.key, uint64(len(*s))+1)
				c.key = append(c.key, *s...)
			} else {
				c.key = append(c.key, 0)
			}
		case plan.Rest:
			if s := data[i].ScalarValue; s != nil && *s != "false" {
				return nil, ErrRest
			}
		}
	}
	if e, ok := c.byRow[string(c.key)]; ok {
		return e, nil
	}
	measure := c.statement.Measure
	c.dims = c.dims[:0]
	for i, o := range c.statement.Outputs {
		s := data[i].ScalarValue
		switch {
		case s == nil:
		case o.Role == plan.Measure:
			measure = *s
		case o.Role == plan.Dimension:
			c.dims = append(c.dims, promschema.Dimension{Name: o.Name, Value: *s})
		}
	}
	size := int64(seriesBytes + 2*len(c.key))
	ls, err := promschema.DecodeLabels(measure, c.dims)
	if err != nil {
		c.damage.Add(Damage{Labels: 1, Example: err})
		if err := c.meter.Take(0, size); err != nil {
			return nil, err
		}
		c.byRow[string(c.key)] = nil
		return nil, nil
	}
	id := string(ls.Bytes(nil))
	e, ok := c.byLabels[id]
	if !ok {
		e = &entry{labels: ls, match: c.matches(ls)}
		c.byLabels[id] = e
		size += int64(2 * len(id))
	}
	if err := c.meter.Take(0, size); err != nil {
		return nil, err
	}
	c.byRow[string(c.key)] = e
	return e, nil
}

func (c *Collector) matches(ls labels.Labels) bool {
	for _, m := range c.selection.Matchers {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// Result is what statements found, together.
type Result struct {
	// Series are sorted by labels.
	Series []series.Series
	// Samples is how many samples they have.
	Samples int64
	// Conflicts counts samples that were left out because the same series has another value at the same millisecond.
	Conflicts int64
}

// Merge puts together what the collectors found, each of which must be complete and not be used after. Of samples that
// disagree the one of the higher rank is kept (promschema.Rank), then that of the earlier collector.
func Merge(cs ...*Collector) Result {
	all := map[string]*entry{}
	var r Result
	for _, c := range cs {
		for id, e := range c.byLabels {
			if !e.match || len(e.samples) == 0 && len(e.histograms) == 0 {
				continue
			}
			r.Conflicts += e.sort()
			if other, ok := all[id]; ok {
				r.Conflicts += other.merge(e.samples)
				other.histograms = append(other.histograms, e.histograms...)
			} else {
				all[id] = e
			}
		}
		c.byLabels, c.byRow = nil, nil
	}
	r.Series = make([]series.Series, 0, len(all))
	for _, e := range all {
		if len(e.histograms) > 0 {
			r.Conflicts += e.sortHistograms() + e.settle()
		}
		r.Series = append(r.Series, series.Series{Labels: e.labels, Samples: e.samples, Histograms: e.histograms})
		r.Samples += int64(len(e.samples) + len(e.histograms))
	}
	slices.SortFunc(r.Series, func(a, b series.Series) int { return labels.Compare(a.Labels, b.Labels) })
	return r
}

// sort puts the samples in order and leaves one for each millisecond; it returns how many disagreed. Equal ranks are
// told apart by their bits, so that the order in which rows came plays no part.
func (e *entry) sort() (conflicts int64) {
	s := e.samples
	ordered := true
	for i := 1; i < len(s) && ordered; i++ {
		ordered = s[i-1].T < s[i].T
	}
	if ordered {
		return 0
	}
	slices.SortFunc(s, func(a, b series.Sample) int {
		switch {
		case a.T != b.T:
			return cmp.Compare(a.T, b.T)
		case promschema.Rank(a.V) != promschema.Rank(b.V):
			return promschema.Rank(b.V) - promschema.Rank(a.V)
		}
		return cmp.Compare(math.Float64bits(a.V), math.Float64bits(b.V))
	})
	kept := s[:1]
	for _, x := range s[1:] {
		last := kept[len(kept)-1]
		switch {
		case x.T != last.T:
			kept = append(kept, x)
		case !sameBits(x.V, last.V):
			conflicts++
		}
	}
	e.samples = kept
	return conflicts
}

// merge adds samples to those of e, both in order, and returns how many disagreed.
func (e *entry) merge(more []series.Sample) (conflicts int64) {
	if len(more) == 0 {
		return 0
	}
	out := make([]series.Sample, 0, len(e.samples)+len(more))
	mine := e.samples
	for len(mine) > 0 && len(more) > 0 {
		a, b := mine[0], more[0]
		switch {
		case a.T < b.T:
			out, mine = append(out, a), mine[1:]
			continue
		case a.T > b.T:
			out, more = append(out, b), more[1:]
			continue
		}
		mine, more = mine[1:], more[1:]
		if !sameBits(a.V, b.V) {
			conflicts++
		}
		if promschema.Rank(b.V) > promschema.Rank(a.V) {
			a = b
		}
		out = append(out, a)
	}
	e.samples = append(append(out, mine...), more...)
	return conflicts
}

func sameBits(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }
