// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"

	"github.com/tributary-project/tributary/timestream/local/wire"
)

// TestConformancePrepareQuery: columns with where they come from, parameters with the type of what they stand beside.
func TestConformancePrepareQuery(t *testing.T) {
	srv := serve(t, nil, wire.Options{})
	const service = serviceSpace + "ValidationException"
	const from = ` FROM ` + database + `.` + table
	prepare := func(sql string) string { return fmt.Sprintf(`{"QueryString":%q,"ValidateOnly":true}`, sql) }
	column := func(name, typ string) string {
		return fmt.Sprintf(`{"Name":%q,"Type":{"ScalarType":%q},"Aliased":false,"DatabaseName":null,"TableName":null}`, name, typ)
	}
	own := func(name, typ string, aliased bool) string {
		return fmt.Sprintf(`{"Name":%q,"Type":{"ScalarType":%q},"Aliased":%t,"DatabaseName":"%s","TableName":"%s"}`, name, typ, aliased, database, table)
	}
	parameter := func(name, typ string) string {
		return fmt.Sprintf(`{"Name":%q,"Type":{"ScalarType":%q}}`, name, typ)
	}
	answer := func(columns, parameters string) string {
		return `{"QueryString":"…","Columns":[` + columns + `],"Parameters":[` + parameters + `]}`
	}
	writes := fmt.Sprintf(`{"DatabaseName":%q,"TableName":%q,"Records":[{"Dimensions":[{"Name":"host","Value":"a"}],"MeasureName":"m","MeasureValue":"1","Time":"%d"}]}`, database, table, time.Now().UnixMilli())
	converse(t, srv.URL, []exchange{
		{"a record", "WriteRecords", writes, "", `{}`},
		{"nothing", "PrepareQuery", `{}`, modelSpace + "ValidationException", invalid(isNull("queryString"))},
		{"to be stored", "PrepareQuery", `{"QueryString":"SELECT 1","ValidateOnly":false}`, service, "ValidateOnly has to be true: prepared queries are not stored."},
		{"it may be left out", "PrepareQuery", `{"QueryString":"SELECT 1"}`, "", answer(column("_col0", "INTEGER"), "")},
		{"own columns and others", "PrepareQuery", prepare("SELECT host, time AS t, host || 'x', measure_value::double v, count(*) AS n" + from + " GROUP BY 1, 2, 3, 4"), "",
			answer(own("host", "VARCHAR", false)+","+own("t", "TIMESTAMP", true)+","+column("_col2", "VARCHAR")+","+own("v", "DOUBLE", true)+`,{"Name":"n","Type":{"ScalarType":"BIGINT"},"Aliased":true,"TableName":null}`, "")},
		{"all columns", "PrepareQuery", prepare("SELECT *" + from), "", answer(own("host", "VARCHAR", false)+","+own("measure_name", "VARCHAR", false)+","+own("time", "TIMESTAMP", false)+","+own("measure_value::double", "DOUBLE", false), "")},
		{"parameters", "PrepareQuery", prepare("SELECT time" + from + " WHERE host = @host AND time BETWEEN @from AND @to AND measure_value::double > @limit AND measure_name LIKE @name AND host <> @host"), "",
			answer(own("time", "TIMESTAMP", false), parameter("host", "VARCHAR")+","+parameter("from", "TIMESTAMP")+","+parameter("to", "TIMESTAMP")+","+parameter("limit", "DOUBLE")+","+parameter("name", "VARCHAR"))},
		{"a list, a cast, a sum", "PrepareQuery", prepare("SELECT CAST(@x AS bigint), 1 + @y" + from + " WHERE host IN (@a, @b)"), "",
			answer(column("_col0", "BIGINT")+","+column("_col1", "INTEGER"), parameter("a", "VARCHAR")+","+parameter("b", "VARCHAR")+","+parameter("x", "BIGINT")+","+parameter("y", "INTEGER"))},
		{"in what is grouped", "PrepareQuery", prepare("SELECT bin(time, @width), count(*)" + from + " GROUP BY bin(time, @width)"), "",
			answer(`{"Name":"_col0","Type":{"ScalarType":"TIMESTAMP"}},"…"`, parameter("width", "INTERVAL_DAY_TO_SECOND"))},
		{"nothing tells the type", "PrepareQuery", prepare("SELECT @x"), "", answer(column("_col0", "UNKNOWN"), parameter("x", "UNKNOWN"))},
		{"metadata", "PrepareQuery", prepare("SHOW DATABASES"), "", answer(column("Database", "VARCHAR"), "")},
		{"an unknown column", "PrepareQuery", prepare("SELECT nosuch" + from), service, "line 1:8: Column 'nosuch' does not exist"},
		{"syntax", "PrepareQuery", prepare("SELEC 1"), service, "The query syntax is invalid at line 1:1"},
		{"an @ alone", "PrepareQuery", prepare("SELECT @ x"), service, "The query syntax is invalid at line 1:8"},
		{"Query cannot give values", "Query", `{"QueryString":"SELECT @x"}`, service, "line 1:8: Parameter '@x' has no value"},
	})
	out, err := timestreamquery.NewFromConfig(awsConfig(t, srv.URL)).PrepareQuery(t.Context(), &timestreamquery.PrepareQueryInput{QueryString: aws.String("SELECT host" + from + " WHERE time > @t"), ValidateOnly: aws.Bool(true)})
	if err != nil || len(out.Columns) != 1 || len(out.Parameters) != 1 || *out.Parameters[0].Name != "t" {
		t.Errorf("got %+v, %v", out, err)
	}
}
