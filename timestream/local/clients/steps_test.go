// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// script is what every client goes through. The clients must not try again by themselves.
type script struct {
	*testing.T
	client   caller
	server   *server
	database string
	now      time.Time
}

const metrics = "metrics"

// walk takes a client through all steps, in a database of its own, and tells whether it asked for endpoints by itself.
func walk(t *testing.T, s *server, c caller, database string) (discovers bool) {
	t.Helper()
	x := script{t, c, s, database, time.Now().Truncate(time.Second)}
	before := s.called("DescribeEndpoints")
	x.create()
	x.write()
	x.reject()
	x.query()
	x.describe()
	x.schedule()
	x.fail()
	x.remove()
	discovers = s.called("DescribeEndpoints") > before
	for _, service := range []string{write, query} {
		e := x.ok(service, "DescribeEndpoints", object{})
		address := s.URL
		if _, ok := c.(javaScript); ok { // it takes the whole address for a host
			address = "127.0.0.1"
		}
		x.want("address", at(e, "Endpoints"), []any{object{"Address": address, "CachePeriodInMinutes": 1440.0}})
	}
	return discovers
}

func (x script) ok(service, operation string, input object) object {
	x.Helper()
	out, err := x.client.call(x.Context(), service, operation, input)
	if err != nil {
		x.Fatalf("%s: %v", operation, err)
	}
	return out
}

// fails expects an error of the service and returns the members of its class, where the client has them.
func (x script) fails(service, operation string, input object, code, message string) (members object) {
	x.Helper()
	out, err := x.client.call(x.Context(), service, operation, input)
	if err == nil {
		x.Fatalf("%s: got %v, want %s", operation, out, code)
	}
	e := asAPI(x.T, err)
	if e.Code != code || !regexp.MustCompile(message).MatchString(e.Message) {
		x.Errorf("%s: got %v, want %s: %s", operation, e, code, message)
	}
	return e.Members
}

