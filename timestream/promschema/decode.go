// SPDX-License-Identifier: Apache-2.0

package promschema

import (
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// IsLayoutDimension tells whether a dimension belongs to the layout rather than being a label of that name.
// NameDimension is not among them: it is a label, of extension records.
func IsLayoutDimension(name string) bool { return strings.HasPrefix(name, Prefix) }

// IsLayoutAttribute tells whether a column that is a dimension or an attribute is an attribute of extension records.
func IsLayoutAttribute(name string) bool {
	return IsLayoutDimension(name) && name != NoLabelsDimension && !slices.Contains(packedNames[:], name)
}

// DecodeLabels returns the label set of a row. measure is its measure name; dims are its dimensions that are not NULL,
// in any order, whether of a plain or an extension record. The error says what is damaged or that the layout is newer.
func DecodeLabels(measure string, dims []Dimension) (labels.Labels, error) {
	kind, err := ClassifyMeasure(measure)
	if err != nil {
		return labels.EmptyLabels(), err
	}
	ls := make([]labels.Label, 0, len(dims)+1)
	if kind == PlainMeasure {
		ls = append(ls, labels.Label{Name: NameDimension, Value: MetricName(measure)})
	}
	var packed [PackedDimensions]string
	hasPacked := false
	for _, d := range dims {
		switch {
		case d.Value == "", d.Name == NoLabelsDimension:
		case d.Name == NameDimension && kind == PlainMeasure:
			// Tables of other writers may have such a column; the measure name is the metric.
		case IsLayoutDimension(d.Name):
			for i, name := range packedNames {
				if d.Name == name {
					packed[i], hasPacked = d.Value, true
				}
			}
		default:
			ls = append(ls, labels.Label(d))
		}
	}
	if hasPacked {
		if ls, err = unpack(ls, strings.Join(packed[:], "")); err != nil {
			return labels.EmptyLabels(), err
		}
	}
	return labels.New(ls...), nil
}
