// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/wire"
)

// The tables of this file go through the Write API, the control plane and the contract of the Query API in the order of their
// documentation: framing, shapes and constraints, names, quotas, WriteRecords, partition keys, Query, control plane, account settings,
// tags. Each row is one request as it goes over the wire, with the status, the class and the text of its answer, to the letter.

const (
	serviceSpace   = "com.amazonaws.timestream.v20181101#"
	modelSpace     = "com.amazon.coral.validate#"
	frameworkSpace = "com.amazon.coral.service#"
)

// exchange is one request and what is expected of its answer.
type exchange struct {
	name, op, body string
	// class is empty for success. For an error want is the whole text, for success JSON that the answer has to contain.
	class, want string
}

// status is what goes with a class (Developer Guide, APITimestreamSpecificErrors).
func (e *exchange) status() int {
	_, short, _ := strings.Cut(e.class, "#")
	switch short {
	case "":
		return http.StatusOK
	case "AccessDeniedException":
		return http.StatusForbidden
	case "ResourceNotFoundException":
		return http.StatusNotFound
	case "ConflictException":
		return http.StatusConflict
	case "ServiceQuotaExceededException":
		return http.StatusPaymentRequired
	case "RejectedRecordsException":
		return 419
	case "ThrottlingException":
		return http.StatusTooManyRequests
	case "InternalServerException":
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// converse runs exchanges one after another.
func converse(t *testing.T, url string, exchanges []exchange) {
	t.Helper()
	for _, e := range exchanges {
		t.Run(e.name, func(t *testing.T) {
			status, header, body := post(t, url, prefix+e.op, e.body)
			checkHeader(t, header)
			if status != e.status() {
				t.Errorf("got status %d, want %d", status, e.status())
			}
			if e.class != "" {
				if body["__type"] != e.class || body["message"] != e.want {
					t.Errorf("got %v %v\nwant %s %s", body["__type"], body["message"], e.class, e.want)
				}
				if e.class == serviceSpace+"RejectedRecordsException" {
					return
				}
				members := 2
				if e.class == serviceSpace+"ResourceNotFoundException" && strings.HasPrefix(e.want, "The scheduled query ") {
					members = 3
					if arn, _ := body["ScheduledQueryArn"].(string); arn == "" || !strings.Contains(e.want, arn) {
						t.Errorf("got the ARN %q", arn)
					}
				}
				if len(body) != members {
					t.Errorf("got more members: %v", body)
				}
				return
			}
			var want any
			if err := json.Unmarshal([]byte(e.want), &want); err != nil {
				t.Fatalf("%s: %v", e.want, err)
			}
			if where := lacks(body, want, "answer"); where != "" {
				got, _ := json.Marshal(body)
				t.Errorf("%s\ngot  %s\nwant %s", where, got, e.want)
			}
		})
	}
}

var requestIDs = regexp.MustCompile(`^[A-Z2-7]{26}$`)

func checkHeader(t *testing.T, h http.Header) {
	t.Helper()
	if id := h.Get("x-amzn-RequestId"); !requestIDs.MatchString(id) {
		t.Errorf("request id %q", id)
	}
	if got := h.Get("Content-Type"); got != "application/x-amz-json-1.0" {
		t.Errorf("content type %q", got)
	}
	if got, ok := h["X-Amzn-Errortype"]; ok {
		t.Errorf("error type in the header: %v", got)
	}
}

// lacks tells where got does not have what is wanted; objects may have more members, "…" stands for any value, null for none.
func lacks(got, want any, where string) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return where + " is no object"
		}
		for k, v := range w {
			if v == nil {
				if have, there := g[k]; there {
					return fmt.Sprintf("%s.%s is there: %v", where, k, have)
				}
				continue
			}
			if x, there := g[k]; !there {
				return where + "." + k + " is missing"
			} else if r := lacks(x, v, where+"."+k); r != "" {
				return r
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("%s has not %d elements", where, len(w))
		}
		for i := range w {
			if r := lacks(g[i], w[i], fmt.Sprintf("%s[%d]", where, i)); r != "" {
				return r
			}
		}
		return ""
	}
	if want != "…" && got != want {
		return fmt.Sprintf("%s is %v, not %v", where, got, want)
	}
	return ""
}

// invalid is the text of the framework for violations.
func invalid(list ...string) string {
	if len(list) == 1 {
		return "1 validation error detected: " + list[0]
	}
	return fmt.Sprintf("%d validation errors detected: %s", len(list), strings.Join(list, "; "))
}

func isNull(member string) string {
	return "Value null at '" + member + "' failed to satisfy constraint: Member must not be null"
}

func must(value, member, constraint string) string {
	return "Value '" + value + "' at '" + member + "' failed to satisfy constraint: Member must " + constraint
}

func manyTags(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`{"Key":"k%03d","Value":"v"}`, i)
	}
	return "[" + strings.Join(list, ",") + "]"
}