func (x script) want(what string, got, want any) {
	x.Helper()
	if !reflect.DeepEqual(got, want) {
		x.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// sql is a statement with @ for the table.
func (x script) sql(s string) object {
	return object{"QueryString": strings.ReplaceAll(s, "@", `"`+x.database+`"."`+metrics+`"`)}
}

func (x script) table(more object) object {
	in := object{"DatabaseName": x.database, "TableName": metrics}
	for k, v := range more {
		in[k] = v
	}
	return in
}

// millis is a record's time, seconds before the test began.
func (x script) millis(seconds int) string {
	return strconv.FormatInt(x.now.Add(-time.Duration(seconds)*time.Second).UnixMilli(), 10)
}

// stamp is the same time as Query writes it.
func (x script) stamp(seconds int) string {
	return x.now.Add(-time.Duration(seconds) * time.Second).UTC().Format("2006-01-02 15:04:05.000000000")
}

func (x script) create() {
	d := x.ok(write, "CreateDatabase", object{"DatabaseName": x.database})
	x.want("name", at(d, "Database", "DatabaseName"), x.database)
	x.want("ARN", at(d, "Database", "Arn"), "arn:aws:timestream:us-east-1:000000000000:database/"+x.database)
	x.fails(write, "CreateDatabase", object{"DatabaseName": x.database}, "ConflictException", "contains resource that already exists")
	properties := x.table(object{
		"RetentionProperties":          object{"MemoryStoreRetentionPeriodInHours": 24, "MagneticStoreRetentionPeriodInDays": 7},
		"MagneticStoreWriteProperties": object{"EnableMagneticStoreWrites": true},
	})
	x.want("status", at(x.ok(write, "CreateTable", properties), "Table", "TableStatus"), "ACTIVE")
	x.fails(write, "CreateTable", properties, "ConflictException", "contains resource that already exists")
	d = x.ok(write, "DescribeTable", x.table(nil))
	x.want("hours", at(d, "Table", "RetentionProperties", "MemoryStoreRetentionPeriodInHours"), 24.0)
	x.want("days", at(d, "Table", "RetentionProperties", "MagneticStoreRetentionPeriodInDays"), 7.0)
	x.want("magnetic writes", at(d, "Table", "MagneticStoreWriteProperties", "EnableMagneticStoreWrites"), true)
	x.fails(write, "DescribeTable", object{"DatabaseName": x.database, "TableName": "nosuch"}, "ResourceNotFoundException", "nosuch")
	l := x.ok(write, "ListTables", object{"DatabaseName": x.database})
	x.want("tables", []any{len(list(l, "Tables")), at(l, "Tables", 0, "TableName")}, []any{1, metrics})
}

// written is how many single-measure records a script writes.
const written = 25

func (x script) write() {
	var records []any
	for i := range written {
		records = append(records, object{"MeasureValue": strconv.Itoa(i), "Time": x.millis(i),
			"Dimensions": []any{object{"Name": "host", "Value": fmt.Sprintf("h%02d", i)}}})
	}
	out := x.ok(write, "WriteRecords", x.table(object{"Records": records, "CommonAttributes": object{
		"MeasureName": "load", "MeasureValueType": "DOUBLE", "TimeUnit": "MILLISECONDS",
		"Dimensions": []any{object{"Name": "region", "Value": "eu"}},
	}}))
	x.want("ingested", at(out, "RecordsIngested"), object{"Total": 25.0, "MemoryStore": 25.0, "MagneticStore": 0.0})
	out = x.ok(write, "WriteRecords", x.table(object{"Records": []any{object{
		"MeasureName": "state", "MeasureValueType": "MULTI", "Time": x.millis(0), "Version": 5,
		"Dimensions": []any{object{"Name": "host", "Value": "m1"}},
		"MeasureValues": []any{
			object{"Name": "cpu", "Value": "0.5", "Type": "DOUBLE"},
			object{"Name": "threads", "Value": "9007199254740993", "Type": "BIGINT"},
			object{"Name": "note", "Value": `<&> "ö" 'x'`, "Type": "VARCHAR"},
			object{"Name": "up", "Value": "true", "Type": "BOOLEAN"},
			object{"Name": "since", "Value": x.millis(60), "Type": "TIMESTAMP"},
		},
	}}}))
	x.want("ingested", at(out, "RecordsIngested", "Total"), 1.0)
	x.fails(write, "WriteRecords", object{"DatabaseName": x.database, "TableName": "nosuch", "Records": records[:1],
		"CommonAttributes": object{"MeasureName": "load"}}, "ResourceNotFoundException", "nosuch")
}

// reject has one record of two refused for its version; which, and why, is in the error.
func (x script) reject() {
	record := func(host, version int) object {
		return object{"MeasureName": "versions", "MeasureValue": strconv.Itoa(version), "Version": version, "Time": x.millis(0),
			"Dimensions": []any{object{"Name": "host", "Value": "v" + strconv.Itoa(host)}}}
	}
	x.ok(write, "WriteRecords", x.table(object{"Records": []any{record(1, 7)}}))
	members := x.fails(write, "WriteRecords", x.table(object{"Records": []any{record(2, 1), record(1, 6)}}),
		"RejectedRecordsException", "One or more records have been rejected. See RejectedRecords for details.")
	rejected := list(members, "RejectedRecords")
	if len(rejected) != 1 {
		x.Fatalf("got %v", members)
	}
	x.want("index", at(rejected, 0, "RecordIndex"), 1.0)
	x.want("existing version", at(rejected, 0, "ExistingVersion"), 7.0)
	if reason, _ := at(rejected, 0, "Reason").(string); !strings.Contains(reason, "version") {
		x.Errorf("reason: %q", reason)
	}
	out := x.ok(query, "Query", x.sql("SELECT host, measure_value::double FROM @ WHERE measure_name = 'versions' ORDER BY host"))
	x.want("versions", rows(out), []string{"v1 | 7.0", "v2 | 1.0"})
}

func (x script) query() {
	const statement = "SELECT host, time, measure_value::double AS v FROM @ WHERE measure_name = 'load' ORDER BY host"
	var want []string
	for i := range written {
		want = append(want, fmt.Sprintf("h%02d | %s | %d.0", i, x.stamp(i), i))
	}
	// By hand: the first page of a result that has several is empty.
	var pages []object
	in := x.sql(statement)
	for in["MaxRows"] = 10; ; {
		p := x.ok(query, "Query", in)
		pages = append(pages, p)
		x.want("columns", columns(p), []string{"host VARCHAR", "time TIMESTAMP", "v DOUBLE"})
		token, _ := at(p, "NextToken").(string)
		if token == "" {
			break
		}
		in["NextToken"] = token
	}
	var sizes []int
	for _, p := range pages {
		sizes = append(sizes, len(list(p, "Rows")))
	}
	x.want("rows of the pages", sizes, []int{0, 10, 10, 5})
	x.want("rows", rows(pages...), want)
	// By the client's own means.
	pages, err := x.client.pages(x.Context(), x.sql(statement)["QueryString"].(string), 7)
	if err != nil {
		x.Fatal(err)
	}
	x.want("rows by the paginator", rows(pages...), want)

	out := x.ok(query, "Query", x.sql("SELECT host, time, cpu, threads, note, up, since FROM @ WHERE measure_name = 'state'"))
	x.want("columns", columns(out), []string{"host VARCHAR", "time TIMESTAMP", "cpu DOUBLE", "threads BIGINT", "note VARCHAR", "up BOOLEAN", "since TIMESTAMP"})
	x.want("rows", rows(out), []string{`m1 | ` + x.stamp(0) + ` | 0.5 | 9007199254740993 | <&> "ö" 'x' | true | ` + x.stamp(60)})
	out = x.ok(query, "Query", x.sql("SELECT region, CREATE_TIME_SERIES(time, measure_value::double) AS ts FROM @ WHERE host IN ('h00', 'h01') GROUP BY region"))
	x.want("columns", columns(out), []string{"region VARCHAR", "ts TIMESERIES(DOUBLE)"})
	x.want("rows", rows(out), []string{"eu | {" + x.stamp(1) + " 1.0, " + x.stamp(0) + " 0.0}"})
}

func (x script) describe() {
	out := x.ok(query, "Query", x.sql("DESCRIBE @"))
	x.want("columns of DESCRIBE", columns(out), []string{"Column VARCHAR", "Type VARCHAR", "Timestream attribute type VARCHAR"})
	got := rows(out)
	slices.Sort(got)
	x.want("DESCRIBE", got, []string{"cpu | double | MULTI", "host | varchar | DIMENSION", "measure_name | varchar | MEASURE_NAME",
		"measure_value::double | double | MEASURE_VALUE", "note | varchar | MULTI", "region | varchar | DIMENSION", "since | timestamp | MULTI",
		"threads | bigint | MULTI", "time | timestamp | TIMESTAMP", "up | boolean | MULTI"})
	out = x.ok(query, "Query", object{"QueryString": "SHOW DATABASES LIKE '" + x.database + "'"})
	x.want("columns of SHOW DATABASES", columns(out), []string{"Database VARCHAR"})
	x.want("SHOW DATABASES", rows(out), []string{x.database})
	out = x.ok(query, "Query", object{"QueryString": `SHOW TABLES FROM "` + x.database + `"`})
	x.want("columns of SHOW TABLES", columns(out), []string{"Table VARCHAR"})
	x.want("SHOW TABLES", rows(out), []string{metrics})
	out = x.ok(query, "Query", x.sql("SHOW MEASURES FROM @"))
	x.want("columns of SHOW MEASURES", columns(out), []string{"measure_name VARCHAR", "data_type VARCHAR", "dimensions ARRAY(ROW(dimension_name VARCHAR, data_type VARCHAR))"})
	got = rows(out)
	slices.Sort(got)
	// The order of a measure's dimensions is not specified.
	got[0] = strings.Replace(got[0], "[(host, varchar), (region, varchar)]", "[(region, varchar), (host, varchar)]", 1)
	x.want("SHOW MEASURES", got, []string{"load | double | [(region, varchar), (host, varchar)]", "state | multi | [(host, varchar)]", "versions | double | [(host, varchar)]"})
}

// schedule has a scheduled query run by hand. Its target is the table that it reads, for a call of some clients takes a second.
func (x script) schedule() {
	created := x.ok(query, "CreateScheduledQuery", object{
		"Name":                           x.database,
		"QueryString":                    `SELECT region, @scheduled_runtime AS at, count(*) AS n FROM "` + x.database + `"."` + metrics + `" WHERE measure_name = 'load' AND time <= @scheduled_runtime GROUP BY region`,
		"ScheduleConfiguration":          object{"ScheduleExpression": "cron(0 0 1 1 ? *)"},
		"NotificationConfiguration":      object{"SnsConfiguration": object{"TopicArn": "topic"}},
		"ErrorReportConfiguration":       object{"S3Configuration": object{"BucketName": "reports"}},
		"ScheduledQueryExecutionRoleArn": "role",
		"TargetConfiguration": object{"TimestreamConfiguration": object{
			"DatabaseName": x.database, "TableName": metrics, "TimeColumn": "at", "DimensionMappings": []any{object{"Name": "region", "DimensionValueType": "VARCHAR"}},
			"MixedMeasureMappings": []any{object{"SourceColumn": "n", "TargetMeasureName": "records", "MeasureValueType": "BIGINT"}}}},
	})
	named := object{"ScheduledQueryArn": at(created, "Arn")}
	x.ok(query, "ExecuteScheduledQuery", object{"ScheduledQueryArn": at(created, "Arn"), "InvocationTime": x.now.UTC().Format(time.RFC3339)})
	var d object
	for end := time.Now().Add(time.Minute); at(d, "ScheduledQuery", "LastRunSummary", "RunStatus") == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			x.Fatalf("no run: %v", d)
		}
		d = x.ok(query, "DescribeScheduledQuery", named)
	}
	x.want("name and state", []any{at(d, "ScheduledQuery", "Name"), at(d, "ScheduledQuery", "State")}, []any{x.database, "ENABLED"})
	x.want("mapping", at(d, "ScheduledQuery", "TargetConfiguration", "TimestreamConfiguration", "MixedMeasureMappings", 0, "TargetMeasureName"), "records")
	x.want("run", []any{at(d, "ScheduledQuery", "LastRunSummary", "RunStatus"), at(d, "ScheduledQuery", "LastRunSummary", "ExecutionStats", "RecordsIngested")}, []any{"MANUAL_TRIGGER_SUCCESS", 1.0})
	out := x.ok(query, "Query", x.sql("SELECT region, time, measure_value::bigint FROM @ WHERE measure_name = 'records'"))
	x.want("rows", rows(out), []string{fmt.Sprintf("eu | %s | %d", x.stamp(0), written)})
	x.ok(query, "DeleteScheduledQuery", named)
}

