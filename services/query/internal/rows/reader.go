// SPDX-License-Identifier: Apache-2.0

// Package rows turns result rows of Timestream into series: it reads the texts, decodes label sets, matches once more
// with Prometheus' own matchers, and merges what belongs to one series, as the rows come. Where the rows come from is left to
// others.
package rows

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/result"

	"github.com/tributary-project/tributary/services/query/internal/plan"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// Meter is told of what is held until a result has been read to its end, before it is held, and can refuse it.
type Meter interface {
	Take(bytes int64) error
}

// Approximate costs in memory, of which a Meter is told.
const (
	sampleBytes = 16
	seriesBytes = 256
)

// SeriesBytes is about what a piece of a series takes in memory.
func SeriesBytes(x series.Series) int64 {
	n := sampleBytes*int64(len(x.Samples)) + 8*int64(len(x.Starts))
	if !x.Continued {
		n += seriesBytes
		x.Labels.Range(func(l labels.Label) { n += int64(len(l.Name) + len(l.Value)) })
	}
	for _, h := range x.Histograms {
		n += histogramBytes(h.H)
	}
	return n
}

// ErrRest says that a row has a dimension that the statement did not ask for: what it took for granted of the table is
// out of date.
var ErrRest = errors.New("a series has a label that was not known of its metric")

// ErrUnsorted says that rows came in another order than they were asked for.
var ErrUnsorted = errors.New("rows are not sorted as labels are")

// Sink takes what a Reader has read.
type Sink interface {
	// Begin is called once, before the first piece, with what had to be held until then: sorted by labels, one piece for each
	// series. It is the sink's from then on.
	Begin(held []*Piece) error
	// Piece takes one piece; pieces come sorted by labels, those of a series in order of time. It is the sink's, which Releases
	// it.
	Piece(*Piece) error
}

// Config is what a Reader reads.
type Config struct {
	Statement plan.Statement
	Selection series.Selection
	Decoder   *promschema.HistogramDecoder
	Meter     Meter
	Sink      Sink
	// After, when it is not nil, is where an earlier reading of the same rows ended: nothing up to there is given out again.
	After *Place
}

// Place is a place in sorted rows: all samples of a series up to a time, and all series before it.
type Place struct {
	Labels labels.Labels
	T      int64
	// Held says that Begin was called before.
	Held bool
}

// Reader takes the rows of one statement. It is not safe for concurrent use.
type Reader struct {
	cfg    Config
	packed int // the column that is not NULL for packed labels; -1 for none

	times  result.Clock
	key    []byte
	dims   []promschema.Dimension
	damage Damage
	// conflicts counts samples that were left out.
	conflicts int64

	// held are the series that the rows do not come sorted by, until begun.
	byRow    map[string]*entry
	byLabels map[string]*entry
	begun    bool

	// at is the series of the row before, and atKey its dimensions.
	at    *entry
	atKey []byte
	place Place
}

// Damage is what a Reader left out.
type Damage struct {
	// Labels counts the stored label sets that could not be decoded.
	Labels int
	// Histograms counts those that could not be decoded, Incomplete those of which a record is missing.
	Histograms, Incomplete int
	// Example is why the first of all was left out.
	Example error
}

// Total is how much was left out.
func (d *Damage) Total() int { return d.Labels + d.Histograms + d.Incomplete }

// Add adds other damage.
func (d *Damage) Add(o Damage) {
	d.Labels += o.Labels
	d.Histograms += o.Histograms
	d.Incomplete += o.Incomplete
	if d.Example == nil {
		d.Example = o.Example
	}
}

// entry is one series being read, or, with match false, a label set that is not selected.
type entry struct {
	labels labels.Labels
	match  bool
	piece  *Piece
	parts  []part
}

// NewReader returns a reader of what the statement finds and the selection wants.
func NewReader(c Config) *Reader {
	r := &Reader{cfg: c, packed: -1, byRow: map[string]*entry{}, byLabels: map[string]*entry{}}
	for i, o := range c.Statement.Outputs {
		if o.Role == plan.Dimension && o.Name == promschema.PackedDimension(0) {
			r.packed = i
		}
	}
	if c.After != nil {
		r.place, r.begun = *c.After, c.After.Held
	}
	return r
}