func TestConformanceFraming(t *testing.T) {
	srv := serve(t, nil, wire.Options{})
	plain := []struct{ method, path string }{
		{http.MethodGet, "/"}, {http.MethodHead, "/"}, {http.MethodPut, "/"}, {http.MethodPost, "/nosuch"}, {http.MethodGet, "/nosuch"},
	}
	for _, p := range plain {
		t.Run(p.method+" "+p.path, func(t *testing.T) {
			req, err := http.NewRequest(p.method, srv.URL+p.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Amz-Target", prefix+"ListDatabases")
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			b, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			checkHeader(t, res.Header)
			if res.StatusCode != http.StatusNotFound || p.method != http.MethodHead && !strings.Contains(string(b), frameworkSpace+"UnknownOperationException") {
				t.Errorf("got %d %s", res.StatusCode, b)
			}
		})
	}
	const serialization = frameworkSpace + "SerializationException"
	wrong := func(path, want string) string {
		return "the request body cannot be read: " + path + " has to be " + want
	}
	converse(t, srv.URL, []exchange{
		{"unknown operation", "NoSuch", `{}`, frameworkSpace + "UnknownOperationException", `The operation is unknown: want POST / with X-Amz-Target Timestream_20181101. and the name of an operation, not POST / with "Timestream_20181101.NoSuch"`},
		{"a text for a time", "ExecuteScheduledQuery", `{"InvocationTime":"2024-01-01"}`, serialization, wrong("InvocationTime", "a time in seconds since 1970")},
		{"a time beyond all", "ExecuteScheduledQuery", `{"InvocationTime":1e300}`, serialization, wrong("InvocationTime", "a time in seconds since 1970")},
		{"endpoints", "DescribeEndpoints", `{}`, "", `{"Endpoints":[{"Address":"` + srv.URL + `","CachePeriodInMinutes":1440}]}`},
		{"no body is no members", "ListTables", ``, "", `{"Tables":["…"],"NextToken":null}`},
		{"null is no members", "ListTables", `null`, "", `{"Tables":["…"]}`},
		{"null is absent", "ListTables", `{"MaxResults":null,"DatabaseName":null}`, "", `{"Tables":["…"]}`},
		{"unknown members", "ListTables", `{"NoSuch":{"A":[1,{}]},"maxresults":"x"}`, "", `{"Tables":["…"]}`},
		{"members have one case", "DescribeDatabase", `{"databaseName":"` + database + `"}`, modelSpace + "ValidationException", invalid(isNull("databaseName"))},
		{"a number for a text", "DescribeDatabase", `{"DatabaseName":7}`, serialization, wrong("DatabaseName", "a string")},
		{"a text for a number", "ListTables", `{"MaxResults":"7"}`, serialization, wrong("MaxResults", "a whole number of 32 bits")},
		{"a number beyond 32 bits", "ListTables", `{"MaxResults":2147483648}`, serialization, wrong("MaxResults", "a whole number of 32 bits")},
		{"a fraction", "ListTables", `{"MaxResults":1.5}`, serialization, wrong("MaxResults", "a whole number of 32 bits")},
		{"a whole number with a fraction", "ListTables", `{"MaxResults":2e1}`, "", `{"Tables":["…"]}`},
		{"an object for a list", "CreateDatabase", `{"DatabaseName":"abc","Tags":{}}`, serialization, wrong("Tags", "an array")},
		{"a text for an object", "CreateDatabase", `{"DatabaseName":"abc","Tags":["x"]}`, serialization, wrong("Tags[0]", "an object")},
		{"a text for a truth", "CreateTable", `{"MagneticStoreWriteProperties":{"EnableMagneticStoreWrites":"true"}}`, serialization, wrong("MagneticStoreWriteProperties.EnableMagneticStoreWrites", "true or false")},
		{"no object", "ListTables", `[]`, serialization, wrong("the body", "an object")},
		{"text after the end", "ListTables", `{} {}`, serialization, "the request body cannot be read: text after the end"},
		{"not UTF-8", "DescribeDatabase", "{\"DatabaseName\":\"\xff\"}", serialization, "the request body cannot be read: not UTF-8"},
		{"a record that is a text", "WriteRecords", `{"Records":["x"]}`, serialization, "malformed request body: want an object at byte 12"},
		{"a version that is a text", "WriteRecords", `{"Records":[{"Version":"1"}]}`, serialization, "malformed request body: want a value at byte 23"},
		{"a version beyond 64 bits", "WriteRecords", `{"Records":[{"Version":9223372036854775808}]}`, serialization, "malformed request body: want an integer at byte 42"},
	})
}

// TestConformancePanic: what goes wrong in the server is an answer like any other.
func TestConformancePanic(t *testing.T) {
	srv := httptest.NewServer(wire.New(nil, wire.Options{})) // without a database every operation fails
	defer srv.Close()
	converse(t, srv.URL, []exchange{
		{"panic", "ListDatabases", `{}`, serviceSpace + "InternalServerException", "Timestream was unable to fully process this request because of an internal server error."},
		{"and the next", "WriteRecords", `{}`, serviceSpace + "InternalServerException", "Timestream was unable to fully process this request because of an internal server error."},
	})
}

// TestConformanceShapes sends every operation nothing, and members that violate what the API model says of them.
func TestConformanceShapes(t *testing.T) {
	srv := serve(t, nil, wire.Options{})
	const model = modelSpace + "ValidationException"
	db, tab := isNull("databaseName"), isNull("tableName")
	names := fmt.Sprintf(`"DatabaseName":%q,"TableName":%q`, database, table)
	recs := func(list string) string { return "{" + names + `,"Records":[` + list + `]}` }
	const values = "satisfy enum value set: [BIGINT, BOOLEAN, TIMESTAMP, VARCHAR, DOUBLE, MULTI]"
	long := strings.Repeat("x", 2049)
	converse(t, srv.URL, []exchange{
		{"CreateDatabase", "CreateDatabase", `{}`, model, invalid(db)},
		{"DescribeDatabase", "DescribeDatabase", `{}`, model, invalid(db)},
		{"UpdateDatabase", "UpdateDatabase", `{}`, model, invalid(db, isNull("kmsKeyId"))},
		{"DeleteDatabase", "DeleteDatabase", `{}`, model, invalid(db)},
		{"CreateTable", "CreateTable", `{}`, model, invalid(db, tab)},
		{"DescribeTable", "DescribeTable", `{}`, model, invalid(db, tab)},
		{"UpdateTable", "UpdateTable", `{}`, model, invalid(db, tab)},
		{"DeleteTable", "DeleteTable", `{}`, model, invalid(db, tab)},
		{"WriteRecords", "WriteRecords", `{}`, model, invalid(db, tab, isNull("records"))},
		{"TagResource", "TagResource", `{}`, model, invalid(isNull("resourceARN"), isNull("tags"))},
		{"UntagResource", "UntagResource", `{}`, model, invalid(isNull("resourceARN"), isNull("tagKeys"))},
		{"ListTagsForResource", "ListTagsForResource", `{}`, model, invalid(isNull("resourceARN"))},
		{"Query", "Query", `{}`, model, invalid(isNull("queryString"))},
		{"CancelQuery", "CancelQuery", `{}`, model, invalid(isNull("queryId"))},

		{"a database's name of 2", "CreateDatabase", `{"DatabaseName":"ab"}`, model, invalid(must("ab", "databaseName", "have length greater than or equal to 3"))},
		{"a database's name of 257", "CreateDatabase", `{"DatabaseName":"` + strings.Repeat("x", 257) + `"}`, model, invalid(must("...", "databaseName", "have length less than or equal to 256"))},
		{"a database's name with a space", "CreateDatabase", `{"DatabaseName":"a b c"}`, model, invalid(must("a b c", "databaseName", "satisfy regular expression pattern: [a-zA-Z0-9_.-]+"))},
		{"two violations of one name", "CreateDatabase", `{"DatabaseName":"é"}`, model, invalid(must("é", "databaseName", "have length greater than or equal to 3"), must("é", "databaseName", "satisfy regular expression pattern: [a-zA-Z0-9_.-]+"))},
		{"a database's name of 256", "CreateDatabase", `{"DatabaseName":"` + strings.Repeat("x", 256) + `"}`, "", `{"Database":{"TableCount":0}}`},
		{"an empty key id", "CreateDatabase", `{"DatabaseName":"abc","KmsKeyId":""}`, model, invalid(must("", "kmsKeyId", "have length greater than or equal to 1"))},
		{"a key id of 2049", "CreateDatabase", `{"DatabaseName":"abc","KmsKeyId":"` + long + `"}`, model, invalid(must("...", "kmsKeyId", "have length less than or equal to 2048"))},
		{"a table's name", "CreateTable", `{"DatabaseName":"` + database + `","TableName":"a:b"}`, model, invalid(must("a:b", "tableName", "satisfy regular expression pattern: [a-zA-Z0-9_.-]+"))},
		{"retention", "CreateTable", `{` + names + `,"RetentionProperties":{"MemoryStoreRetentionPeriodInHours":8767,"MagneticStoreRetentionPeriodInDays":0}}`, model,
			invalid(must("8767", "retentionProperties.memoryStoreRetentionPeriodInHours", "have value less than or equal to 8766"), must("0", "retentionProperties.magneticStoreRetentionPeriodInDays", "have value greater than or equal to 1"))},
		{"half of the retention", "UpdateTable", `{` + names + `,"RetentionProperties":{"MemoryStoreRetentionPeriodInHours":0}}`, model,
			invalid(must("0", "retentionProperties.memoryStoreRetentionPeriodInHours", "have value greater than or equal to 1"), isNull("retentionProperties.magneticStoreRetentionPeriodInDays"))},
		{"retention beyond 73000 days", "UpdateTable", `{` + names + `,"RetentionProperties":{"MemoryStoreRetentionPeriodInHours":1,"MagneticStoreRetentionPeriodInDays":73001}}`, model,
			invalid(must("73001", "retentionProperties.magneticStoreRetentionPeriodInDays", "have value less than or equal to 73000"))},
		{"magnetic writes without a switch", "UpdateTable", `{` + names + `,"MagneticStoreWriteProperties":{}}`, model, invalid(isNull("magneticStoreWriteProperties.enableMagneticStoreWrites"))},
		{"encryption", "UpdateTable", `{` + names + `,"MagneticStoreWriteProperties":{"EnableMagneticStoreWrites":true,"MagneticStoreRejectedDataLocation":{"S3Configuration":{"BucketName":"abc","EncryptionOption":"X"}}}}`, model,
			invalid(must("X", "magneticStoreWriteProperties.magneticStoreRejectedDataLocation.s3Configuration.encryptionOption", "satisfy enum value set: [SSE_S3, SSE_KMS]"))},
		{"a partition key's type", "UpdateTable", `{` + names + `,"Schema":{"CompositePartitionKey":[{"Type":"X","EnforcementInRecord":"Y"}]}}`, model,
			invalid(must("X", "schema.compositePartitionKey.1.member.type", "satisfy enum value set: [DIMENSION, MEASURE]"), must("Y", "schema.compositePartitionKey.1.member.enforcementInRecord", "satisfy enum value set: [REQUIRED, OPTIONAL]"))},
		{"a partition key without a type", "UpdateTable", `{` + names + `,"Schema":{"CompositePartitionKey":[{}]}}`, model, invalid(isNull("schema.compositePartitionKey.1.member.type"))},
		{"no partition key", "UpdateTable", `{` + names + `,"Schema":{"CompositePartitionKey":[]}}`, model, invalid(must("[]", "schema.compositePartitionKey", "have length greater than or equal to 1"))},
		{"pages of 0", "ListDatabases", `{"MaxResults":0}`, model, invalid(must("0", "maxResults", "have value greater than or equal to 1"))},
		{"pages of 21", "ListDatabases", `{"MaxResults":21}`, model, invalid(must("21", "maxResults", "have value less than or equal to 20"))},
		{"pages of 21 tables", "ListTables", `{"MaxResults":21}`, model, invalid(must("21", "maxResults", "have value less than or equal to 20"))},

		{"no records", "WriteRecords", recs(""), model, invalid(must("[]", "records", "have length greater than or equal to 1"))},
		{"101 records", "WriteRecords", recs(strings.Repeat("{},", 100) + "{}"), model, invalid(must("...", "records", "have length less than or equal to 100"))},
		{"129 dimensions", "WriteRecords", recs(`{"Dimensions":[` + strings.Repeat(`{"Name":"a","Value":"b"},`, 128) + `{"Name":"a","Value":"b"}]}`), model, invalid(must("...", "records.1.member.dimensions", "have length less than or equal to 128"))},
		{"a dimension without members", "WriteRecords", recs(`{},{"Dimensions":[{"Name":"a","Value":"b"},{}]}`), model, invalid(isNull("records.2.member.dimensions.2.member.name"), isNull("records.2.member.dimensions.2.member.value"))},
		{"a dimension with null", "WriteRecords", recs(`{"Dimensions":[{"Name":"","Value":null,"DimensionValueType":"X"}]}`), model, invalid(must("", "records.1.member.dimensions.1.member.name", "have length greater than or equal to 1"), isNull("records.1.member.dimensions.1.member.value"),
			must("X", "records.1.member.dimensions.1.member.dimensionValueType", "satisfy enum value set: [VARCHAR]"))},
		{"common attributes", "WriteRecords", "{" + names + `,"CommonAttributes":{"Dimensions":[{}],"TimeUnit":"X"},"Records":[{}]}`, model,
			invalid(isNull("commonAttributes.dimensions.1.member.name"), isNull("commonAttributes.dimensions.1.member.value"), must("X", "commonAttributes.timeUnit", "satisfy enum value set: [MICROSECONDS, NANOSECONDS, SECONDS, MILLISECONDS]"))},
		{"a record's scalars", "WriteRecords", recs(`{"MeasureName":"","MeasureValue":"","MeasureValueType":"","Time":"","TimeUnit":""}`), model, invalid(
			must("", "records.1.member.measureName", "have length greater than or equal to 1"), must("", "records.1.member.measureValue", "have length greater than or equal to 1"),
			must("", "records.1.member.measureValueType", values), must("", "records.1.member.timeUnit", "satisfy enum value set: [MICROSECONDS, NANOSECONDS, SECONDS, MILLISECONDS]"),
			must("", "records.1.member.time", "have length greater than or equal to 1"))},
		{"long scalars", "WriteRecords", recs(`{"MeasureValue":"` + long + `","Time":"` + strings.Repeat("1", 257) + `"}`), model, invalid(
			must("...", "records.1.member.measureValue", "have length less than or equal to 2048"), must("...", "records.1.member.time", "have length less than or equal to 256"))},
		{"values without members", "WriteRecords", recs(`{"MeasureValues":[{"Name":"a","Value":"1","Type":"DOUBLE"},{}]}`), model, invalid(
			isNull("records.1.member.measureValues.2.member.name"), isNull("records.1.member.measureValues.2.member.value"), isNull("records.1.member.measureValues.2.member.type"))},
		{"a value of no type", "WriteRecords", recs(`{"MeasureValues":[{"Name":"","Value":"","Type":"MANY"}]}`), model, invalid(
			must("", "records.1.member.measureValues.1.member.name", "have length greater than or equal to 1"), must("", "records.1.member.measureValues.1.member.value", "have length greater than or equal to 1"),
			must("MANY", "records.1.member.measureValues.1.member.type", values))},
		{"a text of many violations is bounded", "WriteRecords", recs(strings.Repeat(`{"Time":""},`, 99) + `{"Time":""}`), model,
			"100 validation errors detected: " + strings.TrimPrefix(invalid(func() (list []string) {
				for i := range 10 {
					list = append(list, must("", fmt.Sprintf("records.%d.member.time", i+1), "have length greater than or equal to 1"))
				}
				return list
			}()...), "10 validation errors detected: ")},

		{"no statement", "Query", `{"QueryString":""}`, model, invalid(must("", "queryString", "have length greater than or equal to 1"))},
		{"a statement of 262145", "Query", `{"QueryString":"` + strings.Repeat("x", 262145) + `"}`, model, invalid(must("...", "queryString", "have length less than or equal to 262144"))},
		{"pages of 1001 rows", "Query", `{"QueryString":"SELECT 1","MaxRows":1001}`, model, invalid(must("1001", "maxRows", "have value less than or equal to 1000"))},
		{"pages of 0 rows", "Query", `{"QueryString":"SELECT 1","MaxRows":0}`, model, invalid(must("0", "maxRows", "have value greater than or equal to 1"))},
		{"a client token of 31", "Query", `{"QueryString":"SELECT 1","ClientToken":"` + strings.Repeat("t", 31) + `"}`, model, invalid(must(strings.Repeat("t", 31), "clientToken", "have length greater than or equal to 32"))},
		{"a client token of 129", "Query", `{"QueryString":"SELECT 1","ClientToken":"` + strings.Repeat("t", 129) + `"}`, model, invalid(must("...", "clientToken", "have length less than or equal to 128"))},
		{"an empty next token", "Query", `{"QueryString":"SELECT 1","NextToken":""}`, model, invalid(must("", "nextToken", "have length greater than or equal to 1"))},
		{"a next token of 2049", "Query", `{"QueryString":"SELECT 1","NextToken":"` + long + `"}`, model, invalid(must("...", "nextToken", "have length less than or equal to 2048"))},
		{"insights without a mode", "Query", `{"QueryString":"SELECT 1","QueryInsights":{}}`, model, invalid(isNull("queryInsights.mode"))},
		{"insights of another mode", "Query", `{"QueryString":"SELECT 1","QueryInsights":{"Mode":"ENABLED"}}`, model, invalid(must("ENABLED", "queryInsights.mode", "satisfy enum value set: [ENABLED_WITH_RATE_CONTROL, DISABLED]"))},
		{"a query's id", "CancelQuery", `{"QueryId":"a-b"}`, model, invalid(must("a-b", "queryId", "satisfy regular expression pattern: [a-zA-Z0-9]+"))},
		{"a query's id of 65", "CancelQuery", `{"QueryId":"` + strings.Repeat("x", 65) + `"}`, model, invalid(must("...", "queryId", "have length less than or equal to 64"))},

		{"201 tags", "CreateDatabase", `{"DatabaseName":"abc","Tags":` + manyTags(201) + `}`, model, invalid(must("...", "tags", "have length less than or equal to 200"))},
		{"tags", "CreateTable", `{` + names + `,"Tags":[{},{"Key":"","Value":""},{"Key":"` + strings.Repeat("k", 129) + `","Value":"` + strings.Repeat("v", 257) + `"}]}`, model, invalid(
			isNull("tags.1.member.key"), isNull("tags.1.member.value"), must("", "tags.2.member.key", "have length greater than or equal to 1"),
			must("...", "tags.3.member.key", "have length less than or equal to 128"), must("...", "tags.3.member.value", "have length less than or equal to 256"))},
		{"an empty ARN", "TagResource", `{"ResourceARN":"","Tags":[]}`, model, invalid(must("", "resourceARN", "have length greater than or equal to 1"))},
		{"an ARN of 2049", "UntagResource", `{"ResourceARN":"` + long + `","TagKeys":[""]}`, model, invalid(must("...", "resourceARN", "have length less than or equal to 2048"), must("", "tagKeys.1.member", "have length greater than or equal to 1"))},
		{"pages of 201 tags", "ListTagsForResource", `{"ResourceARN":"x","MaxResults":201}`, model, invalid(must("201", "maxResults", "have value less than or equal to 200"))},

		{"a model of pricing", "UpdateAccountSettings", `{"QueryPricingModel":"X","QueryCompute":{"ComputeMode":"Y","ProvisionedCapacity":{"NotificationConfiguration":{}}}}`, model, invalid(
			must("X", "queryPricingModel", "satisfy enum value set: [BYTES_SCANNED, COMPUTE_UNITS]"), must("Y", "queryCompute.computeMode", "satisfy enum value set: [ON_DEMAND, PROVISIONED]"),
			isNull("queryCompute.provisionedCapacity.targetQueryTCU"), isNull("queryCompute.provisionedCapacity.notificationConfiguration.roleArn"))},
	})
}

// TestConformanceControlPlane goes through the lives of databases and tables.
func TestConformanceControlPlane(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 250e6, time.UTC)
	srv := serve(t, func(c *local.Config) {
		c.Region, c.AccountID, c.DefaultDatabase, c.DefaultTable = "eu-west-1", "123456789012", "", ""
		c.Now = func() time.Time { return now }
	}, wire.Options{})
	const service = serviceSpace + "ValidationException"
	const missing = serviceSpace + "ResourceNotFoundException"
	const conflict = serviceSpace + "ConflictException"
	const exists = "Timestream was unable to process this request because it contains resource that already exists."
	created := `"CreationTime":1795262400.250`
	converse(t, srv.URL, []exchange{
		{"an account without databases", "ListDatabases", `{}`, "", `{"Databases":[],"NextToken":null}`},
		{"create a database", "CreateDatabase", `{"DatabaseName":"my.db-1_X","KmsKeyId":"alias/mine"}`, "",
			`{"Database":{"Arn":"arn:aws:timestream:eu-west-1:123456789012:database/my.db-1_X","DatabaseName":"my.db-1_X","KmsKeyId":"alias/mine","TableCount":0,"LastUpdatedTime":1795262400.250,` + created + `}}`},
		{"create it again", "CreateDatabase", `{"DatabaseName":"my.db-1_X"}`, conflict, exists},
		{"names have case", "CreateDatabase", `{"DatabaseName":"my.db-1_x"}`, "", `{"Database":{"KmsKeyId":"arn:aws:kms:eu-west-1:123456789012:key/timestream-local"}}`},
		{"delete the other", "DeleteDatabase", `{"DatabaseName":"my.db-1_x"}`, "", `{}`},
		{"delete it again", "DeleteDatabase", `{"DatabaseName":"my.db-1_x"}`, missing, "The database my.db-1_x does not exist."},
		{"change the key", "UpdateDatabase", `{"DatabaseName":"my.db-1_X","KmsKeyId":"alias/other"}`, "", `{"Database":{"KmsKeyId":"alias/other"}}`},
		{"change the key of none", "UpdateDatabase", `{"DatabaseName":"nosuch","KmsKeyId":"k"}`, missing, "The database nosuch does not exist."},
		{"describe", "DescribeDatabase", `{"DatabaseName":"my.db-1_X"}`, "", `{"Database":{"KmsKeyId":"alias/other","TableCount":0}}`},
		{"describe none", "DescribeDatabase", `{"DatabaseName":"nosuch"}`, missing, "The database nosuch does not exist."},
		{"a table in no database", "CreateTable", `{"DatabaseName":"nosuch","TableName":"tab"}`, missing, "The database nosuch does not exist."},
		{"tables of no database", "ListTables", `{"DatabaseName":"nosuch"}`, missing, "The database nosuch does not exist."},
		{"create a table", "CreateTable", `{"DatabaseName":"my.db-1_X","TableName":"tab"}`, "", `{"Table":{"Arn":"arn:aws:timestream:eu-west-1:123456789012:database/my.db-1_X/table/tab",
			"DatabaseName":"my.db-1_X","TableName":"tab","TableStatus":"ACTIVE","LastUpdatedTime":1795262400.250,` + created + `,
			"RetentionProperties":{"MemoryStoreRetentionPeriodInHours":6,"MagneticStoreRetentionPeriodInDays":73000},
			"MagneticStoreWriteProperties":{"EnableMagneticStoreWrites":false,"MagneticStoreRejectedDataLocation":null},
			"Schema":{"CompositePartitionKey":[{"Type":"MEASURE","Name":null,"EnforcementInRecord":null}]}}}`},
		{"create the table again", "CreateTable", `{"DatabaseName":"my.db-1_X","TableName":"tab"}`, conflict, exists},
		{"tables are counted", "DescribeDatabase", `{"DatabaseName":"my.db-1_X"}`, "", `{"Database":{"TableCount":1}}`},
		{"a database with tables stays", "DeleteDatabase", `{"DatabaseName":"my.db-1_X"}`, service, "The database my.db-1_X still has 1 tables. All tables must be deleted before the database."},
		{"only the retention", "UpdateTable", `{"DatabaseName":"my.db-1_X","TableName":"tab","RetentionProperties":{"MemoryStoreRetentionPeriodInHours":8766,"MagneticStoreRetentionPeriodInDays":1}}`, "",
			`{"Table":{"RetentionProperties":{"MemoryStoreRetentionPeriodInHours":8766,"MagneticStoreRetentionPeriodInDays":1},"MagneticStoreWriteProperties":{"EnableMagneticStoreWrites":false}}}`},
		{"only the magnetic writes", "UpdateTable", `{"DatabaseName":"my.db-1_X","TableName":"tab","MagneticStoreWriteProperties":{"EnableMagneticStoreWrites":true,"MagneticStoreRejectedDataLocation":{"S3Configuration":{"BucketName":"abc","ObjectKeyPrefix":"p","EncryptionOption":"SSE_S3"}}}}`, "",
			`{"Table":{"RetentionProperties":{"MemoryStoreRetentionPeriodInHours":8766},"MagneticStoreWriteProperties":{"EnableMagneticStoreWrites":true,"MagneticStoreRejectedDataLocation":{"S3Configuration":{"BucketName":"abc","ObjectKeyPrefix":"p","EncryptionOption":"SSE_S3","KmsKeyId":null}}}}}`},
		{"nothing changes nothing", "UpdateTable", `{"DatabaseName":"my.db-1_X","TableName":"tab"}`, "", `{"Table":{"RetentionProperties":{"MagneticStoreRetentionPeriodInDays":1},"MagneticStoreWriteProperties":{"EnableMagneticStoreWrites":true}}}`},
		{"update no table", "UpdateTable", `{"DatabaseName":"my.db-1_X","TableName":"nosuch"}`, missing, "The table nosuch does not exist."},
		{"update in no database", "UpdateTable", `{"DatabaseName":"nosuch","TableName":"tab"}`, missing, "The database nosuch does not exist."},
		{"describe no table", "DescribeTable", `{"DatabaseName":"my.db-1_X","TableName":"Tab"}`, missing, "The table Tab does not exist."},
		{"list tables", "ListTables", `{"DatabaseName":"my.db-1_X"}`, "", `{"Tables":[{"TableName":"tab","TableStatus":"ACTIVE"}],"NextToken":null}`},
		{"a token of nowhere", "ListTables", `{"NextToken":"*"}`, service, "Invalid pagination token"},
		{"delete the table", "DeleteTable", `{"DatabaseName":"my.db-1_X","TableName":"tab"}`, "", `{}`},
		{"delete the table again", "DeleteTable", `{"DatabaseName":"my.db-1_X","TableName":"tab"}`, missing, "The table tab does not exist."},
		{"delete the database", "DeleteDatabase", `{"DatabaseName":"my.db-1_X"}`, "", `{}`},
	})
}

