// SPDX-License-Identifier: Apache-2.0

package promschema

import (
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/timestream"
)

// Columns is the part of a table's catalogue that encoding asks. Its answers are a matter of cost and limits, never of
// correctness: the same series may be stored under several encodings.
type Columns interface {
	// Dimension tells whether the label may be a dimension of its own. It is asked only for labels that CanBeColumn.
	Dimension(label string) bool
	// Measure tells whether plain records of this measure name may be written.
	Measure(measure string) bool
}

// Limits are those of one record.
type Limits struct {
	// DimensionsBytes bounds the sum over all dimensions of name and value.
	DimensionsBytes int
}

// StrictLimits is the strictest reading of the service's documentation, and the default: 2,048 bytes for all dimensions
// of a record together.
func StrictLimits() Limits { return Limits{DimensionsBytes: timestream.MaxPairBytes} }

// ObservedLimits is what tests against the service have shown to pass: 2,048 bytes for each dimension, nothing for
// their sum but what the number of dimensions allows.
func ObservedLimits() Limits {
	return Limits{DimensionsBytes: timestream.MaxDimensionsPerTable * timestream.MaxPairBytes}
}

// Series is the identity of one series in a table, in the two forms that its samples may need. Dimensions are shared
// and must not be changed.
type Series struct {
	// Measure is the measure name of plain records; empty when the metric has none and every sample is an extension.
	Measure string
	// Dimensions are those of plain records, in the order of the labels, packed ones last.
	Dimensions []Dimension
	// Metric is the metric name: what an extension record has as NameDimension, before Dimensions.
	Metric string

	extensionErr error
}

// Extension returns the identity of the series' extension records: the measure name in SampleFamily, and NameDimension
// before Dimensions (without the placeholder of a series that has no other label). The other families of the series have
// the same dimensions and differ in the measure name only: see Family.Measure. The error is a *SeriesError: these
// records hold the metric name in a dimension, so a series can fit plain records and not these; its ordinary samples are
// stored then, and all else of it is refused.
func (s Series) Extension() (measure string, dims []Dimension, err error) {
	if s.extensionErr != nil {
		return "", nil, s.extensionErr
	}
	rest := s.Dimensions
	if len(rest) == 1 && rest[0].Name == NoLabelsDimension {
		rest = nil
	}
	return SampleFamily.Measure(s.Metric), append([]Dimension{{NameDimension, s.Metric}}, rest...), nil
}

// Reasons for which EncodeSeries refuses a series.
const (
	// ReasonNoName: the series has no metric name.
	ReasonNoName = "missing_metric_name"
	// ReasonTooLarge: the labels do not fit a record.
	ReasonTooLarge = "labels_too_large"
)

// SeriesError says why a series cannot be stored, for good.
type SeriesError struct {
	Reason string
	Detail string
}

func (e *SeriesError) Error() string { return e.Detail }

// EncodeSeries returns the identity of a series. The labels must be sorted by name, without repeated names and without
// empty values. The error is a *SeriesError.
func EncodeSeries(ls []labels.Label, cols Columns, limits Limits) (Series, error) {
	s := Series{Dimensions: make([]Dimension, 0, len(ls))}
	var packed []labels.Label
	size := 0
	for _, l := range ls {
		if l.Name == NameDimension {
			s.Metric = l.Value
			continue
		}
		n := len(l.Name) + len(l.Value)
		if !CanBeColumn(l.Name) || n > timestream.MaxPairBytes || !cols.Dimension(l.Name) {
			packed = append(packed, l)
			continue
		}
		size += n
		s.Dimensions = append(s.Dimensions, Dimension(l))
	}
	if s.Metric == "" {
		return s, &SeriesError{ReasonNoName, "the series has no metric name (label __name__)"}
	}
	if len(packed) > 0 {
		pieces, ok := pack(packed)
		if !ok {
			return s, &SeriesError{ReasonTooLarge, fmt.Sprintf("its labels that cannot be columns take more than %d bytes as JSON; shorten or drop labels", PackedDimensions*maxPieceBytes)}
		}
		for i, p := range pieces {
			s.Dimensions = append(s.Dimensions, Dimension{packedNames[i], p})
			size += len(packedNames[i]) + len(p)
		}
	}
	if len(s.Dimensions) == 0 {
		s.Dimensions = append(s.Dimensions, Dimension{NoLabelsDimension, NoLabelsValue})
	}
	if m, ok := MeasureName(s.Metric); ok && cols.Measure(m) {
		s.Measure = m
	}
	if extension := size + len(NameDimension) + len(s.Metric); extension > limits.DimensionsBytes || len(NameDimension)+len(s.Metric) > timestream.MaxPairBytes {
		s.extensionErr = tooLarge(extension, limits)
	}
	if size > limits.DimensionsBytes {
		return s, tooLarge(size, limits)
	}
	if s.Measure == "" && s.extensionErr != nil {
		return s, s.extensionErr
	}
	return s, nil
}

func tooLarge(size int, limits Limits) *SeriesError {
	return &SeriesError{ReasonTooLarge, fmt.Sprintf("its label names and values take %d bytes in a Timestream record, the limit is %d; shorten or drop labels", size, min(limits.DimensionsBytes, timestream.MaxPairBytes))}
}
