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

	"github.com/tributary-project/tributary/timestream/client"
	"github.com/tributary-project/tributary/timestream/tableinfo"
	"github.com/tributary-project/tributary/timestream/tssql"
)

// Querier is the part of the Timestream query API that the catalogue uses. *timestreamquery.Client satisfies it.
type Querier interface {
	Query(context.Context, *timestreamquery.QueryInput, ...func(*timestreamquery.Options)) (*timestreamquery.QueryOutput, error)
}

// read reads the catalogue by DESCRIBE and SHOW MEASURES, which cost nothing; what the service denies is read from the
// data instead. A table that does not exist has an empty catalogue. With an error, what was found before it stands.
func (t *Table) read(ctx context.Context) (found, error) {
	var f found
	table := tssql.Table{Database: t.Database, Name: t.Name}
	columns, err := tableinfo.Describe(ctx, t.run, table)
	if denied(err) {
		f.degraded, f.why = true, err
		columns, err = tableinfo.Probe(ctx, t.run, table)
	}
	if missing(err) {
		columns, err = tableinfo.Columns{}, nil
	}
	if err != nil {
		return f, err
	}
	f.columns(columns)
	list, err := tableinfo.Measures(ctx, t.run, table)
	if denied(err) {
		f.degraded, f.why = true, err
		list, err = tableinfo.RecentMeasures(ctx, t.run, table, "")
	}
	if err != nil && !missing(err) {
		return f, err
	}
	return f, f.names(list)
}

// maxPages bounds the pages of one answer: 8,192 measure names with their dimensions take a few dozen.
const maxPages = 1000

// run implements tableinfo.Run.
func (t *Table) run(ctx context.Context, _, statement string, page func(*timestreamquery.QueryOutput) error) error {
	in := &timestreamquery.QueryInput{QueryString: aws.String(statement)}
	for range maxPages {
		out, err := t.query.Query(ctx, in)
		if err == nil {
			err = page(out)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
		// A page may be empty and still not be the last one.
		if out.NextToken == nil {
			return nil
		}
		in.NextToken = out.NextToken
	}
	return fmt.Errorf("%s: more than %d pages", statement, maxPages)
}

// loggable returns err without the words of the service for a request whose signature it does not accept: they can repeat
// what was signed, session token included. Errors that the API declares, and those without an answer, stay whole.
func loggable(err error) string {
	var api smithy.APIError
	var undeclared *smithy.GenericAPIError
	if errors.As(err, &api) && errors.As(err, &undeclared) {
		return "Timestream answered " + client.Withhold(api.ErrorCode())
	}
	return client.Withhold(err.Error())
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