// TestConformancePartitionKeys: one key, of a dimension or of the measure name, whose enforcement alone may change.
func TestConformancePartitionKeys(t *testing.T) {
	srv := serve(t, nil, wire.Options{})
	const service = serviceSpace + "ValidationException"
	create := func(name, keys string) string {
		return fmt.Sprintf(`{"DatabaseName":%q,"TableName":%q,"Schema":{"CompositePartitionKey":%s}}`, database, name, keys)
	}
	record := func(dimension string) string {
		return fmt.Sprintf(`{"DatabaseName":%q,"TableName":"dim","Records":[{"Dimensions":[{"Name":%q,"Value":"a"}],"MeasureName":"m","MeasureValue":"1","Time":"%d"}]}`, database, dimension, time.Now().UnixMilli())
	}
	const fixed = "The name and type of a partition key cannot be changed after the table was created."
	converse(t, srv.URL, []exchange{
		{"two keys", "CreateTable", create("two", `[{"Type":"MEASURE"},{"Type":"DIMENSION","Name":"h"}]`), service, "You have specified too many partition keys to be used in your composite partition key. Only 1 partition keys can be specified."},
		{"a name for the measure", "CreateTable", create("bad", `[{"Type":"MEASURE","Name":"h"}]`), service, "A partition key of type MEASURE must not have a name or an enforcement level."},
		{"an enforcement for the measure", "CreateTable", create("bad", `[{"Type":"MEASURE","EnforcementInRecord":"OPTIONAL"}]`), service, "A partition key of type MEASURE must not have a name or an enforcement level."},
		{"a dimension without a name", "CreateTable", create("bad", `[{"Type":"DIMENSION"}]`), service, "A partition key of type DIMENSION must have the name of a dimension."},
		{"a reserved name", "CreateTable", create("bad", `[{"Type":"DIMENSION","Name":"time"}]`), service, "A partition key of type DIMENSION must have the name of a dimension."},
		{"the measure", "CreateTable", create("mea", `[{"Type":"MEASURE"}]`), "", `{"Table":{"Schema":{"CompositePartitionKey":[{"Type":"MEASURE"}]}}}`},
		{"a dimension", "CreateTable", create("dim", `[{"Type":"DIMENSION","Name":"h"}]`), "", `{"Table":{"Schema":{"CompositePartitionKey":[{"Type":"DIMENSION","Name":"h","EnforcementInRecord":"OPTIONAL"}]}}}`},
		{"optional", "WriteRecords", record("other"), "", `{"RecordsIngested":{"Total":1,"MemoryStore":1,"MagneticStore":0}}`},
		{"make it required", "UpdateTable", create("dim", `[{"Type":"DIMENSION","Name":"h","EnforcementInRecord":"REQUIRED"}]`), "", `{"Table":{"Schema":{"CompositePartitionKey":[{"Type":"DIMENSION","Name":"h","EnforcementInRecord":"REQUIRED"}]}}}`},
		{"an update that does not say", "UpdateTable", create("dim", `[{"Type":"DIMENSION","Name":"h"}]`), "", `{"Table":{"Schema":{"CompositePartitionKey":[{"EnforcementInRecord":"REQUIRED"}]}}}`},
		{"required and absent", "WriteRecords", record("other"), service, "The record lacks the dimension 'h', which the table's partition key requires."},
		{"required and there", "WriteRecords", record("h"), "", `{"RecordsIngested":{"Total":1}}`},
		{"another name", "UpdateTable", create("dim", `[{"Type":"DIMENSION","Name":"i"}]`), service, fixed},
		{"another type", "UpdateTable", create("dim", `[{"Type":"MEASURE"}]`), service, fixed},
		{"another type of the default", "UpdateTable", create(table, `[{"Type":"DIMENSION","Name":"h"}]`), service, fixed},
		{"make it optional", "UpdateTable", create("dim", `[{"Type":"DIMENSION","Name":"h","EnforcementInRecord":"OPTIONAL"}]`), "", `{"Table":{"Schema":{"CompositePartitionKey":[{"EnforcementInRecord":"OPTIONAL"}]}}}`},
		{"optional again", "WriteRecords", record("third"), "", `{"RecordsIngested":{"Total":1}}`},
	})
}

