// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/wire"
	"github.com/tributary-project/tributary/timestream/timestreamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	database = "PrometheusDatabase"
	table    = "PrometheusMetricsTable"
)

// serve serves a fresh database over HTTP.
func serve(t testing.TB, change func(*local.Config), o wire.Options) *httptest.Server {
	t.Helper()
	cfg := local.DefaultConfig()
	cfg.Dir = t.TempDir()
	if change != nil {
		change(&cfg)
	}
	db, err := local.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(wire.New(db, o))
	t.Cleanup(func() {
		srv.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv
}

func awsConfig(t testing.TB, url string) aws.Config {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return aws.Config{
		Region: "us-east-1", BaseEndpoint: &url, HTTPClient: &http.Client{Transport: transport},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "any", SecretAccessKey: "any"}, nil
		}),
		Retryer: func() aws.Retryer { return aws.NopRetryer{} },
	}
}

func record(measure, value string, dims ...string) wtypes.Record {
	r := wtypes.Record{MeasureName: &measure, MeasureValue: &value, Time: aws.String(strconv.FormatInt(time.Now().UnixMilli(), 10))}
	for i := 0; i < len(dims); i += 2 {
		r.Dimensions = append(r.Dimensions, wtypes.Dimension{Name: &dims[i], Value: &dims[i+1]})
	}
	return r
}

func TestAcceptance(t *testing.T) {
	srv := serve(t, nil, wire.Options{})
	n := 0
	timestreamtest.Run(t, func(t *testing.T) timestreamtest.Backend {
		n++
		cfg := awsConfig(t, srv.URL)
		return timestreamtest.Backend{
			Write: timestreamwrite.NewFromConfig(cfg), Query: timestreamquery.NewFromConfig(cfg),
			Database: fmt.Sprintf("acceptance-%d", n),
		}
	}, nil)
}

// TestDiscovery drives the SDK's clients in each mode of endpoint discovery.
func TestDiscovery(t *testing.T) {
	srv := serve(t, nil, wire.Options{})
	for name, mode := range map[string]aws.EndpointDiscoveryEnableState{
		"auto": aws.EndpointDiscoveryAuto, "enabled": aws.EndpointDiscoveryEnabled, "disabled": aws.EndpointDiscoveryDisabled,
	} {
		t.Run(name, func(t *testing.T) {
			cfg := awsConfig(t, srv.URL)
			w := timestreamwrite.NewFromConfig(cfg, func(o *timestreamwrite.Options) { o.EndpointDiscovery.EnableEndpointDiscovery = mode })
			q := timestreamquery.NewFromConfig(cfg, func(o *timestreamquery.Options) { o.EndpointDiscovery.EnableEndpointDiscovery = mode })
			out, err := w.WriteRecords(t.Context(), &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String(database), TableName: aws.String(table),
				Records: []wtypes.Record{record("up", "1", "mode", name)}})
			if err != nil {
				t.Fatal(err)
			}
			if out.RecordsIngested.Total != 1 || out.RecordsIngested.MemoryStore != 1 {
				t.Errorf("got %+v", out.RecordsIngested)
			}
			res, err := q.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String(fmt.Sprintf("SELECT count() FROM %s.%s WHERE mode = '%s'", database, table, name))})
			if err != nil {
				t.Fatal(err)
			}
			if got := *res.Rows[0].Data[0].ScalarValue; got != "1" {
				t.Errorf("got %s", got)
			}
		})
	}
	cfg := awsConfig(t, srv.URL)
	ends, err := timestreamwrite.NewFromConfig(cfg).DescribeEndpoints(t.Context(), &timestreamwrite.DescribeEndpointsInput{})
	if err != nil {
		t.Fatal(err)
	}
	if e := ends.Endpoints[0]; *e.Address != srv.URL || e.CachePeriodInMinutes != 1440 {
		t.Errorf("got %s, %d", *e.Address, e.CachePeriodInMinutes)
	}
	// HTTP/1.0 has requests that name no host.
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "POST / HTTP/1.0\r\nX-Amz-Target: "+prefix+"DescribeEndpoints\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
		t.Fatal(err)
	}
	if old, err := io.ReadAll(conn); err != nil || !strings.Contains(string(old), `"Address":"`+srv.URL+`"`) {
		t.Errorf("got %s, %v", old, err)
	}
	// The SDK for JavaScript takes the address for a host.
	_, _, body := post(t, srv.URL, prefix+"DescribeEndpoints", "{}", "User-Agent", "aws-sdk-js/3.1138.0 ua/2.1")
	if got := fmt.Sprint(body["Endpoints"]); got != "[map[Address:127.0.0.1 CachePeriodInMinutes:1440]]" {
		t.Errorf("got %s", got)
	}
}

