// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/wire"
)

// scheduledQuery is a body of CreateScheduledQuery: a roll-up of the default table into the table named rollup. Members are replaced by those that
// are given, by their paths; an empty JSON takes one away.
func scheduledQuery(t testing.TB, members ...string) string {
	t.Helper()
	var body map[string]any
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(json.Unmarshal([]byte(`{
		"Name": "hourly",
		"QueryString": "SELECT host, bin(time, 1h) AS hour, avg(measure_value::double) AS mean, count(*) AS n FROM `+database+`.`+table+` WHERE time BETWEEN @scheduled_runtime - 2h AND @scheduled_runtime GROUP BY 1, 2",
		"ScheduleConfiguration": {"ScheduleExpression": "cron(0 * * * ? *)"},
		"NotificationConfiguration": {"SnsConfiguration": {"TopicArn": "arn:aws:sns:us-east-1:000000000000:topic"}},
		"ScheduledQueryExecutionRoleArn": "arn:aws:iam::000000000000:role/any",
		"ErrorReportConfiguration": {"S3Configuration": {"BucketName": "reports"}},
		"TargetConfiguration": {"TimestreamConfiguration": {
			"DatabaseName": "`+database+`", "TableName": "rollup", "TimeColumn": "hour",
			"DimensionMappings": [{"Name": "host", "DimensionValueType": "VARCHAR"}],
			"MultiMeasureMappings": {"TargetMultiMeasureName": "stats", "MultiMeasureAttributeMappings": [
				{"SourceColumn": "mean", "MeasureValueType": "DOUBLE"},
				{"SourceColumn": "n", "TargetMultiMeasureAttributeName": "samples", "MeasureValueType": "BIGINT"}]}}}}`), &body))
	for i := 0; i < len(members); i += 2 {
		path := strings.Split(members[i], ".")
		at := body
		for _, name := range path[:len(path)-1] {
			at = at[name].(map[string]any)
		}
		last := path[len(path)-1]
		if members[i+1] == "" {
			delete(at, last)
			continue
		}
		var v any
		must(json.Unmarshal([]byte(members[i+1]), &v))
		at[last] = v
	}
	b, err := json.Marshal(body)
	must(err)
	return string(b)
}

const targetPath = "TargetConfiguration.TimestreamConfiguration"

// rollupTable makes the target, and a record that gives the source its columns.
func rollupTable() []exchange {
	return []exchange{
		{"the target", "CreateTable", fmt.Sprintf(`{"DatabaseName":%q,"TableName":"rollup"}`, database), "", `{}`},
		{"the source", "WriteRecords", fmt.Sprintf(`{"DatabaseName":%q,"TableName":%q,"Records":[%s]}`, database, table, sample("Dimensions", `[{"Name":"host","Value":"a"}]`)), "", `{}`},
	}
}

