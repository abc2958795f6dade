// SPDX-License-Identifier: Apache-2.0

// Package tableinfo reads the columns and measure names of a Timestream table: by DESCRIBE and SHOW MEASURES, which are
// not metered, or by selects where the credentials may do nothing else, which read as little as they can. How statements
// are run, when to ask and what to do with the answer is left to the caller.
package tableinfo

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/tssql"
)

// Run runs a statement and hands over each page of its result, in order. An error of page ends the run and is returned.
// kind is one of the Kind constants, for metrics.
type Run func(ctx context.Context, kind, statement string, page func(*timestreamquery.QueryOutput) error) error

// What a statement is for.
const (
	KindDescribe = "describe"
	KindMeasures = "measures"
	KindProbe    = "probe" // a select in place of one of the others
)

// Lookback is how far back RecentMeasures looks, in hours.
const Lookback = 24

// Columns are the columns of a table, without measure_name and time.
type Columns struct {
	// Dimensions are dimensions for certain.
	Dimensions []string
	// Values are measure_value::double and its like, and the attributes of multi-measure records.
	Values []string
	// Unclear are dimensions or VARCHAR attributes: only Probe, which sees no roles, has any.
	Unclear []string
}

// Measure is one measure name of a table.
type Measure struct {
	Name string
	// Double tells whether its records are single-measure DOUBLEs. It is true too when the type is not known.
	Double bool
	// Dimensions are those seen with this measure; nil when not known.
	Dimensions []string
}

// Describe reads the columns by DESCRIBE.
func Describe(ctx context.Context, run Run, t tssql.Table) (Columns, error) {
	var c Columns
	err := rows(ctx, run, KindDescribe, &tssql.Describe{Table: t}, 3, func(r types.Row) {
		switch name := scalar(r, 0); scalar(r, 2) {
		case "DIMENSION":
			c.Dimensions = append(c.Dimensions, name)
		case "MEASURE_NAME", "TIMESTAMP":
		default:
			c.Values = append(c.Values, name)
		}
	})
	return c, err
}

// Probe reads the columns from the description of a result without rows. This is the one place that selects *: what is
// wanted are the names of all columns, and no record is older than 1970, so that nothing is read. Dimensions are VARCHAR,
// as attributes can be. Those before measure_name and time are dimensions: that order is not documented, but holds in
// every published result. The others are Unclear, except for what the layout knows by name.
func Probe(ctx context.Context, run Run, t tssql.Table) (Columns, error) {
	one := int64(1)
	q := &tssql.Query{Limit: &one, Body: &tssql.Select{
		Items: []tssql.Item{{Star: true}},
		From:  &tssql.TableRef{Table: t},
		Where: &tssql.Binary{Op: "<", L: &tssql.Column{Name: timestream.ColumnTime}, R: &tssql.Call{Name: "from_milliseconds", Args: []tssql.Expr{&tssql.Int{}}}},
	}}
	var c Columns
	seen := false
	err := run(ctx, KindProbe, tssql.Print(q), func(out *timestreamquery.QueryOutput) error {
		if seen {
			return nil
		}
		behind := false
		for _, info := range out.ColumnInfo {
			seen = true
			name := aws.ToString(info.Name)
			switch {
			case name == timestream.ColumnMeasureName, name == timestream.ColumnTime:
				behind = true
			case info.Type == nil || info.Type.ScalarType != types.ScalarTypeVarchar,
				strings.HasPrefix(name, timestream.ColumnMeasureValue), promschema.IsLayoutAttribute(name):
				c.Values = append(c.Values, name)
			case behind && name != promschema.NameDimension && !promschema.IsLayoutDimension(name):
				c.Unclear = append(c.Unclear, name)
			default:
				c.Dimensions = append(c.Dimensions, name)
			}
		}
		return nil
	})
	return c, err
}

// Measures reads the measure names by SHOW MEASURES.
func Measures(ctx context.Context, run Run, t tssql.Table) ([]Measure, error) {
	var list []Measure
	err := rows(ctx, run, KindMeasures, &tssql.Show{What: tssql.ShowMeasures, From: t}, 2, func(r types.Row) {
		m := Measure{Name: scalar(r, 0), Double: strings.EqualFold(scalar(r, 1), "double"), Dimensions: []string{}}
		if len(r.Data) > 2 {
			for _, d := range r.Data[2].ArrayValue {
				if d.RowValue != nil {
					m.Dimensions = append(m.Dimensions, scalar(*d.RowValue, 0))
				}
			}
		}
		list = append(list, m)
	})
	return list, err
}

// RecentMeasures reads the measure names that begin with prefix, or all of them if it is empty, from the records of the
// last Lookback hours, which Timestream charges for.
func RecentMeasures(ctx context.Context, run Run, t tssql.Table, prefix string) ([]Measure, error) {
	name := &tssql.Column{Name: timestream.ColumnMeasureName}
	var where tssql.Expr = &tssql.Binary{Op: ">", L: &tssql.Column{Name: timestream.ColumnTime}, R: &tssql.Call{Name: "ago", Args: []tssql.Expr{&tssql.Interval{Count: Lookback, Unit: "h"}}}}
	if prefix != "" {
		pattern := strings.NewReplacer(`\`, `\\`, "_", `\_`, "%", `\%`).Replace(prefix) + "%"
		where = &tssql.Binary{Op: "AND", L: where, R: &tssql.Like{X: name, Pattern: &tssql.String{Value: pattern}, Escape: &tssql.String{Value: `\`}}}
	}
	q := &tssql.Query{Body: &tssql.Select{Distinct: true, Items: []tssql.Item{{Expr: name}}, From: &tssql.TableRef{Table: t}, Where: where}}
	var list []Measure
	err := rows(ctx, run, KindProbe, q, 1, func(r types.Row) { list = append(list, Measure{Name: scalar(r, 0), Double: true}) })
	return list, err
}

// rows runs a statement and calls each for every row, which has at least this many columns.
func rows(ctx context.Context, run Run, kind string, s tssql.Statement, columns int, each func(types.Row)) error {
	return run(ctx, kind, tssql.Print(s), func(out *timestreamquery.QueryOutput) error {
		for _, r := range out.Rows {
			if len(r.Data) < columns {
				return fmt.Errorf("the answer to the %s statement has rows of %d columns, the documentation says at least %d", kind, len(r.Data), columns)
			}
			each(r)
		}
		return nil
	})
}

// scalar returns the text of a column, empty when it is NULL or missing.
func scalar(r types.Row, i int) string {
	if i >= len(r.Data) {
		return ""
	}
	return aws.ToString(r.Data[i].ScalarValue)
}
