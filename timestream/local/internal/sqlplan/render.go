// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"database/sql/driver"
	"fmt"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
)

// reader renders one DuckDB value as a Datum.
type reader func(driver.Value) (qtypes.Datum, error)

// Row renders one DuckDB row by the texts of the Query API. values are in the order of Columns, as the DuckDB driver
// gives them; they are not kept.
func (p *Plan) Row(values []driver.Value) (qtypes.Row, error) {
	if len(values) != len(p.readers) {
		return qtypes.Row{}, fmt.Errorf("sqlplan: a row of %d values for %d columns", len(values), len(p.readers))
	}
	data := make([]qtypes.Datum, len(values))
	for i, v := range values {
		d, err := p.readers[i](v)
		if err != nil {
			return qtypes.Row{}, fmt.Errorf("sqlplan: column %q: %w", p.Columns[i].Name, err)
		}
		data[i] = d
	}
	return qtypes.Row{Data: data}, nil
}
