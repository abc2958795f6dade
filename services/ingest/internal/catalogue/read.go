// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/smithy-go"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/tssql"
)

// Querier is the part of the Timestream query API that the catalogue uses. *timestreamquery.Client satisfies it.
type Querier interface {
	Query(context.Context, *timestreamquery.QueryInput, ...func(*timestreamquery.Options)) (*timestreamquery.QueryOutput, error)
}

// read reads the catalogue by DESCRIBE and SHOW MEASURES, which cost nothing; what the service denies is read from the
// data instead. A table that does not exist has an empty catalogue.
func (t *Table) read(ctx context.Context) (found, error) {
	f := newFound()
	table := tssql.QuoteIdent(t.Database) + "." + tssql.QuoteIdent(t.Name)
	_, err := t.rows(ctx, "DESCRIBE "+table, func(row []types.Datum) error {
		if len(row) < 3 {
			return errShape
		}
		switch aws.ToString(row[2].ScalarValue) {
		case "DIMENSION":
			f.column(aws.ToString(row[0].ScalarValue), true)
		case "MULTI":
			f.column(aws.ToString(row[0].ScalarValue), false)
		}
		return nil
	})
	if err != nil {
		if missing(err) {
			return f, nil
		}
		if !denied(err) {
			return f, err
		}
		f.degraded, f.why = true, err
		if err := t.columnsFromData(ctx, table, &f); err != nil {
			return f, err
		}
	}
	_, err = t.rows(ctx, "SHOW MEASURES FROM "+table, func(row []types.Datum) error {
		if len(row) < 2 {
			return errShape
		}
		m := other
		if strings.EqualFold(aws.ToString(row[1].ScalarValue), "double") {
			m = double
		}
		return f.measure(aws.ToString(row[0].ScalarValue), m)
	})
	if err == nil || missing(err) {
		return f, nil
	}
	if !denied(err) {
		return f, err
	}
	f.degraded, f.why = true, err
	_, err = t.rows(ctx, "SELECT DISTINCT "+timestream.ColumnMeasureName+" FROM "+table, func(row []types.Datum) error {
		if len(row) < 1 {
			return errShape
		}
		return f.measure(aws.ToString(row[0].ScalarValue), double)
	})
	return f, err
}

// columnsFromData reads the columns from the header of a result. Their roles follow from their places: dimensions, then
// measure_name and time, then what records hold. That order is not documented; in every published result it holds.
func (t *Table) columnsFromData(ctx context.Context, table string, f *found) error {
	columns, err := t.rows(ctx, "SELECT * FROM "+table+" LIMIT 1", func([]types.Datum) error { return nil })
	if err != nil {
		return err
	}
	dimension := true
	for _, c := range columns {
		switch name := aws.ToString(c.Name); {
		case name == timestream.ColumnMeasureName || name == timestream.ColumnTime:
			dimension = false
		case strings.HasPrefix(name, timestream.ColumnMeasureValue):
		default:
			f.column(name, dimension)
		}
	}
	return nil
}

// errShape says that an answer has fewer columns than the documentation says.
var errShape = errors.New("a catalogue statement answered with too few columns")

// maxPages bounds the pages of one answer: 8,192 measure names with their dimensions take a few dozen.
const maxPages = 1000

// rows runs a statement, hands every row to each, and returns the columns.
func (t *Table) rows(ctx context.Context, statement string, each func([]types.Datum) error) ([]types.ColumnInfo, error) {
	var columns []types.ColumnInfo
	in := &timestreamquery.QueryInput{QueryString: aws.String(statement)}
	for range maxPages {
		out, err := t.query.Query(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", statement, err)
		}
		if columns == nil {
			columns = out.ColumnInfo
		}
		for _, r := range out.Rows {
			if err := each(r.Data); err != nil {
				return nil, fmt.Errorf("%s: %w", statement, err)
			}
		}
		// A page may be empty and still not be the last one.
		if out.NextToken == nil {
			return columns, nil
		}
		in.NextToken = out.NextToken
	}
	return nil, fmt.Errorf("%s: more than %d pages", statement, maxPages)
}

// loggable returns err without the words of the service for a request whose signature it does not accept: they can repeat
// what was signed, session token included. Errors that the API declares, and those without an answer, stay whole.
func loggable(err error) string {
	var api smithy.APIError
	var undeclared *smithy.GenericAPIError
	if errors.As(err, &api) && errors.As(err, &undeclared) {
		return "Timestream answered " + api.ErrorCode()
	}
	return err.Error()
}

// denied tells whether the caller's IAM policy does not allow a statement.
func denied(err error) bool {
	var e *types.AccessDeniedException
	return errors.As(err, &e)
}

// missing tells whether the table or database does not exist (yet). The query API says so with a ValidationException.
func missing(err error) bool {
	var e *types.ValidationException
	if !errors.As(err, &e) {
		return false
	}
	text := e.ErrorMessage()
	return strings.Contains(text, "does not exist in database") || strings.Contains(text, "Requested database")
}
