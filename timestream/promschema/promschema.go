// SPDX-License-Identifier: Apache-2.0

// Package promschema is the layout of Prometheus series in a Timestream table, both directions: which record a sample
// becomes, and which series a row is. Writer and reader share it so that they cannot drift apart. The names below are
// the stored format and never change within a layout version. Talking to Timestream, keeping the table's catalogue and
// merging rows into series are left to the services.
//
// An ordinary sample is a single-measure DOUBLE record: the metric name is the measure name, each label is a dimension.
// That is also what the awslabs connector writes, so its tables read and continue as they are. What does not fit that
// form is an extension: a multi-measure record whose metric name is a dimension. Labels that cannot be columns are
// packed as JSON into up to four dimensions.
//
// Extensions come in families, see Family. A record of any of them has the same dimensions as the series' other extension
// records (metadata: the metric name alone), and its measure name says the family and one of 64 buckets of metric names.
// What the families hold:
//
//   - Samples that are no ordinary floats, and those of metrics that have no plain records: ExtensionValue.
//   - Native histograms: HistogramEncoder, in up to three records of the same time.
//   - Exemplars: ExemplarValue, at ExemplarTimeNs.
//   - Metadata: MetadataValue, at MetadataTimeNs, with MetadataDimensions.
//   - Start timestamps of float samples: StartValue.
//
// All values of one record together take at most 2,048 bytes, a VARCHAR counted as its bytes and anything else as 8: the
// strictest reading of the service's limit on multi-measure records (Timestream Developer Guide, ts-limits).
package promschema

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/tributary-project/tributary/timestream"
)

// Prefix starts every name that the layout itself uses. Labels with this prefix are packed.
const Prefix = "__tributary_"

// LayoutVersion is the version that this package writes. It is part of the extension measure names; a reader that meets
// a higher one must refuse the table.
const LayoutVersion = 1

// Names of dimensions of the layout.
const (
	// NameDimension holds the metric name of an extension record.
	NameDimension = model.MetricNameLabel
	// NoLabelsDimension is the one dimension, with the value NoLabelsValue, of a series whose only label is its name:
	// a record needs a dimension.
	NoLabelsDimension = Prefix + "no_labels"
	NoLabelsValue     = "1"
	// PackedDimensions is how many dimensions packed labels may be split over: see PackedDimension.
	PackedDimensions = 4
)

// Names of attributes of extension records. Labels with these names are packed, so none is ever a dimension's too.
const (
	// ValueAttribute holds an ordinary value (DOUBLE).
	ValueAttribute = Prefix + "v"
	// BitsAttribute holds the IEEE 754 bits of any other float as a signed integer (BIGINT).
	BitsAttribute = Prefix + "bits"
	// KindAttribute says what the value is, for people who read the table (VARCHAR); readers ignore it.
	KindAttribute = Prefix + "kind"
	// HistogramAttribute holds a native histogram (VARCHAR), or the beginning of one: see HistogramEncoder.
	HistogramAttribute = Prefix + "h"
	// HistogramAttribute2 and HistogramAttribute3 hold what did not fit (VARCHAR), in records of SampleFamily2 and
	// SampleFamily3. The names differ so that a table's columns tell whether it has such records.
	HistogramAttribute2 = Prefix + "h_2"
	HistogramAttribute3 = Prefix + "h_3"
	// CountAttribute, SumAttribute (DOUBLE) and SchemaAttribute (BIGINT) repeat what a histogram says, for SQL. The first two
	// are left out when they do not fit a plain record. Readers ignore all three.
	CountAttribute  = Prefix + "count"
	SumAttribute    = Prefix + "sum"
	SchemaAttribute = Prefix + "schema"
	// StartAttribute is a start (created) timestamp in milliseconds since the epoch (BIGINT): of the histogram in the same
	// record, or in StartFamily of the series.
	StartAttribute = Prefix + "start_ms"
	// ExemplarAttribute holds the labels of an exemplar (VARCHAR). Its value is in ValueAttribute or BitsAttribute.
	ExemplarAttribute = Prefix + "exemplar"
	// TypeAttribute, HelpAttribute and UnitAttribute are metadata (VARCHAR); what is empty is left out.
	TypeAttribute = Prefix + "type"
	HelpAttribute = Prefix + "help"
	UnitAttribute = Prefix + "unit"
)

// Type is the Timestream type of a record or an attribute.
type Type uint8

// The types that the layout uses.
const (
	Double Type = iota
	BigInt
	Varchar
	Multi
)

// String returns the name that the API uses.
func (t Type) String() string { return [...]string{"DOUBLE", "BIGINT", "VARCHAR", "MULTI"}[t] }

// Dimension is one dimension of a record.
type Dimension struct{ Name, Value string }

// Attribute is one value of a multi-measure record.
type Attribute struct {
	Name  string
	Value string
	Type  Type
}

