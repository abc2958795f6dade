// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/local/internal/shape"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
)

// PrepareQuery checks a statement, which may have parameters (@name), and describes its columns and parameters (API reference,
// PrepareQuery). Nothing is stored: only ValidateOnly is supported, by the service too, and it may be left out.
func (db *DB) PrepareQuery(_ context.Context, in *timestreamquery.PrepareQueryInput, _ ...QueryOption) (*timestreamquery.PrepareQueryOutput, error) {
	if err := db.allowQuery("PrepareQuery"); err != nil {
		return nil, err
	}
	var v shape.Violations
	v.Statement(in.QueryString, "queryString")
	if err := v.AsQuery(); err != nil {
		return nil, err
	}
	if in.ValidateOnly != nil && !*in.ValidateOnly {
		return nil, queryInvalid("ValidateOnly has to be true: prepared queries are not stored.")
	}
	now := db.now()
	p, err := sqlplan.Prepare(*in.QueryString, view{db, now}, now)
	if err != nil {
		return nil, db.queryError(err)
	}
	if err := db.grant(p.Action); err != nil {
		return nil, err
	}
	out := &timestreamquery.PrepareQueryOutput{QueryString: in.QueryString, Columns: []qtypes.SelectColumn{}, Parameters: []qtypes.ParameterMapping{}}
	for i := range p.Columns {
		c := &p.Columns[i]
		column := qtypes.SelectColumn{Name: &c.Name, Type: c.Type.API(), Aliased: &c.Aliased}
		if c.Origin != (sqlplan.Table{}) {
			column.DatabaseName, column.TableName = &c.Origin.Database, &c.Origin.Name
		}
		out.Columns = append(out.Columns, column)
	}
	for _, m := range p.Parameters {
		out.Parameters = append(out.Parameters, qtypes.ParameterMapping{Name: &m.Name, Type: m.Type.API()})
	}
	return out, nil
}
