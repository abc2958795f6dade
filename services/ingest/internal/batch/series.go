// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"strings"
	"sync/atomic"
	"unique"

	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/services/ingest/internal/series"
	"github.com/tributary-project/tributary/timestream/promschema"
)

// Series is a series as records have it. It is made once and shared by all requests that write to the series; only what
// is remembered of its start timestamps changes.
//
// What every sample needs comes first, and little of it is elsewhere: with many series each step to another place in memory
// costs as much as a good deal of computing.
type Series struct {
	// Hash is that of series.Series.
	Hash series.Hash
	// Scope and Generation are the caller's own: the table for which it was encoded, and that of the catalogue.
	Scope, Generation uint64

	place atomic.Uint64 // see sortKey
	start atomic.Pointer[start]
	key   string // the labels, see appendKey
	plain identity
	// families are the identities of extension records, by family; nil until needed.
	families [promschema.Families]atomic.Pointer[identity]
	encoded  promschema.Series
}

// identity is what all records of a series in one form share.
type identity struct {
	// pairs are the dimensions, as handles that are equal when name and value are: batches are made by comparing
	// the dimensions of all their records.
	pairs       []handle
	measureJSON string
	measure     string
	bytes       int // of the names and values of all dimensions
	multi       bool
	// dimensions are the same once more, for the SDK's input; nil until needed.
	dimensions atomic.Pointer[[]types.Dimension]
}

// pair is a dimension with its JSON. There is one of each in the process.
type pair struct {
	promschema.Dimension
	json string
}

func (p pair) size() int { return len(p.Name) + len(p.Value) }

type handle = unique.Handle[pair]

// start is the start timestamp that was last stored for a series: it is in force for samples from sinceMs on, of which
// latestMs is the latest seen.
type start struct {
	ms, sinceMs int64
	latestMs    atomic.Int64
}

// NewSeries prepares a series for batches. It takes possession of encoded.
func NewSeries(ls []labels.Label, hash series.Hash, scope, generation uint64, encoded promschema.Series) *Series {
	s := &Series{Hash: hash, Scope: scope, Generation: generation, encoded: encoded, key: string(appendKey(nil, ls))}
	pairs := makePairs(encoded.Dimensions)
	s.plain.set(encoded.Measure, false, pairs)
	s.encoded.Dimensions = dimensions(pairs) // the text is there once for all series that have it
	return s
}

// NewMetric prepares the metadata records of a metric, which are no series' own. hash is any.
func NewMetric(name string, hash series.Hash) (*Series, error) {
	dims, err := promschema.MetadataDimensions(name)
	if err != nil {
		return nil, err
	}
	s := &Series{Hash: hash, key: string(appendKey(nil, []labels.Label{{Name: model.MetricNameLabel, Value: name}}))}
	s.encoded.Metric = name
	id := new(identity)
	id.set(promschema.MetadataFamily.Measure(name), true, makePairs(dims))
	s.families[promschema.MetadataFamily].Store(id)
	return s, nil
}

func makePairs(dims []promschema.Dimension) []handle {
	pairs := make([]handle, len(dims))
	for i, d := range dims {
		text := append([]byte(`{"Name":`), appendString(nil, d.Name)...)
		text = append(appendString(append(text, `,"Value":`...), d.Value), '}')
		pairs[i] = unique.Make(pair{d, string(text)})
	}
	return pairs
}

func dimensions(pairs []handle) []promschema.Dimension {
	out := make([]promschema.Dimension, len(pairs))
	for i, p := range pairs {
		out[i] = p.Value().Dimension
	}
	return out
}

func (id *identity) set(measure string, multi bool, pairs []handle) {
	id.pairs = pairs
	id.setMeasure(measure, multi)
	for _, p := range pairs {
		id.bytes += p.Value().size()
	}
}

// setMeasure sets the measure name, whose text many series share.
func (id *identity) setMeasure(measure string, multi bool) {
	id.multi = multi
	id.measure = unique.Make(measure).Value()
	id.measureJSON = unique.Make(string(appendString([]byte(`"MeasureName":`), measure))).Value()
}

// input returns the dimensions as the SDK has them.
func (id *identity) input() []types.Dimension {
	if have := id.dimensions.Load(); have != nil {
		return *have
	}
	dims := dimensions(id.pairs)
	out := make([]types.Dimension, len(dims))
	for i := range dims {
		out[i] = types.Dimension{Name: &dims[i].Name, Value: &dims[i].Value}
	}
	id.dimensions.Store(&out)
	return out
}

// Plain tells whether a value of the series can be a plain record. Others are extension records; Extend tells whether
// these are possible.
func (s *Series) Plain(v float64) bool { return s.encoded.Measure != "" && promschema.IsPlain(v) }

// Extend prepares the series for extension records of a family. The error is a *promschema.SeriesError when it fits none.
func (s *Series) Extend(f promschema.Family) error {
	if s.families[f].Load() != nil {
		return nil
	}
	for other := range s.families {
		if have := s.families[other].Load(); have != nil {
			id := &identity{pairs: have.pairs, bytes: have.bytes}
			id.setMeasure(f.Measure(s.encoded.Metric), true)
			s.families[f].Store(id)
			return nil
		}
	}
	_, dims, err := s.encoded.Extension()
	if err != nil {
		return err
	}
	id := new(identity)
	id.set(f.Measure(s.encoded.Metric), true, makePairs(dims))
	s.families[f].Store(id)
	return nil
}

// Start returns the start timestamp that is in force for the series' samples from sinceMs on, as far as it is remembered, and
// the time of the latest of these samples; all are in milliseconds since the epoch.
func (s *Series) Start() (ms, sinceMs, latestMs int64, known bool) {
	last := s.start.Load()
	if last == nil {
		return 0, 0, 0, false
	}
	return last.ms, last.sinceMs, last.latestMs.Load(), true
}

// SawStart remembers that there is a sample for which the start timestamp in force holds.
func (s *Series) SawStart(timeMs int64) {
	if last := s.start.Load(); last != nil && timeMs > last.latestMs.Load() {
		last.latestMs.Store(timeMs) // should another one be lost in between, that costs nothing but a record
	}
}

// StoredStart remembers that a start timestamp was stored that is in force from timeMs on, for samples up to latestMs so far.
func (s *Series) StoredStart(startMs, timeMs, latestMs int64) {
	next := &start{ms: startMs, sinceMs: timeMs}
	next.latestMs.Store(latestMs)
	for {
		last := s.start.Load()
		if last != nil && timeMs < last.sinceMs || s.start.CompareAndSwap(last, next) {
			return
		}
	}
}

// Keys separate names and values by bytes that UTF-8 never has.
const (
	endOfName  = 0xfe
	endOfValue = 0xff
)

func appendKey(b []byte, ls []labels.Label) []byte {
	for _, l := range ls {
		b = append(append(b, l.Name...), endOfName)
		b = append(append(b, l.Value...), endOfValue)
	}
	return b
}

// Labels returns the whole label set, sorted.
func (s *Series) Labels() []labels.Label {
	out := make([]labels.Label, 0, strings.Count(s.key, "\xff"))
	for k := s.key; k != ""; {
		n := strings.IndexByte(k, endOfName)
		v := strings.IndexByte(k, endOfValue)
		out = append(out, labels.Label{Name: k[:n], Value: k[n+1 : v]})
		k = k[v+1:]
	}
	return out
}

// Text returns the labels for people.
func (s *Series) Text() string {
	var ls []series.Label
	for _, l := range s.Labels() {
		ls = append(ls, series.Label{Name: []byte(l.Name), Value: []byte(l.Value)})
	}
	return series.Text(ls)
}