// TestConformanceScheduledShapes: the constraints of the API model, member by member.
func TestConformanceScheduledShapes(t *testing.T) {
	srv := serve(t, nil, wire.Options{})
	const model = modelSpace + "ValidationException"
	create := func(name, want string, members ...string) exchange {
		return exchange{name, "CreateScheduledQuery", scheduledQuery(t, members...), model, want}
	}
	const (
		s3     = "errorReportConfiguration.s3Configuration"
		config = "targetConfiguration.timestreamConfiguration"
		names  = `satisfy regular expression pattern: [a-zA-Z0-9|!\-_*'\(\)]([a-zA-Z0-9]|[!\-_*'\(\)\/.])+`
		types  = "satisfy enum value set: [BIGINT, BOOLEAN, DOUBLE, VARCHAR, TIMESTAMP]"
		arn    = `"arn:aws:timestream:us-east-1:000000000000:scheduled-query/x"`
	)
	long := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	most := func(member string, n int) string {
		return invalid(must("...", member, fmt.Sprintf("have length less than or equal to %d", n)))
	}
	least := func(value, member string, n int) string {
		return invalid(must(value, member, fmt.Sprintf("have length greater than or equal to %d", n)))
	}
	converse(t, srv.URL, []exchange{
		{"nothing", "CreateScheduledQuery", `{}`, model, invalid(isNull("name"), isNull("queryString"), isNull("scheduleConfiguration"), isNull("notificationConfiguration"),
			isNull("scheduledQueryExecutionRoleArn"), isNull("errorReportConfiguration"))},
		create("empty configurations", invalid(isNull("scheduleConfiguration.scheduleExpression"), isNull("notificationConfiguration.snsConfiguration"), isNull(config), isNull(s3)),
			"ScheduleConfiguration", `{}`, "NotificationConfiguration", `{}`, "ErrorReportConfiguration", `{}`, "TargetConfiguration", `{}`),
		create("no topic, no bucket", invalid(isNull("notificationConfiguration.snsConfiguration.topicArn"), isNull(s3+".bucketName")),
			"NotificationConfiguration.SnsConfiguration", `{}`, "ErrorReportConfiguration.S3Configuration", `{}`),
		create("a long name", most("name", 64), "Name", long(65)),
		create("a short name", invalid(must("x", "name", names)), "Name", `"x"`),
		create("a name with a space", invalid(must("a b", "name", names)), "Name", `"a b"`),
		create("an empty statement", least("", "queryString", 1), "QueryString", `""`),
		create("an empty schedule", least("", "scheduleConfiguration.scheduleExpression", 1), "ScheduleConfiguration.ScheduleExpression", `""`),
		create("a long schedule", most("scheduleConfiguration.scheduleExpression", 256), "ScheduleConfiguration.ScheduleExpression", long(257)),
		create("a long topic", most("notificationConfiguration.snsConfiguration.topicArn", 2048), "NotificationConfiguration.SnsConfiguration.TopicArn", long(2049)),
		create("a long role", most("scheduledQueryExecutionRoleArn", 2048), "ScheduledQueryExecutionRoleArn", long(2049)),
		create("a long key", most("kmsKeyId", 2048), "KmsKeyId", long(2049)),
		create("a short token", least("x", "clientToken", 32), "ClientToken", `"x"`),
		create("tags", invalid(isNull("tags.1.member.value"), must("", "tags.2.member.key", "have length greater than or equal to 1")), "Tags", `[{"Key":"k"},{"Key":"","Value":""}]`),
		create("many tags", most("tags", 200), "Tags", manyTags(201)),
		create("a bucket", invalid(must("Reports", s3+".bucketName", `satisfy regular expression pattern: [a-z0-9][\.\-a-z0-9]{1,61}[a-z0-9]`)), "ErrorReportConfiguration.S3Configuration.BucketName", `"Reports"`),
		create("a prefix", invalid(must("/x", s3+".objectKeyPrefix", names)), "ErrorReportConfiguration.S3Configuration.ObjectKeyPrefix", `"/x"`),
		create("an encryption", invalid(must("NO", s3+".encryptionOption", "satisfy enum value set: [SSE_S3, SSE_KMS]")), "ErrorReportConfiguration.S3Configuration.EncryptionOption", `"NO"`),
		create("an empty target", invalid(isNull(config+".databaseName"), isNull(config+".tableName"), isNull(config+".timeColumn"), isNull(config+".dimensionMappings")), targetPath, `{}`),
		create("dimensions", invalid(isNull(config+".dimensionMappings.1.member.name"), isNull(config+".dimensionMappings.1.member.dimensionValueType"),
			must("DOUBLE", config+".dimensionMappings.2.member.dimensionValueType", "satisfy enum value set: [VARCHAR]")), targetPath+".DimensionMappings", `[{},{"Name":"a","DimensionValueType":"DOUBLE"}]`),
		create("no attributes", invalid(isNull(config+".multiMeasureMappings.multiMeasureAttributeMappings")), targetPath+".MultiMeasureMappings", `{}`),
		create("empty attributes", least("[]", config+".multiMeasureMappings.multiMeasureAttributeMappings", 1), targetPath+".MultiMeasureMappings.MultiMeasureAttributeMappings", `[]`),
		create("attributes", invalid(isNull(config+".multiMeasureMappings.multiMeasureAttributeMappings.1.member.sourceColumn"), isNull(config+".multiMeasureMappings.multiMeasureAttributeMappings.1.member.measureValueType"),
			must("MULTI", config+".multiMeasureMappings.multiMeasureAttributeMappings.2.member.measureValueType", types)), targetPath+".MultiMeasureMappings.MultiMeasureAttributeMappings", `[{},{"SourceColumn":"a","MeasureValueType":"MULTI"}]`),
		create("empty mixed mappings", least("[]", config+".mixedMeasureMappings", 1), targetPath+".MixedMeasureMappings", `[]`),
		create("mixed mappings", invalid(isNull(config+".mixedMeasureMappings.1.member.measureValueType"),
			must("TIMESTAMP", config+".mixedMeasureMappings.2.member.measureValueType", "satisfy enum value set: [BIGINT, BOOLEAN, DOUBLE, VARCHAR, MULTI]"),
			must("[]", config+".mixedMeasureMappings.2.member.multiMeasureAttributeMappings", "have length greater than or equal to 1")),
			targetPath+".MixedMeasureMappings", `[{},{"MeasureValueType":"TIMESTAMP","MultiMeasureAttributeMappings":[]}]`),
		{"DescribeScheduledQuery", "DescribeScheduledQuery", `{}`, model, invalid(isNull("scheduledQueryArn"))},
		{"DeleteScheduledQuery", "DeleteScheduledQuery", `{"ScheduledQueryArn":""}`, model, least("", "scheduledQueryArn", 1)},
		{"UpdateScheduledQuery", "UpdateScheduledQuery", `{}`, model, invalid(isNull("scheduledQueryArn"), isNull("state"))},
		{"a state", "UpdateScheduledQuery", `{"ScheduledQueryArn":` + arn + `,"State":"PAUSED"}`, model, invalid(must("PAUSED", "state", "satisfy enum value set: [ENABLED, DISABLED]"))},
		{"ExecuteScheduledQuery", "ExecuteScheduledQuery", `{}`, model, invalid(isNull("scheduledQueryArn"), isNull("invocationTime"))},
		{"a token and a mode", "ExecuteScheduledQuery", `{"ScheduledQueryArn":` + arn + `,"InvocationTime":1,"ClientToken":"x","QueryInsights":{"Mode":"ON"}}`, model, invalid(
			must("x", "clientToken", "have length greater than or equal to 32"), must("ON", "queryInsights.mode", "satisfy enum value set: [ENABLED_WITH_RATE_CONTROL, DISABLED]"))},
		{"no mode", "ExecuteScheduledQuery", `{"ScheduledQueryArn":` + arn + `,"InvocationTime":1,"QueryInsights":{}}`, model, invalid(isNull("queryInsights.mode"))},
		{"0 results", "ListScheduledQueries", `{"MaxResults":0}`, model, invalid(must("0", "maxResults", "have value greater than or equal to 1"))},
		{"1001 results", "ListScheduledQueries", `{"MaxResults":1001}`, model, invalid(must("1001", "maxResults", "have value less than or equal to 1000"))},
		{"none", "ListScheduledQueries", `{}`, "", `{"ScheduledQueries":[],"NextToken":null}`},
	})
}