// TestControlPlaneBySDK round-trips every operation's shapes.
func TestControlPlaneBySDK(t *testing.T) {
	srv := serve(t, nil, wire.Options{})
	ctx, c := t.Context(), timestreamwrite.NewFromConfig(awsConfig(t, srv.URL))
	created, err := c.CreateDatabase(ctx, &timestreamwrite.CreateDatabaseInput{DatabaseName: aws.String("db1"), KmsKeyId: aws.String("key")})
	if err != nil {
		t.Fatal(err)
	}
	if d := created.Database; *d.DatabaseName != "db1" || *d.KmsKeyId != "key" || *d.Arn != "arn:aws:timestream:us-east-1:000000000000:database/db1" || time.Since(*d.CreationTime) > time.Minute {
		t.Errorf("got %+v", d)
	}
	if _, err := c.UpdateDatabase(ctx, &timestreamwrite.UpdateDatabaseInput{DatabaseName: aws.String("db1"), KmsKeyId: aws.String("other")}); err != nil {
		t.Error(err)
	}
	if _, err := c.CreateTable(ctx, &timestreamwrite.CreateTableInput{DatabaseName: aws.String("db1"), TableName: aws.String("t-1"),
		RetentionProperties: &wtypes.RetentionProperties{MemoryStoreRetentionPeriodInHours: aws.Int64(3), MagneticStoreRetentionPeriodInDays: aws.Int64(4)},
		MagneticStoreWriteProperties: &wtypes.MagneticStoreWriteProperties{EnableMagneticStoreWrites: aws.Bool(true), MagneticStoreRejectedDataLocation: &wtypes.MagneticStoreRejectedDataLocation{
			S3Configuration: &wtypes.S3Configuration{BucketName: aws.String("bucket"), ObjectKeyPrefix: aws.String("p/"), EncryptionOption: wtypes.S3EncryptionOptionSseKms, KmsKeyId: aws.String("k")}}},
		Schema: &wtypes.Schema{CompositePartitionKey: []wtypes.PartitionKey{{Type: wtypes.PartitionKeyTypeDimension, Name: aws.String("host"), EnforcementInRecord: wtypes.PartitionKeyEnforcementLevelRequired}}},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UpdateTable(ctx, &timestreamwrite.UpdateTableInput{DatabaseName: aws.String("db1"), TableName: aws.String("t-1"),
		RetentionProperties: &wtypes.RetentionProperties{MemoryStoreRetentionPeriodInHours: aws.Int64(5), MagneticStoreRetentionPeriodInDays: aws.Int64(6)}}); err != nil {
		t.Error(err)
	}
	out, err := c.DescribeTable(ctx, &timestreamwrite.DescribeTableInput{DatabaseName: aws.String("db1"), TableName: aws.String("t-1")})
	if err != nil {
		t.Fatal(err)
	}
	tab := out.Table
	if s3 := tab.MagneticStoreWriteProperties.MagneticStoreRejectedDataLocation.S3Configuration; *s3.BucketName != "bucket" || *s3.KmsKeyId != "k" || s3.EncryptionOption != "SSE_KMS" {
		t.Errorf("got %+v", s3)
	}
	if k := tab.Schema.CompositePartitionKey[0]; *k.Name != "host" || k.EnforcementInRecord != "REQUIRED" {
		t.Errorf("got %+v", k)
	}
	if r := tab.RetentionProperties; *r.MemoryStoreRetentionPeriodInHours != 5 || *r.MagneticStoreRetentionPeriodInDays != 6 {
		t.Errorf("got %+v", r)
	}
	tables, err := c.ListTables(ctx, &timestreamwrite.ListTablesInput{})
	if err != nil || len(tables.Tables) != 2 {
		t.Errorf("got %+v, %v", tables, err)
	}
	dbs, err := c.ListDatabases(ctx, &timestreamwrite.ListDatabasesInput{MaxResults: aws.Int32(1)})
	if err != nil || len(dbs.Databases) != 1 || dbs.NextToken == nil {
		t.Errorf("got %+v, %v", dbs, err)
	}
	if _, err := c.DeleteTable(ctx, &timestreamwrite.DeleteTableInput{DatabaseName: aws.String("db1"), TableName: aws.String("t-1")}); err != nil {
		t.Error(err)
	}
	if _, err := c.DeleteDatabase(ctx, &timestreamwrite.DeleteDatabaseInput{DatabaseName: aws.String("db1")}); err != nil {
		t.Error(err)
	}
	_, err = c.DescribeDatabase(ctx, &timestreamwrite.DescribeDatabaseInput{DatabaseName: aws.String("db1")})
	var missing *wtypes.ResourceNotFoundException
	if !errors.As(err, &missing) {
		t.Errorf("got %v", err)
	}
}

// post sends a raw request.
func post(t testing.TB, url, target, body string, header ...string) (int, http.Header, map[string]any) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", target)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
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
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return res.StatusCode, res.Header, out
}

const prefix = "Timestream_20181101."

// lines keeps what is logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// take returns what was written since the last time.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

func TestErrorBodies(t *testing.T) {
	var log lines
	srv := serve(t, func(c *local.Config) { c.AllowActions = []string{"WriteRecords", "Select", "DescribeEndpoints"} },
		wire.Options{MaxBodyBytes: 1000, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	names := fmt.Sprintf(`"DatabaseName":%q,"TableName":%q,`, database, table)
	rec := func(value string) string {
		return fmt.Sprintf(`{%s"Records":[{"Dimensions":[{"Name":"h","Value":"a"}],"MeasureName":"up","MeasureValue":%q,"TimeUnit":"SECONDS","Time":"1600000000"}]}`, names, value)
	}
	if status, _, body := post(t, srv.URL, prefix+"WriteRecords", rec("1")); status != 200 {
		t.Fatal(status, body)
	}
	now := strconv.FormatInt(time.Now().UnixMilli(), 10)
	fresh := strings.Replace(strings.Replace(rec("1"), `"SECONDS"`, `"MILLISECONDS"`, 1), "1600000000", now, 1)
	if status, _, body := post(t, srv.URL, prefix+"WriteRecords", fresh); status != 200 {
		t.Fatal(status, body)
	}
	tests := []struct {
		name, target, body string
		header             []string
		status             int
		typ, message       string
	}{
		{"unknown operation", prefix + "NoSuch", "{}", nil, 400, "com.amazon.coral.service#UnknownOperationException", "unknown"},
		{"no target", "", "{}", nil, 400, "com.amazon.coral.service#UnknownOperationException", "X-Amz-Target"},
		{"not JSON", prefix + "WriteRecords", "{", nil, 400, "com.amazon.coral.service#SerializationException", "malformed"},
		{"not JSON", prefix + "Query", "{", nil, 400, "com.amazon.coral.service#SerializationException", ""},
		{"wrong type", prefix + "Query", `{"QueryString":7}`, nil, 400, "com.amazon.coral.service#SerializationException", ""},
		{"too large", prefix + "WriteRecords", strings.Repeat(" ", 1001), nil, 413, "com.amazon.coral.service#RequestEntityTooLargeException", "too large"},
		{"too large when unpacked", prefix + "WriteRecords", gzipped(strings.Repeat(" ", 1001)), []string{"Content-Encoding", "gzip"}, 413, "com.amazon.coral.service#RequestEntityTooLargeException", "too large"},
		{"unknown encoding", prefix + "WriteRecords", "{}", []string{"Content-Encoding", "br"}, 400, "com.amazon.coral.service#SerializationException", "br"},
		{"bad gzip", prefix + "WriteRecords", "{}", []string{"Content-Encoding", "gzip"}, 400, "com.amazon.coral.service#SerializationException", "cannot be read"},
		{"model", prefix + "WriteRecords", "{" + names + `"Records":[]}`, nil, 400, "com.amazon.coral.validate#ValidationException", "1 validation error detected"},
		{"validation", prefix + "WriteRecords", rec("NaN"), nil, 400, "com.amazonaws.timestream.v20181101#ValidationException", "Invalid value NaN for double measure value type."},
		{"rejected", prefix + "WriteRecords", strings.Replace(fresh, `"MeasureValue":"1"`, `"MeasureValue":"2"`, 1), nil, 419, "com.amazonaws.timestream.v20181101#RejectedRecordsException", "One or more records have been rejected. See RejectedRecords for details."},
		{"no table", prefix + "WriteRecords", strings.Replace(rec("1"), table, "nosuch", 1), nil, 404, "com.amazonaws.timestream.v20181101#ResourceNotFoundException", "nosuch"},
		{"denied operation", prefix + "ListDatabases", "{}", nil, 403, "com.amazonaws.timestream.v20181101#AccessDeniedException", "timestream:ListDatabases"},
		{"denied statement", prefix + "Query", `{"QueryString":"SHOW DATABASES"}`, nil, 403, "com.amazonaws.timestream.v20181101#AccessDeniedException", "timestream:ListDatabases"},
		{"syntax", prefix + "Query", `{"QueryString":"SELECT FROM"}`, nil, 400, "com.amazonaws.timestream.v20181101#ValidationException", "The query syntax is invalid at line 1:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, header, body := post(t, srv.URL, tt.target, tt.body, tt.header...)
			if status != tt.status || body["__type"] != tt.typ || !strings.Contains(fmt.Sprint(body["message"]), tt.message) {
				t.Errorf("got %d %v", status, body)
			}
			line := log.take()
			if !strings.Contains(line, "level=DEBUG") || !strings.Contains(line, "type="+tt.typ) || !strings.Contains(line, header.Get("x-amzn-RequestId")) ||
				strings.Contains(line, `rejected=1 first_reason="A record already exists`) != (tt.status == 419) {
				t.Errorf("the log has %q", line)
			}
			if id := header.Get("x-amzn-RequestId"); !regexp.MustCompile(`^[A-Z2-7]{26}$`).MatchString(id) {
				t.Errorf("request id %q", id)
			}
			if tt.status == 419 {
				list, _ := body["RejectedRecords"].([]any)
				if len(list) != 1 || list[0].(map[string]any)["RecordIndex"] != 0.0 {
					t.Errorf("got %v", body)
				}
			}
		})
	}
	if status, _, body := post(t, srv.URL, prefix+"WriteRecords", gzipped(fresh), "Content-Encoding", "gzip"); status != 200 {
		t.Errorf("gzip: got %d %v", status, body)
	}
	// Members that are unknown or null do not matter; a signature may be missing, as it is here.
	if status, _, body := post(t, srv.URL, prefix+"Query", `{"QueryString":"SELECT count(*) FROM `+database+`.`+table+`","MaxRows":null,"X":{"Y":[1,{}]}}`); status != 200 {
		t.Errorf("got %d %v", status, body)
	}
}

// TestSlowBodies lets two bodies trickle where two requests have room: a third is throttled at once, the two are sent away
// after their time, and then there is room again.
func TestSlowBodies(t *testing.T) {
	// A busy machine needs longer for the third one to come while the two still have time.
	for limit := time.Second; !slowBodies(t, limit); limit *= 4 {
		if limit > 30*time.Second {
			t.Fatalf("the third request did not come within %s", limit)
		}
	}
}

// slowBodies returns false when the time of one of the two was over too early.
func slowBodies(t *testing.T, limit time.Duration) bool {
	reg := prometheus.NewRegistry()
	srv := serve(t, nil, wire.Options{MaxInFlight: 2, ReadTimeout: limit, Registerer: reg})
	address := strings.TrimPrefix(srv.URL, "http://")
	answers := make(chan string, 2)
	for range cap(answers) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: %sQuery\r\nContent-Length: 100\r\n\r\n{", prefix)
		go func() {
			b, err := io.ReadAll(conn) // to its end: the connection has to be closed
			answers <- fmt.Sprint(string(b), err)
		}()
	}
	query := `{"QueryString":"SELECT 1"}`
	var status int
	var body map[string]any
	for status != http.StatusTooManyRequests { // until the two have their places
		if len(answers) > 0 {
			return false
		}
		status, _, body = post(t, srv.URL, prefix+"Query", query)
	}
	if body["__type"] != "com.amazonaws.timestream.v20181101#ThrottlingException" || !strings.Contains(fmt.Sprint(body["message"]), "--max-inflight-requests") {
		t.Errorf("got %v", body)
	}
	for range cap(answers) {
		if got := <-answers; !strings.HasPrefix(got, "HTTP/1.1 408") || !strings.Contains(got, "RequestTimeoutException") || !strings.Contains(got, "--read-timeout") || !strings.HasSuffix(got, "<nil>") {
			t.Errorf("got %s", got)
		}
	}
	for status != http.StatusOK {
		if status, _, body = post(t, srv.URL, prefix+"Query", query); status != http.StatusOK && status != http.StatusRequestTimeout {
			t.Fatalf("afterwards: got %d %v", status, body)
		}
	}
	return true
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String()
}

func TestTextsSurvive(t *testing.T) {
	srv := serve(t, nil, wire.Options{})
	cfg := awsConfig(t, srv.URL)
	w, q := timestreamwrite.NewFromConfig(cfg), timestreamquery.NewFromConfig(cfg)
	want := "<&> \"quoted\" \\ / \b\f\n\r\t\u0001 \u2028 äß地 \U0001f600 'x'"
	r := record("s", want, "h", want)
	r.MeasureValueType = wtypes.MeasureValueTypeVarchar
	if _, err := w.WriteRecords(t.Context(), &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String(database), TableName: aws.String(table), Records: []wtypes.Record{r}}); err != nil {
		t.Fatal(err)
	}
	out, err := q.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String(`SELECT h, measure_value::varchar FROM ` + database + `.` + table + ` WHERE h = '` + strings.ReplaceAll(want, "'", "''") + `'`)})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Rows) != 1 || *out.Rows[0].Data[0].ScalarValue != want || *out.Rows[0].Data[1].ScalarValue != want {
		t.Errorf("got %v", out.Rows)
	}
}