// Row takes a row. An error means that the result cannot be trusted or is refused by the meter or the sink; what is damaged is
// left out and counted instead, see Damage.
func (r *Reader) Row(row result.Row) error {
	if len(row) != len(r.cfg.Statement.Outputs) {
		return fmt.Errorf("a row of %d columns where %d were asked for", len(row), len(r.cfg.Statement.Outputs))
	}
	e, err := r.entry(row)
	if err != nil || e == nil || !e.match {
		return err
	}
	if err := r.sample(e, row); err != nil {
		return err
	}
	if e != r.at {
		return nil
	}
	return r.flushFull()
}

// End gives out what is left, when all rows have been taken.
func (r *Reader) End() error {
	if err := r.leave(); err != nil {
		return err
	}
	return r.begin()
}

// Damage returns what was left out because it could not be read.
func (r *Reader) Damage() Damage { return r.damage }

// Conflicts returns how many samples were left out because of others of the same series and millisecond.
func (r *Reader) Conflicts() int64 { return r.conflicts }

// Place returns how far the sink has been given what was read.
func (r *Reader) Place() Place { return r.place }

// entry returns what is known of the row's label set; nil when it is damaged.
func (r *Reader) entry(row result.Row) (*entry, error) {
	r.key = r.key[:0]
	for i, o := range r.cfg.Statement.Outputs {
		c := &row[i]
		switch o.Role {
		case plan.Dimension, plan.Measure:
			if c.Null {
				r.key = append(r.key, 0)
			} else {
				r.key = binary.AppendUvarint(r.key, uint64(len(c.Text))+1)
				r.key = append(r.key, c.Text...)
			}
		case plan.Rest:
			if !c.Null && string(c.Text) != "false" {
				return nil, ErrRest
			}
		}
	}
	if !r.cfg.Statement.Sorted || r.packed >= 0 && !row[r.packed].Null {
		return r.heldEntry(row)
	}
	if r.at != nil && bytes.Equal(r.key, r.atKey) {
		return r.at, nil
	}
	return r.nextEntry(row)
}

// heldEntry returns the entry of a row that does not come in order.
func (r *Reader) heldEntry(row result.Row) (*entry, error) {
	if r.at != nil {
		return nil, ErrUnsorted // these were to come first
	}
	if r.begun {
		return &entry{}, nil // they have been given out by an earlier reading
	}
	if e, ok := r.byRow[string(r.key)]; ok {
		return e, nil
	}
	ls, err := r.labels(row)
	size := int64(seriesBytes + 2*len(r.key))
	if err != nil {
		r.damage.Add(Damage{Labels: 1, Example: err})
		if err := r.cfg.Meter.Take(size); err != nil {
			return nil, err
		}
		r.byRow[string(r.key)] = nil
		return nil, nil
	}
	id := string(ls.Bytes(nil))
	e, ok := r.byLabels[id]
	if !ok {
		e = &entry{labels: ls, match: r.matches(ls), piece: &Piece{Labels: ls}}
		r.byLabels[id] = e
		size += int64(2 * len(id))
	}
	if err := r.cfg.Meter.Take(size); err != nil {
		return nil, err
	}
	r.byRow[string(r.key)] = e
	return e, nil
}

// nextEntry ends the series that rows were read of and begins the next.
func (r *Reader) nextEntry(row result.Row) (*entry, error) {
	if err := r.leave(); err != nil {
		return nil, err
	}
	if err := r.begin(); err != nil {
		return nil, err
	}
	ls, err := r.labels(row)
	if err != nil {
		r.damage.Add(Damage{Labels: 1, Example: err})
		return nil, nil //nolint:nilerr // what is damaged is counted and left out
	}
	if r.at != nil {
		switch c := labels.Compare(r.at.labels, ls); {
		case c > 0:
			return nil, fmt.Errorf("%w: %s after %s", ErrUnsorted, ls, r.at.labels)
		case c == 0: // the same label set in other columns
			r.atKey = append(r.atKey[:0], r.key...)
			return r.at, nil
		}
	}
	r.atKey = append(r.atKey[:0], r.key...)
	r.at = &entry{labels: ls, match: r.matches(ls)}
	return r.at, nil
}