// TestConformanceScheduledQueries: what is refused at creation, what is shown, and the classes of errors.
func TestConformanceScheduledQueries(t *testing.T) {
	srv := serve(t, func(c *local.Config) { c.Now = func() time.Time { return standstill } }, wire.Options{})
	const (
		service  = serviceSpace + "ValidationException"
		conflict = serviceSpace + "ConflictException"
		missing  = serviceSpace + "ResourceNotFoundException"
		base     = "arn:aws:timestream:us-east-1:000000000000:scheduled-query/"
		token    = "ClientToken"
	)
	refuse := func(name, want string, members ...string) exchange {
		return exchange{name, "CreateScheduledQuery", scheduledQuery(t, members...), service, want}
	}
	gone := func(arn string) string { return "The scheduled query " + arn + " does not exist." }
	schedule := func(expression string) []string {
		return []string{"ScheduleConfiguration.ScheduleExpression", `"` + expression + `"`}
	}
	statement := func(sql string) []string { return []string{"QueryString", `"` + sql + `"`} }
	const mapping = targetPath + ".MultiMeasureMappings"
	converse(t, srv.URL, []exchange{refuse("an empty source", "line 1:8: Column 'host' does not exist")})
	converse(t, srv.URL, append(rollupTable(), []exchange{
		refuse("no schedule", "The schedule expression 'hourly' is invalid: want rate(value unit) or cron(minutes hours day-of-month month day-of-week year).", schedule("hourly")...),
		refuse("a schedule in seconds", `The schedule expression 'rate(30 seconds)' is invalid: the unit of a rate of 30 is minutes, hours or days, not "seconds".`, schedule("rate(30 seconds)")...),
		refuse("a schedule of the past", "The schedule expression 'cron(0 0 1 1 ? 2020)' is invalid: it has no time after the present.", schedule("cron(0 0 1 1 ? 2020)")...),
		refuse("syntax", "The query syntax is invalid at line 1:1", statement("SELEC 1")...),
		refuse("an unknown table", "The table 'nosuch' does not exist in database '"+database+"' at line 1:15", statement("SELECT 1 FROM "+database+".nosuch")...),
		refuse("another parameter", "line 1:8: Parameter '@other' has no value; '@scheduled_runtime' has one", statement("SELECT @other")...),
		refuse("metadata", "The query of a scheduled query has to be a SELECT.", statement("SHOW DATABASES")...),
		refuse("an export", "The query of a scheduled query has to be a SELECT.", statement("UNLOAD (SELECT 1 AS a) TO 's3://reports/x'")...),
		refuse("a column that is no scalar", "The column 'a' of the query is of type array(integer): the columns of a scheduled query have to be scalar.", statement("SELECT ARRAY[1] AS a")...),
		refuse("no target table", "The target table "+database+".nosuch does not exist.", targetPath+".TableName", `"nosuch"`),
		refuse("no mapping", "The TargetConfiguration is invalid: either MultiMeasureMappings or MixedMeasureMappings is required.", mapping, ""),
		refuse("no dimension", "The TargetConfiguration is invalid: at least one dimension is required for a record: DimensionMappings is empty.", targetPath+".DimensionMappings", `[]`),
		refuse("an unknown column", "The TargetConfiguration does not fit the query: TimeColumn names the column 'time', which does not exist.", targetPath+".TimeColumn", `"time"`),
		refuse("a time that is none", "The TargetConfiguration does not fit the query: TimeColumn maps the column 'host' to TIMESTAMP, but it is of type VARCHAR.", targetPath+".TimeColumn", `"host"`),
		refuse("a type", "The TargetConfiguration does not fit the query: MultiMeasureAttributeMappings maps the column 'n' to DOUBLE, but it is of type BIGINT.",
			mapping+".MultiMeasureAttributeMappings", `[{"SourceColumn":"n","MeasureValueType":"DOUBLE"}]`),
		{"none was made", "ListScheduledQueries", `{}`, "", `{"ScheduledQueries":[]}`},
		{"no ARN", "DescribeScheduledQuery", `{"ScheduledQueryArn":"x"}`, service, "The ARN 'x' is not that of a scheduled query."},
		{"the ARN of a table", "DeleteScheduledQuery", `{"ScheduledQueryArn":"arn:aws:timestream:us-east-1:000000000000:database/x"}`, service, "The ARN 'arn:aws:timestream:us-east-1:000000000000:database/x' is not that of a scheduled query."},
		{"describe none", "DescribeScheduledQuery", `{"ScheduledQueryArn":"` + base + `x"}`, missing, gone(base + "x")},
		{"delete none", "DeleteScheduledQuery", `{"ScheduledQueryArn":"` + base + `x"}`, missing, gone(base + "x")},
		{"update none", "UpdateScheduledQuery", `{"ScheduledQueryArn":"` + base + `x","State":"ENABLED"}`, missing, gone(base + "x")},
		{"execute none", "ExecuteScheduledQuery", `{"ScheduledQueryArn":"` + base + `x","InvocationTime":1}`, missing, gone(base + "x")},
	}...))

	const tokenA, tokenB = `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`, `"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"`
	full := []string{token, tokenA, "KmsKeyId", `"alias/key"`, "Tags", `[{"Key":"team","Value":"a"}]`, "ErrorReportConfiguration.S3Configuration.ObjectKeyPrefix", `"some/where"`}
	_, _, body := post(t, srv.URL, prefix+"CreateScheduledQuery", scheduledQuery(t, full...))
	arn, _ := body["Arn"].(string)
	if !strings.HasPrefix(arn, base+"hourly-") || len(arn) != len(base+"hourly-")+12 {
		t.Fatalf("got %v", body)
	}
	named := func(more string) string { return `{"ScheduledQueryArn":"` + arn + `"` + more + `}` }
	const summary = `"Name":"hourly","State":"ENABLED","CreationTime":1795262400.000,"NextInvocationTime":1795266000.000,"PreviousInvocationTime":null,
		"ErrorReportConfiguration":{"S3Configuration":{"BucketName":"reports","ObjectKeyPrefix":"some/where","EncryptionOption":"SSE_S3"}}`
	var given map[string]json.RawMessage
	if err := json.Unmarshal([]byte(scheduledQuery(t, full...)), &given); err != nil {
		t.Fatal(err)
	}
	converse(t, srv.URL, []exchange{
		{"the same again", "CreateScheduledQuery", scheduledQuery(t, full...), "", `{"Arn":"` + arn + `"}`},
		{"another with the token", "CreateScheduledQuery", scheduledQuery(t, token, tokenA), conflict, "The ClientToken was used before with other parameters."},
		{"the name again", "CreateScheduledQuery", scheduledQuery(t, token, tokenB), conflict, "Timestream was unable to process this request because it contains resource that already exists."},
		{"the list", "ListScheduledQueries", `{}`, "", `{"ScheduledQueries":[{"Arn":"` + arn + `",` + summary + `,"LastRunStatus":null,
			"TargetDestination":{"TimestreamDestination":{"DatabaseName":"` + database + `","TableName":"rollup"}}}],"NextToken":null}`},
		{"the description", "DescribeScheduledQuery", named(""), "", `{"ScheduledQuery":{"Arn":"` + arn + `",` + summary + `,"KmsKeyId":"alias/key","LastRunSummary":null,"RecentlyFailedRuns":null,
			"QueryString":` + string(given["QueryString"]) + `,"ScheduleConfiguration":` + string(given["ScheduleConfiguration"]) + `,"NotificationConfiguration":` + string(given["NotificationConfiguration"]) + `,
			"ScheduledQueryExecutionRoleArn":` + string(given["ScheduledQueryExecutionRoleArn"]) + `,"TargetConfiguration":` + string(given["TargetConfiguration"]) + `}}`},
		{"its tags", "ListTagsForResource", `{"ResourceARN":"` + arn + `"}`, "", `{"Tags":[{"Key":"team","Value":"a"}]}`},
		{"more tags", "TagResource", `{"ResourceARN":"` + arn + `","Tags":[{"Key":"x","Value":"y"}]}`, "", `{}`},
		{"less tags", "UntagResource", `{"ResourceARN":"` + arn + `","TagKeys":["team"]}`, "", `{}`},
		{"the tags that are left", "ListTagsForResource", `{"ResourceARN":"` + arn + `"}`, "", `{"Tags":[{"Key":"x","Value":"y"}]}`},
		{"disabled", "UpdateScheduledQuery", named(`,"State":"DISABLED"`), "", `{}`},
		{"has no next time", "DescribeScheduledQuery", named(""), "", `{"ScheduledQuery":{"State":"DISABLED","NextInvocationTime":null}}`},
		{"enabled", "UpdateScheduledQuery", named(`,"State":"ENABLED"`), "", `{}`},
		{"has one", "DescribeScheduledQuery", named(""), "", `{"ScheduledQuery":{"State":"ENABLED","NextInvocationTime":1795266000.000}}`},
		{"a time beyond timestamps", "ExecuteScheduledQuery", named(`,"InvocationTime":-1`), service, "The InvocationTime is outside of what a timestamp can be."},
		{"of another region", "DescribeScheduledQuery", strings.Replace(named(""), "us-east-1", "eu-west-1", 1), missing, gone(strings.Replace(arn, "us-east-1", "eu-west-1", 1))},
		{"a name with a slash", "CreateScheduledQuery", scheduledQuery(t, "Name", `"it's/b"`), "", `{"Arn":"…"}`},
		{"a page", "ListScheduledQueries", `{"MaxResults":1}`, "", `{"ScheduledQueries":[{"Name":"hourly"}],"NextToken":"…"}`},
		{"a bad token", "ListScheduledQueries", `{"NextToken":"*"}`, service, "Invalid pagination token"},
		{"deleted", "DeleteScheduledQuery", named(""), "", `{}`},
		{"deleted again", "DeleteScheduledQuery", named(""), missing, gone(arn)},
		{"its tags are gone", "ListTagsForResource", `{"ResourceARN":"` + arn + `"}`, missing, "The resource " + arn + " does not exist."},
		{"the token is as good as new", "CreateScheduledQuery", scheduledQuery(t, token, tokenA), "", `{"Arn":"…"}`},
	})
	_, _, body = post(t, srv.URL, prefix+"ListScheduledQueries", `{"MaxResults":1}`)
	converse(t, srv.URL, []exchange{{"the next page", "ListScheduledQueries", fmt.Sprintf(`{"MaxResults":1,"NextToken":%q}`, body["NextToken"]), "", `{"ScheduledQueries":[{"Name":"it's/b"}],"NextToken":null}`}})
	_, _, body = post(t, srv.URL, prefix+"ListScheduledQueries", `{}`)
	slashed := body["ScheduledQueries"].([]any)[1].(map[string]any)["Arn"].(string)
	converse(t, srv.URL, []exchange{
		{"a slash in an ARN", "DescribeScheduledQuery", `{"ScheduledQueryArn":"` + slashed + `"}`, "", `{"ScheduledQuery":{"Name":"it's/b"}}`},
		{"its tags", "ListTagsForResource", `{"ResourceARN":"` + slashed + `"}`, "", `{"Tags":[]}`},
	})
}