func TestConformanceAccountSettings(t *testing.T) {
	srv := serve(t, nil, wire.Options{})
	const service = serviceSpace + "ValidationException"
	tcu := func(n int) string {
		return fmt.Sprintf("MaxQueryTCU is %d: it must be a multiple of 4 from 4 to 1000.", n)
	}
	const initial = `{"MaxQueryTCU":200,"QueryPricingModel":"COMPUTE_UNITS","QueryCompute":{"ComputeMode":"ON_DEMAND","ProvisionedCapacity":null}}`
	converse(t, srv.URL, []exchange{
		{"defaults", "DescribeAccountSettings", `{}`, "", initial},
		{"nothing changes nothing", "UpdateAccountSettings", `{}`, "", initial},
		{"0", "UpdateAccountSettings", `{"MaxQueryTCU":0}`, service, tcu(0)},
		{"3", "UpdateAccountSettings", `{"MaxQueryTCU":3}`, service, tcu(3)},
		{"6", "UpdateAccountSettings", `{"MaxQueryTCU":6}`, service, tcu(6)},
		{"1004", "UpdateAccountSettings", `{"MaxQueryTCU":1004}`, service, tcu(1004)},
		{"4", "UpdateAccountSettings", `{"MaxQueryTCU":4}`, "", `{"MaxQueryTCU":4}`},
		{"1000", "UpdateAccountSettings", `{"MaxQueryTCU":1000,"QueryPricingModel":"COMPUTE_UNITS"}`, "", `{"MaxQueryTCU":1000,"QueryPricingModel":"COMPUTE_UNITS"}`},
		{"no way back", "UpdateAccountSettings", `{"QueryPricingModel":"BYTES_SCANNED"}`, service, "The pricing model can only be changed to COMPUTE_UNITS."},
		{"provisioned elsewhere", "UpdateAccountSettings", `{"QueryCompute":{"ComputeMode":"PROVISIONED","ProvisionedCapacity":{"TargetQueryTCU":4}}}`, service, "The compute mode PROVISIONED is not available in the region us-east-1."},
		{"capacity on demand", "UpdateAccountSettings", `{"QueryCompute":{"ComputeMode":"ON_DEMAND","ProvisionedCapacity":{"TargetQueryTCU":4}}}`, service, "ProvisionedCapacity needs the compute mode PROVISIONED."},
		{"what was set", "DescribeAccountSettings", `{}`, "", `{"MaxQueryTCU":1000}`},
	})
	srv = serve(t, func(c *local.Config) { c.Region = "ap-south-1" }, wire.Options{})
	const provisioned = `{"QueryCompute":{"ComputeMode":"PROVISIONED","ProvisionedCapacity":{"ActiveQueryTCU":8,"LastUpdate":{"Status":"SUCCEEDED","TargetQueryTCU":8},"NotificationConfiguration":{"RoleArn":"r","SnsConfiguration":{"TopicArn":"t"}}}}}`
	converse(t, srv.URL, []exchange{
		{"provisioned without capacity", "UpdateAccountSettings", `{"QueryCompute":{"ComputeMode":"PROVISIONED"}}`, service, "The compute mode PROVISIONED needs ProvisionedCapacity."},
		{"provisioned", "UpdateAccountSettings", `{"QueryCompute":{"ComputeMode":"PROVISIONED","ProvisionedCapacity":{"TargetQueryTCU":8,"NotificationConfiguration":{"RoleArn":"r","SnsConfiguration":{"TopicArn":"t"}}}}}`, "", provisioned},
		{"describe provisioned", "DescribeAccountSettings", `{}`, "", provisioned},
		{"on demand again", "UpdateAccountSettings", `{"QueryCompute":{"ComputeMode":"ON_DEMAND"}}`, "", `{"QueryCompute":{"ComputeMode":"ON_DEMAND","ProvisionedCapacity":null}}`},
	})
}

