// SPDX-License-Identifier: Apache-2.0

package mapping

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// Column is a column of the rows.
type Column struct {
	Name string
	Type Type
}

// Mapper makes records of rows with certain columns. It is not changed by use, so many goroutines may use it at once.
type Mapper struct {
	unit       string
	time       source
	dimensions []named
	// byName has the name of a measure, or what chooses one.
	byName   source
	hasName  bool
	measures []measure
}

// source is where a value comes from: the number of a column, its type and its name.
type source struct {
	column int
	typ    Type
	from   string
}

type named struct {
	source
	name string
}

type measure struct {
	when, name string
	typ        Type
	value      source
	attributes []attribute
}

type attribute struct {
	named
	typ Type
}

// Bind fits a model to columns. An error names a column that is not there, that there are two of, or whose type is not the one that
// it is mapped to; of these, only an INTEGER fits another, a BIGINT. (The guide asks for a TIMESTAMP as time; what else the service converts
// is not documented, so nothing else is here.)
func (m *Model) Bind(columns []Column) (*Mapper, error) {
	b := binder{columns: map[string]int{}, all: columns}
	for i, c := range columns {
		if _, ok := b.columns[c.Name]; ok {
			b.twice = append(b.twice, c.Name)
		}
		b.columns[c.Name] = i
	}
	r := &Mapper{unit: cmp.Or(m.Unit, "MILLISECONDS"), time: b.find("TimeColumn", m.Time, Timestamp)}
	for _, d := range m.Dimensions {
		r.dimensions = append(r.dimensions, named{b.find("DimensionMappings", d.Column, Varchar), d.Name})
	}
	if m.MeasureName != "" {
		r.byName, r.hasName = b.find("MeasureNameColumn", m.MeasureName, Varchar), true
	}
	for i := range m.Measures {
		a := &m.Measures[i]
		x := measure{when: a.When, name: a.Name, typ: a.Type}
		if a.Type != Multi {
			x.value = b.find("MixedMeasureMappings", a.Column, a.Type)
		}
		for _, t := range a.Attributes {
			x.attributes = append(x.attributes, attribute{named{b.find("MultiMeasureAttributeMappings", t.Column, t.Type), t.Name}, t.Type})
		}
		r.measures = append(r.measures, x)
	}
	if r.time.typ == Timestamp {
		r.unit = "NANOSECONDS" // what timestamps are written in
	}
	return r, b.err
}

// binder finds columns; err is the first that is wrong.
type binder struct {
	columns map[string]int
	all     []Column
	twice   []string
	err     error
}

func (b *binder) find(member, name string, want Type) source {
	i, ok := b.columns[name]
	if !ok {
		b.fail("%s names the column '%s', which does not exist", member, name)
		return source{}
	}
	for _, t := range b.twice {
		if t == name {
			b.fail("%s names the column '%s', of which there are two", member, name)
		}
	}
	have := b.all[i].Type
	if have != want && have != Text && (have != Integer || want != Bigint) {
		b.fail("%s maps the column '%s' to %s, but it is of type %s", member, name, want, have)
	}
	return source{i, have, name}
}

func (b *binder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

// Reasons why a row becomes no record.
var (
	errNoTime      = errors.New("the row has no time")
	errRange       = errors.New("the row has a timestamp before 1970 or after 2262-04-11")
	errNoDimension = errors.New("the row has no dimension")
	errNoName      = errors.New("the row has no measure name")
	errNoMeasure   = errors.New("the row has no measure value: all are NULL")
)

// Row appends the records of one row to dst. cell is what the columns hold: texts as the Query API writes them, or as WriteRecords
// takes them where the type is Text. A measure or attribute that is NULL is left out, and so is a record that has none, and a dimension that
// is NULL; the last is our guess. An error is why the row becomes no record at all (Developer Guide, scheduledqueries-mappings: a row
// whose measures are all NULL is reported; for its measure name being none of those that are mapped the same is our guess). The records share
// no memory with each other but that of texts.
func (r *Mapper) Row(dst []record.Record, cell func(column int) (text string, null bool)) ([]record.Record, error) {
	at, null, err := r.text(r.time, cell)
	switch {
	case err != nil:
		return dst, err
	case null:
		return dst, fmt.Errorf("%w: column '%s' is NULL", errNoTime, r.time.from)
	}
	dimensions := make([]record.Dimension, 0, len(r.dimensions))
	for _, d := range r.dimensions {
		if text, null := cell(d.column); !null {
			dimensions = append(dimensions, record.Dimension{Name: d.name, Value: text})
		}
	}
	if len(dimensions) == 0 {
		return dst, errNoDimension
	}
	name := ""
	if r.hasName {
		if name, null = cell(r.byName.column); null || name == "" {
			return dst, fmt.Errorf("%w: column '%s' is NULL or empty", errNoName, r.byName.from)
		}
	}
	before, known := len(dst), false
	for i := range r.measures {
		a := &r.measures[i]
		if a.when != "" && a.when != name {
			continue
		}
		known = true
		out := record.Record{
			Dimensions: dimensions, MeasureName: cmp.Or(a.name, name), MeasureValueType: string(a.typ), Time: at, TimeUnit: r.unit,
			Has: record.MeasureName | record.MeasureValueType | record.Time | record.TimeUnit,
		}
		if len(dst) > before {
			out.Dimensions = append([]record.Dimension(nil), dimensions...)
		}
		ok, err := r.measure(a, &out, cell)
		if err != nil {
			return dst[:before], err
		}
		if ok {
			dst = append(dst, out)
		}
	}
	switch {
	case !known:
		return dst, fmt.Errorf("no mapping is for the measure name '%s' of column '%s'", short(name), r.byName.from)
	case len(dst) == before:
		return dst, errNoMeasure
	}
	return dst, nil
}

// measure reads the value or the attributes of a record, and tells whether it has any.
func (r *Mapper) measure(a *measure, out *record.Record, cell func(int) (string, bool)) (bool, error) {
	if a.typ != Multi {
		text, null, err := r.text(a.value, cell)
		out.MeasureValue = text
		out.Has |= record.MeasureValue
		return !null, err
	}
	for i := range a.attributes {
		b := &a.attributes[i]
		text, null, err := r.text(b.source, cell)
		if err != nil {
			return false, err
		}
		if !null {
			out.Attributes = append(out.Attributes, record.Attribute{Name: b.name, Value: text, Type: string(b.typ)})
		}
	}
	return len(out.Attributes) > 0, nil
}

// text is a value as WriteRecords takes it.
func (r *Mapper) text(s source, cell func(int) (string, bool)) (text string, null bool, err error) {
	text, null = cell(s.column)
	if null || s.typ != Timestamp {
		return text, null, nil
	}
	t, err := time.Parse(timestampLayout, text)
	if err != nil {
		return "", false, fmt.Errorf("'%.64s' is no timestamp", text)
	}
	if t.Before(time.Unix(0, 0)) || t.After(time.Unix(0, math.MaxInt64)) {
		return "", false, errRange
	}
	return strconv.FormatInt(t.UnixNano(), 10), false, nil
}

// timestampLayout is how the Query API writes timestamps (Developer Guide, supported-data-types).
const timestampLayout = "2006-01-02 15:04:05.999999999"
