// SPDX-License-Identifier: Apache-2.0

// Package mapping makes records of rows: of the result of a scheduled query, whose columns have types, and of the lines of a
// CSV file, whose columns are texts (Timestream Developer Guide, scheduledqueries-mappings and batch-load-data-model-mappings). Both
// APIs describe the mapping in shapes of their own, which become one Model here.
//
// It leaves to others where rows come from and what becomes of the records: that values have the grammar of their types, that
// texts are not too long and that times are within the window is the store's to tell.
package mapping

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tributary-project/tributary/timestream"
)

// Type is the type of a column, a measure or an attribute, under the name that it has in the API.
type Type string

// The types. A measure is of none but these, a column may be of any other, too, which then is mapped to nothing.
const (
	Double    Type = "DOUBLE"
	Bigint    Type = "BIGINT"
	Boolean   Type = "BOOLEAN"
	Varchar   Type = "VARCHAR"
	Timestamp Type = "TIMESTAMP"
	// Multi is a record with attributes; no column is of it.
	Multi Type = "MULTI"
	// Integer is a column that fits a BIGINT; no measure is of it.
	Integer Type = "INTEGER"
	// Text is a column whose values are written as in a WriteRecords request: times and timestamps are whole numbers of Model.Unit.
	Text Type = ""
)

// Model says how a row becomes records. FromQuery and FromDataModel make one of an API's shape.
type Model struct {
	// Time is the column of a record's time.
	Time string
	// Unit is the TimeUnit of times in columns of texts, MILLISECONDS when it is empty. Columns of timestamps need none.
	Unit string
	// Dimensions are those of all records of a row.
	Dimensions []Dimension
	// MeasureName is the column that chooses among the measures, or names the only one; empty when there is none.
	MeasureName string
	// Measures are the records that a row becomes, each if it has a value.
	Measures []Measure
}

// Dimension is a dimension that comes from a column.
type Dimension struct{ Column, Name string }

// Measure is one record of a row.
type Measure struct {
	// When is what the column Model.MeasureName has to hold for a row to have this record; empty for any row.
	When string
	// Name is the measure's; empty for what the column Model.MeasureName holds.
	Name string
	// Type is that of the record, Multi for one with attributes.
	Type Type
	// Column has the value of a record of another type than Multi.
	Column string
	// Attributes are those of a record of type Multi.
	Attributes []Attribute
}

// Attribute is a value of a multi-measure record that comes from a column.
type Attribute struct {
	Column, Name string
	Type         Type
}

// errNoMeasures and errTwoMeasures are about the one choice that both shapes have.
var (
	errNoMeasures  = errors.New("either MultiMeasureMappings or MixedMeasureMappings is required")
	errTwoMeasures = errors.New("only one of MultiMeasureMappings and MixedMeasureMappings is allowed")
)

// check tells what is wrong with a model by itself, in the words of the API's shapes.
func (m *Model) check() error {
	if m.Time == "" {
		return errors.New("a TimeColumn is required")
	}
	if len(m.Dimensions) == 0 {
		return errors.New("at least one dimension is required for a record: DimensionMappings is empty")
	}
	// More than a table can have cannot be written, and each is compared with those before it.
	if n := len(m.Dimensions); n > timestream.MaxDimensionsPerTable {
		return fmt.Errorf("DimensionMappings has %d elements, which exceeds the limit of %d", n, timestream.MaxDimensionsPerTable)
	}
	if n := len(m.Measures); n > timestream.MaxMeasureNamesPerTable {
		return fmt.Errorf("MixedMeasureMappings has %d elements, which exceeds the limit of %d", n, timestream.MaxMeasureNamesPerTable)
	}
	for i, d := range m.Dimensions {
		if !timestream.ValidDimensionName(d.Name) {
			return fmt.Errorf("the dimension name '%s' is invalid", d.Name)
		}
		if slices.ContainsFunc(m.Dimensions[:i], func(o Dimension) bool { return o.Name == d.Name }) {
			return fmt.Errorf("two dimensions have the name '%s'", d.Name)
		}
	}
	if len(m.Measures) == 0 {
		return errNoMeasures
	}
	for i := range m.Measures {
		if err := m.checkMeasure(i); err != nil {
			return err
		}
	}
	return nil
}

func (m *Model) checkMeasure(i int) error {
	a := &m.Measures[i]
	if a.Name == "" && m.MeasureName == "" {
		return errors.New("a measure has no name: without a MeasureNameColumn it needs TargetMultiMeasureName or TargetMeasureName")
	}
	if a.Name != "" && !timestream.ValidMeasureName(a.Name) {
		return fmt.Errorf("the measure name '%s' is invalid", a.Name)
	}
	for k := range m.Measures[:i] {
		if o := &m.Measures[k]; o.When == a.When && o.Name == a.Name {
			return fmt.Errorf("two mappings write the measure '%s'", a.Name)
		}
	}
	switch a.Type {
	case Double, Bigint, Boolean, Varchar:
		if a.Column == "" {
			return fmt.Errorf("the mapping of the measure '%s' has no SourceColumn", a.Name)
		}
		if len(a.Attributes) > 0 {
			return fmt.Errorf("the mapping of the measure '%s' is of type %s and has MultiMeasureAttributeMappings", a.Name, a.Type)
		}
		return nil
	case Multi:
		return a.checkAttributes()
	}
	return fmt.Errorf("%s is an invalid measure value type", a.Type)
}

func (a *Measure) checkAttributes() error {
	if len(a.Attributes) == 0 {
		return fmt.Errorf("the mapping of the measure '%s' is of type MULTI and has no MultiMeasureAttributeMappings", a.Name)
	}
	if len(a.Attributes) > timestream.MaxAttributesPerRecord {
		return fmt.Errorf("the mapping of the measure '%s' has %d attributes, which exceeds the limit of %d", a.Name, len(a.Attributes), timestream.MaxAttributesPerRecord)
	}
	for k, b := range a.Attributes {
		if !timestream.ValidMeasureName(b.Name) {
			return fmt.Errorf("the attribute name '%s' is invalid", b.Name)
		}
		if slices.ContainsFunc(a.Attributes[:k], func(o Attribute) bool { return o.Name == b.Name }) {
			return fmt.Errorf("two attributes of the measure '%s' have the name '%s'", a.Name, b.Name)
		}
		switch b.Type {
		case Double, Bigint, Boolean, Varchar, Timestamp:
		default:
			return fmt.Errorf("%s is an invalid type of the attribute '%s'", b.Type, b.Name)
		}
	}
	return nil
}