func TestConformanceTags(t *testing.T) {
	srv := serve(t, nil, wire.Options{})
	const service = serviceSpace + "ValidationException"
	const missing = serviceSpace + "ResourceNotFoundException"
	const base = "arn:aws:timestream:us-east-1:000000000000:database/"
	list := func(arn string) string { return `{"ResourceARN":"` + arn + `"}` }
	gone := func(arn string) string { return "The resource " + arn + " does not exist." }
	malformed := func(arn string) string {
		return "The ARN '" + arn + "' is not that of a database, a table or a scheduled query."
	}
	converse(t, srv.URL, []exchange{
		{"a database with tags", "CreateDatabase", `{"DatabaseName":"tagged","Tags":[{"Key":"b","Value":"2"},{"Key":"a","Value":""}]}`, "", `{}`},
		{"its tags", "ListTagsForResource", list(base + "tagged"), "", `{"Tags":[{"Key":"a","Value":""},{"Key":"b","Value":"2"}],"NextToken":null}`},
		{"a table with tags", "CreateTable", `{"DatabaseName":"tagged","TableName":"tab","Tags":[{"Key":"team","Value":"x y"}]}`, "", `{}`},
		{"the table's tags", "ListTagsForResource", list(base + "tagged/table/tab"), "", `{"Tags":[{"Key":"team","Value":"x y"}]}`},
		{"a table without tags", "ListTagsForResource", list(base + database + "/table/" + table), "", `{"Tags":[]}`},
		{"more, and another value", "TagResource", `{"ResourceARN":"` + base + `tagged","Tags":[{"Key":"b","Value":"it's 3"},{"Key":"c","Value":"<4>"}]}`, "", `{}`},
		{"all of them", "ListTagsForResource", list(base + "tagged"), "", `{"Tags":[{"Key":"a","Value":""},{"Key":"b","Value":"it's 3"},{"Key":"c","Value":"<4>"}]}`},
		{"less", "UntagResource", `{"ResourceARN":"` + base + `tagged","TagKeys":["a","c","nosuch"]}`, "", `{}`},
		{"none is none", "UntagResource", `{"ResourceARN":"` + base + `tagged","TagKeys":[]}`, "", `{}`},
		{"none more", "TagResource", `{"ResourceARN":"` + base + `tagged","Tags":[]}`, "", `{}`},
		{"what is left", "ListTagsForResource", list(base + "tagged"), "", `{"Tags":[{"Key":"b","Value":"it's 3"}]}`},
		{"beyond 200", "TagResource", `{"ResourceARN":"` + base + `tagged","Tags":` + manyTags(200) + `}`, serviceSpace + "ServiceQuotaExceededException", "A resource can have at most 200 tags."},
		{"200", "TagResource", `{"ResourceARN":"` + base + `tagged","Tags":` + manyTags(199) + `}`, "", `{}`},
		{"no database", "ListTagsForResource", list(base + "nosuch"), missing, gone(base + "nosuch")},
		{"no table", "TagResource", `{"ResourceARN":"` + base + `tagged/table/nosuch","Tags":[]}`, missing, gone(base + "tagged/table/nosuch")},
		{"another region", "ListTagsForResource", list("arn:aws:timestream:eu-west-1:000000000000:database/tagged"), missing, gone("arn:aws:timestream:eu-west-1:000000000000:database/tagged")},
		{"another account", "UntagResource", `{"ResourceARN":"arn:aws:timestream:us-east-1:1:database/tagged","TagKeys":["b"]}`, missing, gone("arn:aws:timestream:us-east-1:1:database/tagged")},
		{"a scheduled query", "ListTagsForResource", list("arn:aws:timestream:us-east-1:000000000000:scheduled-query/x"), missing, gone("arn:aws:timestream:us-east-1:000000000000:scheduled-query/x")},
		{"no ARN", "ListTagsForResource", list("tagged"), service, malformed("tagged")},
		{"half an ARN", "ListTagsForResource", list(base + "tagged/table"), service, malformed(base + "tagged/table")},
		{"a bad token", "ListTagsForResource", `{"ResourceARN":"` + base + `tagged","NextToken":"*"}`, service, "Invalid pagination token"},
		{"tags go with the table", "DeleteTable", `{"DatabaseName":"tagged","TableName":"tab"}`, "", `{}`},
		{"the table anew", "CreateTable", `{"DatabaseName":"tagged","TableName":"tab"}`, "", `{}`},
		{"has none", "ListTagsForResource", list(base + "tagged/table/tab"), "", `{"Tags":[]}`},
	})
	// Pages, which the Query API alone has.
	var keys []string
	token := ""
	for {
		_, _, body := post(t, srv.URL, prefix+"ListTagsForResource", `{"ResourceARN":"`+base+`tagged","MaxResults":150`+token+`}`)
		for _, tag := range body["Tags"].([]any) {
			keys = append(keys, tag.(map[string]any)["Key"].(string))
		}
		next, more := body["NextToken"]
		if !more {
			break
		}
		token = fmt.Sprintf(`,"NextToken":%q`, next)
	}
	if len(keys) != 200 || keys[0] != "b" || keys[199] != "k198" {
		t.Errorf("got %d tags: %v", len(keys), keys)
	}
}