func (x script) fail() {
	x.fails(query, "Query", x.sql("SELECT nosuch FROM @"), "ValidationException", `^line 1:8: Column 'nosuch' does not exist$`)
	x.fails(query, "Query", x.sql("SELECT FROM @"), "ValidationException", `^The query syntax is invalid at line 1:\d+`)
	x.fails(query, "Query", object{"QueryString": `SELECT 1 FROM "` + x.database + `"."nosuch"`}, "ValidationException", `^The table 'nosuch' does not exist in database '`+x.database+`' at line 1:\d+`)
	x.fails(write, "WriteRecords", x.table(object{"Records": []any{object{"MeasureName": "m", "MeasureValue": "none", "MeasureValueType": "BIGINT", "Time": x.millis(0),
		"Dimensions": []any{object{"Name": "host", "Value": "h"}}}}}), "ValidationException", `^Invalid value none for bigint measure value type\.$`)
	if err := x.server.faults.Set("throttle=1x"); err != nil {
		x.Fatal(err)
	}
	x.fails(query, "Query", object{"QueryString": "SELECT 1"}, "ThrottlingException", "Request rate limit exceeded|[Tt]hrottl")
	if err := x.server.faults.Set(""); err != nil {
		x.Fatal(err)
	}
	x.want("after throttling", rows(x.ok(query, "Query", object{"QueryString": "SELECT 1"})), []string{"1"})
}

func (x script) remove() {
	x.fails(write, "DeleteDatabase", object{"DatabaseName": x.database}, "ValidationException", "tables")
	x.ok(write, "DeleteTable", x.table(nil))
	x.fails(write, "DeleteTable", x.table(nil), "ResourceNotFoundException", metrics)
	x.ok(write, "DeleteDatabase", object{"DatabaseName": x.database})
	x.fails(write, "DescribeDatabase", object{"DatabaseName": x.database}, "ResourceNotFoundException", x.database)
}
