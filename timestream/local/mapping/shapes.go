// SPDX-License-Identifier: Apache-2.0

package mapping

import (
	"cmp"
	"fmt"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

// FromQuery translates the target of a scheduled query (API reference, TimestreamConfiguration). That required members are there is
// checked before; an error says what does not fit together.
func FromQuery(c *qtypes.TimestreamConfiguration) (*Model, error) {
	m := &Model{Time: str(c.TimeColumn), MeasureName: str(c.MeasureNameColumn)}
	for _, d := range c.DimensionMappings {
		m.Dimensions = append(m.Dimensions, Dimension{str(d.Name), str(d.Name)})
	}
	var multi *target
	if mm := c.MultiMeasureMappings; mm != nil {
		multi = &target{Target: str(mm.TargetMultiMeasureName), Attributes: queryAttributes(mm.MultiMeasureAttributeMappings)}
	}
	mixed := make([]target, len(c.MixedMeasureMappings))
	for i, x := range c.MixedMeasureMappings {
		mixed[i] = target{str(x.MeasureName), str(x.SourceColumn), str(x.TargetMeasureName), Type(x.MeasureValueType), queryAttributes(x.MultiMeasureAttributeMappings)}
	}
	return m, m.measures(multi, mixed)
}

// FromDataModel translates the data model of a batch load (API reference, DataModel). Its errors are as those of FromQuery.
func FromDataModel(d *wtypes.DataModel) (*Model, error) {
	m := &Model{Time: str(d.TimeColumn), Unit: string(d.TimeUnit), MeasureName: str(d.MeasureNameColumn)}
	for _, x := range d.DimensionMappings {
		m.Dimensions = append(m.Dimensions, Dimension{str(x.SourceColumn), cmp.Or(str(x.DestinationColumn), str(x.SourceColumn))})
	}
	var multi *target
	if mm := d.MultiMeasureMappings; mm != nil {
		multi = &target{Target: str(mm.TargetMultiMeasureName), Attributes: writeAttributes(mm.MultiMeasureAttributeMappings)}
	}
	mixed := make([]target, len(d.MixedMeasureMappings))
	for i, x := range d.MixedMeasureMappings {
		mixed[i] = target{str(x.MeasureName), str(x.SourceColumn), str(x.TargetMeasureName), Type(x.MeasureValueType), writeAttributes(x.MultiMeasureAttributeMappings)}
	}
	return m, m.measures(multi, mixed)
}

// target is a MixedMeasureMapping of either API. MultiMeasureMappings are one of type MULTI without the first two.
type target struct {
	MeasureName, Source, Target string
	Type                        Type
	Attributes                  []Attribute
}

// measures takes over what both APIs say of measures, and checks the model.
func (m *Model) measures(multi *target, mixed []target) error {
	switch {
	case multi != nil && len(mixed) > 0:
		return errTwoMeasures
	case multi != nil:
		a := Measure{Type: Multi, Attributes: multi.Attributes}
		if m.MeasureName == "" {
			// With a column of measure names those count (API reference, MultiMeasureMappings).
			a.Name = multi.Target
		}
		m.Measures = []Measure{a}
	}
	for _, x := range mixed {
		a := Measure{Name: cmp.Or(x.Target, x.MeasureName, x.Source), Type: x.Type, Column: x.Source, Attributes: x.Attributes}
		if m.MeasureName != "" {
			if x.MeasureName == "" {
				return fmt.Errorf("the mapping of the measure '%s' has no MeasureName, which MeasureNameColumn requires", a.Name)
			}
			a.When = x.MeasureName
		}
		if a.Type == Multi {
			a.Column = ""
		}
		m.Measures = append(m.Measures, a)
	}
	return m.check()
}

func queryAttributes(in []qtypes.MultiMeasureAttributeMapping) []Attribute {
	out := make([]Attribute, len(in))
	for i, x := range in {
		out[i] = Attribute{str(x.SourceColumn), cmp.Or(str(x.TargetMultiMeasureAttributeName), str(x.SourceColumn)), Type(x.MeasureValueType)}
	}
	return out
}

// writeAttributes is queryAttributes for the other API, whose model does not require a type; what it is without one is our guess.
func writeAttributes(in []wtypes.MultiMeasureAttributeMapping) []Attribute {
	out := make([]Attribute, len(in))
	for i, x := range in {
		out[i] = Attribute{str(x.SourceColumn), cmp.Or(str(x.TargetMultiMeasureAttributeName), str(x.SourceColumn)), cmp.Or(Type(x.MeasureValueType), Double)}
	}
	return out
}

func str(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
