// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/wire"
)

// TestConformanceInsights: how much of its tables a statement looks at, once a second (API reference, Query and QueryInsightsResponse).
func TestConformanceInsights(t *testing.T) {
	var clock atomic.Int64 // seconds after standstill
	srv := serve(t, func(c *local.Config) {
		c.Now = func() time.Time { return standstill.Add(time.Duration(clock.Load()) * time.Second) }
	}, wire.Options{})
	const arn = "arn:aws:timestream:us-east-1:000000000000:database/" + database + "/table/"
	from := ` FROM ` + database + `.` + table
	write := func(table string, recs ...string) exchange {
		return exchange{"write to " + table, "WriteRecords", fmt.Sprintf(`{"DatabaseName":%q,"TableName":%q,"Records":[%s]}`, database, table, strings.Join(recs, ",")), "", `{}`}
	}
	host := func(h string) string { return `[{"Name":"host","Value":"` + h + `"}]` }
	converse(t, srv.URL, []exchange{
		write(table, sample("MeasureName", `"m1"`), sample("MeasureName", `"m2"`, "Time", at(-90*time.Minute)), sample("MeasureName", `"m3"`), sample("MeasureName", `"m4"`)),
		{"a table by host", "CreateTable", fmt.Sprintf(`{"DatabaseName":%q,"TableName":"hosts","Schema":{"CompositePartitionKey":[{"Type":"DIMENSION","Name":"host"}]}}`, database), "", `{}`},
		write("hosts", sample("Dimensions", host("a")), sample("Dimensions", host("b")), sample("Dimensions", host("c")), sample("Dimensions", host("d")), sample()),
	})
	ask := func(name, sql, want string) {
		t.Helper()
		clock.Add(1)
		converse(t, srv.URL, []exchange{{name, "Query", fmt.Sprintf(`{"QueryString":%q,"QueryInsights":{"Mode":"ENABLED_WITH_RATE_CONTROL"}}`, sql), "", want}})
	}
	insights := func(tables, rows int, more string) string {
		return fmt.Sprintf(`{"QueryInsightsResponse":{"QueryTableCount":%d,"OutputRows":%d,"OutputBytes":"…"%s}}`, tables, rows, more)
	}
	space := func(table, key string, share float64) string {
		return fmt.Sprintf(`,"QuerySpatialCoverage":{"Max":{"TableArn":"%s%s","PartitionKey":[%q],"Value":%v}}`, arn, table, key, share)
	}
	span := func(table string, d time.Duration) string {
		return fmt.Sprintf(`,"QueryTemporalRange":{"Max":{"TableArn":"%s%s","Value":%d}}`, arn, table, d.Nanoseconds())
	}
	ask("everything", "SELECT time"+from, insights(1, 4, space(table, "measure_name", 1)+span(table, 3*time.Hour))) // 10:00 to 13:00
	ask("one name of four", "SELECT time"+from+" WHERE measure_name = 'm1'", insights(1, 1, space(table, "measure_name", 0.25)))
	ask("two names, and one that is none", "SELECT time"+from+" WHERE measure_name IN ('m1', 'm2', 'm9')", insights(1, 2, space(table, "measure_name", 0.5)))
	ask("ten minutes", "SELECT time"+from+" WHERE time >= '2026-11-21 11:50:00' AND time <= '2026-11-21 12:00:00'", insights(1, 3, span(table, 10*time.Minute)))
	ask("a day without records", "SELECT time"+from+" WHERE time < '2026-11-20 00:00:00'", insights(1, 0, span(table, 0)))
	ask("one value of the key of four", "SELECT time FROM "+database+".hosts WHERE host = 'a'", insights(1, 1, space("hosts", "host", 0.25)))
	ask("all values of the key", "SELECT time FROM "+database+".hosts", insights(1, 5, space("hosts", "host", 1)))
	ask("two tables: the worst", "SELECT a.time"+from+" a JOIN "+database+".hosts b ON a.time = b.time WHERE b.host = 'a' AND a.measure_name = 'm1'", insights(2, 1, space(table, "measure_name", 0.25)))
	ask("no table", "SELECT 1", `{"QueryInsightsResponse":{"QueryTableCount":0,"OutputRows":1,"OutputBytes":30,"QueryTemporalRange":null,"QuerySpatialCoverage":null}}`)
	clock.Add(1)
	converse(t, srv.URL, []exchange{
		{"disabled", "Query", `{"QueryString":"SELECT 1","QueryInsights":{"Mode":"DISABLED"}}`, "", `{"QueryInsightsResponse":null}`},
		{"not asked for", "Query", `{"QueryString":"SELECT 1"}`, "", `{"QueryInsightsResponse":null}`},
		{"one a second", "Query", `{"QueryString":"SELECT 1","QueryInsights":{"Mode":"ENABLED_WITH_RATE_CONTROL"}}`, "", `{"QueryInsightsResponse":{}}`},
		{"two a second", "Query", `{"QueryString":"SELECT 1","QueryInsights":{"Mode":"ENABLED_WITH_RATE_CONTROL"}}`, serviceSpace + "ThrottlingException", "Request rate limit exceeded"},
		{"without them", "Query", `{"QueryString":"SELECT 1"}`, "", `{"Rows":[{"Data":[{"ScalarValue":"1"}]}]}`},
	})
	// Pages belong to one query, and the last has the sums.
	clock.Add(1)
	pages := timestreamquery.NewQueryPaginator(timestreamquery.NewFromConfig(awsConfig(t, srv.URL)), &timestreamquery.QueryInput{
		QueryString: aws.String("SELECT time" + from), MaxRows: aws.Int32(3), QueryInsights: &qtypes.QueryInsights{Mode: qtypes.QueryInsightsModeEnabledWithRateControl}})
	for pages.HasMorePages() {
		out, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if i := out.QueryInsightsResponse; (i == nil) != (out.NextToken != nil) || i != nil && (*i.OutputRows != 4 || *i.OutputBytes < 100) {
			t.Errorf("got %+v", i)
		}
	}
}

// TestConformanceMetering: what a query is charged for, nothing for statements about metadata (Developer Guide, pricing; captures).
func TestConformanceMetering(t *testing.T) {
	srv := serve(t, nil, wire.Options{})
	const charged = `{"QueryId":"…","QueryStatus":{"ProgressPercentage":100,"CumulativeBytesScanned":0,"CumulativeBytesMetered":10000000},"NextToken":null}`
	const free = `{"QueryStatus":{"ProgressPercentage":100,"CumulativeBytesScanned":0,"CumulativeBytesMetered":0}}`
	named := `\"` + database + `\".\"` + table + `\"`
	converse(t, srv.URL, []exchange{
		{"no table", "Query", `{"QueryString":"SELECT 1"}`, "", charged},
		{"an empty table", "Query", `{"QueryString":"SELECT time FROM ` + named + `"}`, "", charged},
		{"databases", "Query", `{"QueryString":"SHOW DATABASES"}`, "", free},
		{"tables", "Query", `{"QueryString":"SHOW TABLES FROM ` + database + `"}`, "", free},
		{"measures", "Query", `{"QueryString":"SHOW MEASURES FROM ` + named + `"}`, "", free},
		{"columns", "Query", `{"QueryString":"DESCRIBE ` + named + `"}`, "", free},
	})
}
