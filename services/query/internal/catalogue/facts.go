// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"maps"
	"slices"
	"strings"

	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/tableinfo"
)

// Columns are the columns of a table at one moment. They never change; a table only ever gains columns.
type Columns struct {
	dimensions []string // sorted
	isDim      map[string]struct{}
	values     map[string]struct{}
}

// NewColumns returns the columns of a table with these dimensions and these measure columns: `measure_value::double` and
// the attributes of multi-measure records.
func NewColumns(dimensions, values []string) *Columns {
	c := &Columns{dimensions: slices.Sorted(slices.Values(dimensions)), isDim: set(dimensions), values: set(values)}
	c.dimensions = slices.Compact(c.dimensions)
	return c
}

func set(names []string) map[string]struct{} {
	m := make(map[string]struct{}, len(names))
	for _, n := range names {
		m[n] = struct{}{}
	}
	return m
}

// Dimensions returns the names of all dimensions, sorted. They must not be changed.
func (c *Columns) Dimensions() []string { return c.dimensions }

// Dimension tells whether the table has a dimension of this name.
func (c *Columns) Dimension(name string) bool { _, ok := c.isDim[name]; return ok }

// Value tells whether the table has a measure column of this name.
func (c *Columns) Value(name string) bool { _, ok := c.values[name]; return ok }

// Empty tells whether nothing was ever written to the table.
func (c *Columns) Empty() bool { return len(c.dimensions) == 0 && len(c.values) == 0 }

// Without returns the columns without a measure column.
func (c *Columns) Without(value string) *Columns {
	values := maps.Clone(c.values)
	delete(values, value)
	return &Columns{dimensions: c.dimensions, isDim: c.isDim, values: values}
}

// Equal tells whether two lists have the same columns.
func (c *Columns) Equal(o *Columns) bool {
	return c == o || slices.Equal(c.dimensions, o.dimensions) && maps.Equal(c.values, o.values)
}

// Measure is one measure name of a table.
type Measure = tableinfo.Measure

// Measures are the measure names of a table at one moment.
type Measures struct {
	list    []Measure // sorted by name
	partial bool
	newer   error
}

// NewMeasures returns a list of measure names. partial says that there may be others.
func NewMeasures(list []Measure, partial bool) *Measures {
	m := &Measures{list: slices.Clone(list), partial: partial}
	slices.SortFunc(m.list, func(a, b Measure) int { return strings.Compare(a.Name, b.Name) })
	for _, e := range m.list {
		if _, err := promschema.ClassifyMeasure(e.Name); err != nil {
			m.newer = err
		}
	}
	return m
}

// All returns every measure, sorted by name. They must not be changed.
func (m *Measures) All() []Measure { return m.list }

// Complete tells whether the table has no other measure names.
func (m *Measures) Complete() bool { return !m.partial }

// Get returns the measure of this name.
func (m *Measures) Get(name string) (Measure, bool) {
	i, ok := slices.BinarySearchFunc(m.list, name, func(e Measure, name string) int { return strings.Compare(e.Name, name) })
	if !ok {
		return Measure{}, false
	}
	return m.list[i], true
}

// Newer returns promschema.ErrNewerLayout, wrapped, when the table holds records that this build cannot read.
func (m *Measures) Newer() error { return m.newer }