// Value is what a record stores besides its identity and time: a plain text for a single-measure DOUBLE record, or
// attributes for a multi-measure one.
type Value struct {
	Plain      string
	Attributes []Attribute
}

// PackedDimension returns the name of packed dimension i, 0 ≤ i < PackedDimensions.
func PackedDimension(i int) string { return packedNames[i] }

var packedNames = [PackedDimensions]string{
	Prefix + "labels_1", Prefix + "labels_2", Prefix + "labels_3", Prefix + "labels_4",
}

// SampleBuckets is the number of measure names of each family over which metric names are spread, so that a selector with
// a metric name searches one of them.
const SampleBuckets = 64

// Family is a kind of extension record.
type Family uint8

// The families.
const (
	// SampleFamily holds samples: floats that are not ordinary and native histograms.
	SampleFamily Family = iota
	// SampleFamily2 and SampleFamily3 continue the histograms that are too large for one record.
	SampleFamily2
	SampleFamily3
	// ExemplarFamily holds exemplars.
	ExemplarFamily
	// MetadataFamily holds metadata.
	MetadataFamily
	// StartFamily holds start timestamps of float samples.
	StartFamily
)

// Families is the number of families.
const Families = int(StartFamily) + 1

// familyPrefixes are the measure names of the families without the number of the bucket.
var familyPrefixes = [...]string{
	SampleFamily:   Prefix + "1_s_",
	SampleFamily2:  Prefix + "1_s2_",
	SampleFamily3:  Prefix + "1_s3_",
	ExemplarFamily: Prefix + "1_e_",
	MetadataFamily: Prefix + "1_m_",
	StartFamily:    Prefix + "1_c_",
}

// Measure returns the measure name of a metric's records of the family: the metric's FNV-1a hash chooses the bucket, the
// same one in every family.
func (f Family) Measure(metric string) string {
	const offset, prime = 2166136261, 16777619
	h := uint32(offset)
	for i := 0; i < len(metric); i++ {
		h = (h ^ uint32(metric[i])) * prime
	}
	return f.Bucket(int(h % SampleBuckets))
}

// Bucket returns the family's measure name of bucket i, 0 ≤ i < SampleBuckets.
func (f Family) Bucket(i int) string {
	const hex = "0123456789abcdef"
	var buf [len(Prefix) + 8]byte
	return string(append(append(buf[:0], familyPrefixes[f]...), hex[i>>4], hex[i&15]))
}

// ErrNewerLayout says that a table holds records of a layout version that this build does not know.
var ErrNewerLayout = errors.New("the table holds records of a newer layout; use a newer version of Tributary")

// MeasureKind is what a measure name of a table stands for.
type MeasureKind uint8

// The kinds of measure names.
const (
	// PlainMeasure is a metric of its own; see MetricName.
	PlainMeasure MeasureKind = iota
	// SampleExtension is of SampleFamily, and so on. Only a SampleExtension is a sample; the next two continue one.
	SampleExtension
	SampleExtension2
	SampleExtension3
	ExemplarExtension
	MetadataExtension
	StartExtension
	// OtherExtension is of this layout version but of none of these families.
	OtherExtension
)

// ClassifyMeasure tells what a measure name stands for. The error is ErrNewerLayout, wrapped with the name.
func ClassifyMeasure(measure string) (MeasureKind, error) {
	rest, ok := strings.CutPrefix(measure, Prefix)
	if !ok {
		return PlainMeasure, nil
	}
	version, _, _ := strings.Cut(rest, "_")
	if n, err := strconv.Atoi(version); err == nil && n > LayoutVersion {
		return OtherExtension, fmt.Errorf("measure %s: %w", measure, ErrNewerLayout)
	}
	for f, prefix := range familyPrefixes {
		if strings.HasPrefix(measure, prefix) {
			return SampleExtension + MeasureKind(f), nil
		}
	}
	return OtherExtension, nil
}

// MeasureName returns the measure name of a metric in plain records, and false when the metric has to go to the sample
// extension: a colon is written as two dashes, so names with two dashes, or with both, would be ambiguous; the rest are
// names that Timestream or the layout reserves.
func MeasureName(metric string) (string, bool) {
	if strings.HasPrefix(metric, Prefix) || strings.Contains(metric, "--") {
		return "", false
	}
	m := metric
	if strings.Contains(metric, ":") {
		if strings.Contains(metric, "-") {
			return "", false
		}
		m = strings.ReplaceAll(metric, ":", "--")
	}
	return m, timestream.ValidMeasureName(m)
}

// MetricName returns the metric name of a plain record.
func MetricName(measure string) string { return strings.ReplaceAll(measure, "--", ":") }

// CanBeColumn tells whether a label may be a dimension of its own as far as its name goes. Budget and size are the
// caller's business.
func CanBeColumn(label string) bool {
	return label != NameDimension && !strings.HasPrefix(label, Prefix) && timestream.ValidDimensionName(label)
}