// TestConformanceScheduledPolicy: actions that are not granted, and the rates of calls.
func TestConformanceScheduledPolicy(t *testing.T) {
	denied := func(action string) string {
		return "User: arn:aws:iam::000000000000:user/local is not authorized to perform: timestream:" + action + " because no identity-based policy allows the timestream:" + action + " action"
	}
	srv := serve(t, func(c *local.Config) { c.AllowActions = []string{"CreateScheduledQuery"} }, wire.Options{})
	exchanges := []exchange{{"a statement that is not granted", "CreateScheduledQuery", scheduledQuery(t, "QueryString", `"SELECT 1"`), serviceSpace + "AccessDeniedException", denied("SelectValues")}}
	for _, op := range []string{"DescribeScheduledQuery", "UpdateScheduledQuery", "DeleteScheduledQuery", "ExecuteScheduledQuery", "ListScheduledQueries"} {
		exchanges = append(exchanges, exchange{op, op, `{}`, serviceSpace + "AccessDeniedException", denied(op)})
	}
	converse(t, srv.URL, exchanges)

	srv = serve(t, func(c *local.Config) {
		c.Quotas, c.Now = local.QuotasService, func() time.Time { return standstill }
	}, wire.Options{})
	for op, n := range map[string]int{"CreateScheduledQuery": 1, "UpdateScheduledQuery": 1, "DeleteScheduledQuery": 1, "DescribeScheduledQuery": 5, "ExecuteScheduledQuery": 5, "ListScheduledQueries": 5} {
		for i := range n + 1 {
			_, _, body := post(t, srv.URL, prefix+op, `{}`)
			if throttled := body["__type"] == serviceSpace+"ThrottlingException"; throttled != (i == n) {
				t.Errorf("%s, call %d: got %v", op, i+1, body)
			}
		}
	}
}
