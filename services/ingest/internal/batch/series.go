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

// Series is a series as records have it. It is made once and shared by all requests that write to the series; nothing in
// it changes.
type Series struct {
	// Labels are the whole label set, sorted.
	Labels []labels.Label
	// Hash is that of series.Series.
	Hash uint64
	// Encoded is the series in promschema's terms.
	Encoded promschema.Series
	// Generation is that of the catalogue it was encoded with.
	Generation uint64

	plain     identity
	extension atomic.Pointer[identity] // nil until it is needed
	target    uint64
	metric    uint64
}

// identity is what all records of a series in one form share.
type identity struct {
	measure    string
	dimensions []types.Dimension
	// pairs are the dimensions again, as handles that are equal when name and value are: batches are made by comparing
	// the dimensions of all their records.
	pairs []unique.Handle[promschema.Dimension]
	bytes int // of the names and values of all dimensions
}

// NewSeries prepares a series for batches. It takes possession of ls and encoded.
func NewSeries(ls []labels.Label, hash, generation uint64, encoded promschema.Series) *Series {
	s := &Series{Labels: ls, Hash: hash, Generation: generation, Encoded: encoded}
	s.plain = newIdentity(encoded.Measure, encoded.Dimensions)
	s.target, s.metric = sortKeys(ls)
	return s
}

func newIdentity(measure string, dims []promschema.Dimension) identity {
	id := identity{
		measure: measure, dimensions: make([]types.Dimension, len(dims)), pairs: make([]unique.Handle[promschema.Dimension], len(dims)),
	}
	for i := range dims {
		id.pairs[i] = unique.Make(dims[i])
		dims[i] = id.pairs[i].Value() // the text is there once for all series that have it
		id.dimensions[i] = types.Dimension{Name: &dims[i].Name, Value: &dims[i].Value}
		id.bytes += len(dims[i].Name) + len(dims[i].Value)
	}
	return id
}

// Plain tells whether a value of the series can be a plain record. Others are extension records; Extension tells
// whether these are possible.
func (s *Series) Plain(v float64) bool { return s.Encoded.Measure != "" && promschema.IsPlain(v) }

// Extension prepares the series for extension records. The error is a *promschema.SeriesError when it fits none.
func (s *Series) Extension() error {
	if s.extension.Load() != nil {
		return nil
	}
	measure, dims, err := s.Encoded.Extension()
	if err != nil {
		return err
	}
	id := newIdentity(measure, dims)
	s.extension.Store(&id)
	return nil
}

// Is tells whether this is the series with these labels.
func (s *Series) Is(ls []series.Label) bool {
	if len(ls) != len(s.Labels) {
		return false
	}
	for i := range ls {
		if string(ls[i].Value) != s.Labels[i].Value || string(ls[i].Name) != s.Labels[i].Name {
			return false
		}
	}
	return true
}

// Text returns the labels for people.
func (s *Series) Text() string {
	ls := make([]series.Label, len(s.Labels))
	for i, l := range s.Labels {
		ls[i] = series.Label{Name: []byte(l.Name), Value: []byte(l.Value)}
	}
	return series.Text(ls)
}

// compare orders series by their labels.
func (s *Series) compare(o *Series) int {
	if s == o {
		return 0
	}
	for i := range min(len(s.Labels), len(o.Labels)) {
		if c := strings.Compare(s.Labels[i].Name, o.Labels[i].Name); c != 0 {
			return c
		}
		if c := strings.Compare(s.Labels[i].Value, o.Labels[i].Value); c != 0 {
			return c
		}
	}
	return len(s.Labels) - len(o.Labels)
}

// sortKeys returns hashes that bring together series of one target, and within it those of one metric. Series of a target
// share the labels that a batch can send once, which is worth more than sharing the metric name; the first 16 bits come
// from what many targets have in common.
func sortKeys(ls []labels.Label) (target, metric uint64) {
	wide, narrow, name := uint64(fnvOffset), uint64(fnvOffset), uint64(fnvOffset)
	for _, l := range ls {
		switch l.Name {
		case "job", "cluster", "namespace":
			wide = fnv(wide, l.Name, l.Value)
		case "instance", "node", "pod", "container", "service":
			narrow = fnv(narrow, l.Name, l.Value)
		case model.MetricNameLabel:
			name = fnv(name, l.Name, l.Value)
		}
	}
	return wide<<48 | narrow>>16, name
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func fnv(h uint64, name, value string) uint64 {
	for i := 0; i < len(name); i++ {
		h = (h ^ uint64(name[i])) * fnvPrime
	}
	for i := 0; i < len(value); i++ {
		h = (h ^ uint64(value[i])) * fnvPrime
	}
	return (h ^ 0xff) * fnvPrime
}