func TestPagesAndTypesBySDK(t *testing.T) {
	srv := serve(t, nil, wire.Options{})
	cfg := awsConfig(t, srv.URL)
	w, q := timestreamwrite.NewFromConfig(cfg), timestreamquery.NewFromConfig(cfg)
	var recs []wtypes.Record
	for i := range 50 {
		recs = append(recs, record("up", strconv.Itoa(i), "h", strconv.Itoa(i)))
	}
	if _, err := w.WriteRecords(t.Context(), &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String(database), TableName: aws.String(table), Records: recs}); err != nil {
		t.Fatal(err)
	}
	p := timestreamquery.NewQueryPaginator(q, &timestreamquery.QueryInput{QueryString: aws.String(`SELECT h, CREATE_TIME_SERIES(time, measure_value::double) AS ts FROM ` + database + `.` + table + ` GROUP BY h`), MaxRows: aws.Int32(20)})
	rows, pages := 0, 0
	for p.HasMorePages() {
		out, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pages++
		rows += len(out.Rows)
		c := out.ColumnInfo[1]
		if *c.Name != "ts" || c.Type.TimeSeriesMeasureValueColumnInfo == nil || c.Type.TimeSeriesMeasureValueColumnInfo.Type.ScalarType != qtypes.ScalarTypeDouble {
			t.Errorf("got %+v", c)
		}
		for _, r := range out.Rows {
			if pts := r.Data[1].TimeSeriesValue; len(pts) != 1 || *pts[0].Value.ScalarValue != *r.Data[0].ScalarValue+".0" {
				t.Errorf("got %+v", r)
			}
		}
	}
	if rows != 50 || pages != 4 {
		t.Errorf("got %d rows on %d pages", rows, pages)
	}
	out, err := q.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String("SHOW MEASURES FROM " + database + "." + table)})
	if err != nil {
		t.Fatal(err)
	}
	if c := out.ColumnInfo[2]; c.Type.ArrayColumnInfo == nil || *c.Type.ArrayColumnInfo.Type.RowColumnInfo[0].Name != "dimension_name" {
		t.Errorf("got %+v", c)
	}
	if d := out.Rows[0].Data[2].ArrayValue; len(d) != 1 || *d[0].RowValue.Data[0].ScalarValue != "h" {
		t.Errorf("got %+v", out.Rows[0])
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	srv := serve(t, func(c *local.Config) { c.Registerer = reg }, wire.Options{Registerer: reg})
	if status, _, _ := post(t, srv.URL, prefix+"ListDatabases", "{}"); status != 200 {
		t.Error(status)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range families {
		got[f.GetName()] = true
	}
	for _, want := range []string{"timestream_local_requests_total", "timestream_local_records_total", "timestream_local_write_queue_requests", "timestream_local_query_open_results", "timestream_local_commit_duration_seconds"} {
		if !got[want] {
			t.Errorf("no metric %s", want)
		}
	}
}