// labels decodes the label set of a row.
func (r *Reader) labels(row result.Row) (ls labels.Labels, err error) {
	ls, r.dims, err = decodeLabels(&r.cfg.Statement, row, r.dims)
	return ls, err
}

// decodeLabels decodes the label set of a row; dims is memory to use again.
func decodeLabels(st *plan.Statement, row result.Row, dims []promschema.Dimension) (labels.Labels, []promschema.Dimension, error) {
	measure := st.Measure
	dims = dims[:0]
	for i, o := range st.Outputs {
		switch {
		case row[i].Null:
		case o.Role == plan.Measure:
			measure = string(row[i].Text)
		case o.Role == plan.Dimension:
			dims = append(dims, promschema.Dimension{Name: o.Name, Value: string(row[i].Text)})
		}
	}
	ls, err := promschema.DecodeLabels(measure, dims)
	return ls, dims, err
}

func (r *Reader) matches(ls labels.Labels) bool { return matches(r.cfg.Selection.Matchers, ls) }

func matches(ms []*labels.Matcher, ls labels.Labels) bool {
	for _, m := range ms {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// hold tells the meter of what is kept for a series that does not come in order.
func (r *Reader) hold(e *entry, bytes int64) error {
	if e == r.at {
		return nil
	}
	return r.cfg.Meter.Take(bytes)
}

// sample takes the sample, or the samples, of a row.
func (r *Reader) sample(e *entry, row result.Row) error {
	if e.piece == nil {
		e.piece = NewPiece(e.labels)
	}
	var at, value, bits, start *result.Cell
	var texts [promschema.MaxHistogramPieces]*result.Cell
	for i, o := range r.cfg.Statement.Outputs {
		c := &row[i]
		if c.Null {
			continue
		}
		switch o.Role {
		case plan.Samples:
			return r.points(e, c.Points)
		case plan.Time:
			at = c
		case plan.Value:
			value = c
		case plan.Bits:
			bits = c
		case plan.Start:
			start = c
		case plan.Histogram, plan.Histogram2, plan.Histogram3:
			texts[o.Role-plan.Histogram] = c
		}
	}
	if at == nil {
		return nil
	}
	t, err := r.times.Millis(at.Text)
	if err != nil {
		return err
	}
	if r.cfg.Statement.Kind == plan.Starts {
		return r.start(e, t, start)
	}
	from := r.cfg.Selection.StartMs
	if texts != [len(texts)]*result.Cell{} {
		from -= r.cfg.Selection.HistogramLeadMs
	}
	if t < from || t > r.cfg.Selection.EndMs {
		return nil
	}
	if err := r.flushBefore(e, t); err != nil {
		return err
	}
	for piece, text := range texts {
		if text != nil {
			return r.histogram(e, t, start, piece, string(text.Text))
		}
	}
	var v float64
	switch {
	case bits != nil:
		b, err := strconv.ParseInt(string(bits.Text), 10, 64)
		if err != nil {
			return fmt.Errorf("%s %.40q: %w", promschema.BitsAttribute, bits.Text, err)
		}
		v = promschema.FloatFromBits(b)
	case value != nil:
		if v, err = result.Double(value.Text); err != nil {
			return err
		}
	default:
		return nil
	}
	if err := r.hold(e, sampleBytes); err != nil {
		return err
	}
	e.piece.Samples = append(e.piece.Samples, series.Sample{T: t, V: v})
	return nil
}

// points takes the points of a time series.
func (r *Reader) points(e *entry, points []result.Point) error {
	if err := r.hold(e, int64(len(points))*sampleBytes); err != nil {
		return err
	}
	p := e.piece
	p.Samples = slices.Grow(p.Samples, min(len(points), maxPieceSamples))
	start, end := r.cfg.Selection.StartMs, r.cfg.Selection.EndMs
	for _, x := range points {
		if x.T < start || x.T > end {
			continue
		}
		if n := len(p.Samples); n >= maxPieceSamples && e == r.at && p.Samples[n-1].T < x.T {
			if err := r.flush(); err != nil {
				return err
			}
			e.piece = NewPiece(e.labels)
			p = e.piece
		}
		p.Samples = append(p.Samples, series.Sample{T: x.T, V: x.V})
	}
	return nil
}

// start takes a start timestamp.
func (r *Reader) start(e *entry, t int64, c *result.Cell) error {
	ms, err := startOf(c)
	if err != nil {
		return err
	}
	if err := r.hold(e, sampleBytes); err != nil {
		return err
	}
	e.piece.Starts = append(e.piece.Starts, Start{T: t, Ms: ms})
	if e == r.at && len(e.piece.Starts) >= pieceSamples {
		return r.flush()
	}
	return nil
}

func startOf(c *result.Cell) (int64, error) {
	if c == nil {
		return 0, nil
	}
	return promschema.DecodeStart(string(c.Text))
}

const (
	// pieceSamples is how many records of one series go into one piece.
	pieceSamples = 240
	// maxPieceSamples is how many points of one row do.
	maxPieceSamples = 8 << 10
)

// flushFull gives out a piece that is a row of its own.
func (r *Reader) flushFull() error {
	if r.cfg.Statement.Bin == 0 {
		return nil
	}
	return r.flush()
}

// flushBefore gives out a piece that has grown, before the first sample of a later millisecond is added.
func (r *Reader) flushBefore(e *entry, t int64) error {
	if e != r.at || e.piece.len()+len(e.parts) < pieceSamples {
		return nil
	}
	last := e.piece.last()
	for _, p := range e.parts {
		last = max(last, p.t)
	}
	if last >= t {
		return nil
	}
	if err := r.flush(); err != nil {
		return err
	}
	e.piece = NewPiece(e.labels)
	return nil
}

// leave gives out what is left of the series that rows were read of.
func (r *Reader) leave() error {
	if r.at == nil {
		return nil
	}
	return r.flush()
}

// flush gives out what has been read of the series at hand.
func (r *Reader) flush() error {
	e := r.at
	p := e.piece
	e.piece = nil
	if p == nil {
		return nil
	}
	if err := r.complete(e, p); err != nil {
		return err
	}
	e.parts = e.parts[:0]
	r.conflicts += p.settle()
	if after := r.cfg.After; after != nil {
		switch c := labels.Compare(e.labels, after.Labels); {
		case c < 0:
			p.Release()
			return nil
		case c == 0:
			p.dropUntil(after.T)
		}
	}
	if p.len() == 0 && len(p.Starts) == 0 {
		p.Release()
		return nil
	}
	same := r.place.Held && labels.Equal(r.place.Labels, e.labels)
	if first := p.first(); same && p.len() > 0 && first <= r.place.T {
		return fmt.Errorf("%w: %s at %d after %d", ErrUnsorted, e.labels, first, r.place.T)
	}
	r.place = Place{Labels: e.labels, T: p.last(), Held: true}
	return r.cfg.Sink.Piece(p)
}

// begin gives out what was held, once.
func (r *Reader) begin() error {
	if r.begun {
		return nil
	}
	r.begun = true
	held := make([]*Piece, 0, len(r.byLabels))
	for _, e := range r.byLabels {
		if !e.match {
			continue
		}
		if err := r.complete(e, e.piece); err != nil {
			return err
		}
		r.conflicts += e.piece.settle()
		if e.piece.len() > 0 || len(e.piece.Starts) > 0 {
			held = append(held, e.piece)
		}
	}
	r.byLabels, r.byRow = nil, nil
	slices.SortFunc(held, func(a, b *Piece) int { return labels.Compare(a.Labels, b.Labels) })
	r.place.Held = true
	return r.cfg.Sink.Begin(held)
}
