// SPDX-License-Identifier: Apache-2.0

package promschema

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/timestream"
)

// ExemplarValue returns what an exemplar is stored as in ExemplarFamily: its labels, which must be sorted by name and valid UTF-8, as
// canonical JSON (that of packed labels, `{}` for none), and its value as ExtensionValue has it. Its time is
// ExemplarTimeNs. The error is a *TooLargeError.
func ExemplarValue(ls []labels.Label, v float64) (Value, error) {
	var b strings.Builder
	writeLabels(&b, ls)
	out := ExtensionValue(v)
	size := b.Len() + valuesBytes(out.Attributes)
	if size > timestream.MaxValueBytes {
		return Value{}, &TooLargeError{What: "the exemplar", Size: size, Limit: timestream.MaxValueBytes}
	}
	out.Attributes = append(out.Attributes, Attribute{ExemplarAttribute, b.String(), Varchar})
	return out, nil
}

// DecodeExemplar returns the labels of an ExemplarAttribute.
func DecodeExemplar(text string) (labels.Labels, error) {
	ls, err := unpack(nil, text)
	if err != nil {
		return labels.EmptyLabels(), err
	}
	return labels.New(ls...), nil
}

// ExemplarTimeNs returns the time of an exemplar's record in nanoseconds since the epoch: somewhere inside its millisecond,
// 0 ≤ timeMs ≤ timestream.MaxTimeMs, by a hash of labels and value, so that two exemplars of one series in one
// millisecond are two records, and the same one written twice is one. It is part of the stored format.
func ExemplarTimeNs(timeMs int64, ls []labels.Label, v float64) int64 {
	h := hash(fnvOffset)
	for _, l := range ls {
		h = h.text(l.Name).text(l.Value)
	}
	return h.number(math.Float64bits(v)).within(timeMs)
}

// Metadata says what a metric is.
type Metadata struct {
	Type       prompb.MetricMetadata_MetricType
	Help, Unit string
}

// metricTypes are the texts of TypeAttribute.
var metricTypes = [...]string{
	prompb.MetricMetadata_UNKNOWN:        "unknown",
	prompb.MetricMetadata_COUNTER:        "counter",
	prompb.MetricMetadata_GAUGE:          "gauge",
	prompb.MetricMetadata_HISTOGRAM:      "histogram",
	prompb.MetricMetadata_GAUGEHISTOGRAM: "gaugehistogram",
	prompb.MetricMetadata_SUMMARY:        "summary",
	prompb.MetricMetadata_INFO:           "info",
	prompb.MetricMetadata_STATESET:       "stateset",
}

// MetadataDimensions returns the dimensions of the metadata of a metric. The error is a *TooLargeError.
func MetadataDimensions(metric string) ([]Dimension, error) {
	if n := len(NameDimension) + len(metric); n > timestream.MaxPairBytes {
		return nil, &TooLargeError{What: "the metric name of the metadata", Size: n, Limit: timestream.MaxPairBytes}
	}
	return []Dimension{{NameDimension, metric}}, nil
}

// MetadataValue returns what metadata is stored as in MetadataFamily, at MetadataTimeNs. A metric may have several entries at
// once, of targets that do not agree; each is stored at once when it is new and every hour while it is seen, so those of the last
// two hours are in force. The error is a *TooLargeError, or says that the type does not exist.
func MetadataValue(m Metadata) (Value, error) {
	if m.Type < 0 || int(m.Type) >= len(metricTypes) {
		return Value{}, fmt.Errorf("metric type %d: want 0 to %d", m.Type, len(metricTypes)-1)
	}
	attributes := make([]Attribute, 0, 3)
	for _, a := range [...]Attribute{{TypeAttribute, metricTypes[m.Type], Varchar}, {HelpAttribute, m.Help, Varchar}, {UnitAttribute, m.Unit, Varchar}} {
		if a.Value != "" {
			attributes = append(attributes, a)
		}
	}
	if size := valuesBytes(attributes); size > timestream.MaxValueBytes {
		return Value{}, &TooLargeError{What: "the metadata", Size: size, Limit: timestream.MaxValueBytes}
	}
	return Value{Attributes: attributes}, nil
}

// MetadataTimeNs returns the time of a metadata record in nanoseconds since the epoch, inside the millisecond at which it was
// received: as ExemplarTimeNs, so that different entries of one metric in one millisecond are several records.
func MetadataTimeNs(timeMs int64, m Metadata) int64 {
	return hash(fnvOffset).number(uint64(m.Type)).text(m.Help).text(m.Unit).within(timeMs)
}

// DecodeMetadata returns the metadata of a record, by its attributes; an absent one is empty.
func DecodeMetadata(typ, help, unit string) (Metadata, error) {
	for i, name := range metricTypes {
		if typ == name {
			return Metadata{prompb.MetricMetadata_MetricType(i), help, unit}, nil
		}
	}
	return Metadata{}, fmt.Errorf("metadata: the metric type %.40q is not known", typ)
}

// StartValue returns what a start timestamp of float samples, in milliseconds since the epoch, is stored as in StartFamily.
// The record has the time of the sample with which it began. It is in force for the float samples of the series from that time on until
// the time of the next such record; 0 says that from there on there is none. Before the first record there is none.
func StartValue(startMs int64) Value {
	return Value{Attributes: []Attribute{{StartAttribute, strconv.FormatInt(startMs, 10), BigInt}}}
}

// StartAgeMs is how far apart, in milliseconds of sample time, two records of a start timestamp are at most while it stays in force: it
// is stored once more then. What is in force at a sample is in a record that is not older than this.
const StartAgeMs = 3_600_000

// DecodeStart returns the start timestamp of a StartAttribute.
func DecodeStart(text string) (int64, error) {
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s %.40q: %w", StartAttribute, text, err)
	}
	return ms, nil
}

// valuesBytes is what attributes count in a record.
func valuesBytes(attributes []Attribute) int {
	n := 0
	for _, a := range attributes {
		if a.Type == Varchar {
			n += len(a.Value)
		} else {
			n += attributeBytes
		}
	}
	return n
}

// hash is FNV-1a of 64 bits: it must be the same in every process and version.
type hash uint64

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// text adds a text and its length, so that texts in a row are told apart.
func (h hash) text(s string) hash {
	for i := 0; i < len(s); i++ {
		h = (h ^ hash(s[i])) * fnvPrime
	}
	return h.number(uint64(len(s)))
}

func (h hash) number(n uint64) hash {
	var b [8]byte
	for _, c := range binary.LittleEndian.AppendUint64(b[:0], n) {
		h = (h ^ hash(c)) * fnvPrime
	}
	return h
}

// within returns a nanosecond of the millisecond. The last one is cut short by the range of record times.
func (h hash) within(ms int64) int64 {
	first := ms * 1e6
	return first + int64(uint64(h)%uint64(min(1e6-1, math.MaxInt64-first)+1))
}
