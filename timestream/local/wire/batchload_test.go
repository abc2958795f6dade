// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/faults"
	"github.com/tributary-project/tributary/timestream/local/wire"
)

// loading is a server with buckets "in" and "out", and the database and table b.t.
type loading struct {
	t     *testing.T
	srv   *httptest.Server
	dir   string
	write *timestreamwrite.Client
	query *timestreamquery.Client
}

func newLoading(t *testing.T) *loading {
	t.Helper()
	return newLoadingWith(t, func(*local.Config) {})
}

func newLoadingWith(t *testing.T, change func(*local.Config)) *loading {
	t.Helper()
	l := &loading{t: t, dir: t.TempDir()}
	for _, b := range []string{"csv-in", "csv-out"} {
		if err := os.Mkdir(filepath.Join(l.dir, b), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	l.srv = serve(t, func(c *local.Config) {
		c.S3Dir = l.dir
		change(c)
	}, wire.Options{})
	cfg := awsConfig(t, l.srv.URL)
	l.write, l.query = timestreamwrite.NewFromConfig(cfg), timestreamquery.NewFromConfig(cfg)
	if _, err := l.write.CreateDatabase(t.Context(), &timestreamwrite.CreateDatabaseInput{DatabaseName: aws.String("loads")}); err != nil {
		t.Fatal(err)
	}
	_, err := l.write.CreateTable(t.Context(), &timestreamwrite.CreateTableInput{
		DatabaseName: aws.String("loads"), TableName: aws.String("trips"),
		MagneticStoreWriteProperties: &wtypes.MagneticStoreWriteProperties{EnableMagneticStoreWrites: aws.Bool(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// put writes an object as a user does, with a plain file.
func (l *loading) put(key, content string) {
	l.t.Helper()
	name := filepath.Join(l.dir, "csv-in", key)
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// model is that of the guide's example (batch-load-data-model-mappings).
func model() *wtypes.DataModel {
	return &wtypes.DataModel{
		TimeColumn: aws.String("time"), TimeUnit: wtypes.TimeUnitMilliseconds,
		DimensionMappings: []wtypes.DimensionMapping{{SourceColumn: aws.String("vehicle")}, {SourceColumn: aws.String("registration"), DestinationColumn: aws.String("license")}},
		MultiMeasureMappings: &wtypes.MultiMeasureMappings{
			TargetMultiMeasureName: aws.String("trip"),
			MultiMeasureAttributeMappings: []wtypes.MultiMeasureAttributeMapping{
				{SourceColumn: aws.String("wgt"), TargetMultiMeasureAttributeName: aws.String("weight"), MeasureValueType: wtypes.ScalarMeasureValueTypeDouble},
				{SourceColumn: aws.String("miles"), MeasureValueType: wtypes.ScalarMeasureValueTypeBigint},
				{SourceColumn: aws.String("note"), MeasureValueType: wtypes.ScalarMeasureValueTypeVarchar},
			},
		},
	}
}

func (l *loading) input(prefix string) *timestreamwrite.CreateBatchLoadTaskInput {
	return &timestreamwrite.CreateBatchLoadTaskInput{
		TargetDatabaseName: aws.String("loads"), TargetTableName: aws.String("trips"),
		DataModelConfiguration: &wtypes.DataModelConfiguration{DataModel: model()},
		DataSourceConfiguration: &wtypes.DataSourceConfiguration{
			DataFormat: wtypes.BatchLoadDataFormatCsv, DataSourceS3Configuration: &wtypes.DataSourceS3Configuration{BucketName: aws.String("csv-in"), ObjectKeyPrefix: &prefix},
		},
		ReportConfiguration: &wtypes.ReportConfiguration{ReportS3Configuration: &wtypes.ReportS3Configuration{BucketName: aws.String("csv-out"), ObjectKeyPrefix: aws.String("reports/")}},
	}
}

// load runs a task to its end.
func (l *loading) load(in *timestreamwrite.CreateBatchLoadTaskInput) *wtypes.BatchLoadTaskDescription {
	l.t.Helper()
	out, err := l.write.CreateBatchLoadTask(l.t.Context(), in)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.await(*out.TaskId)
}

func (l *loading) await(id string) *wtypes.BatchLoadTaskDescription {
	l.t.Helper()
	for {
		d, err := l.write.DescribeBatchLoadTask(l.t.Context(), &timestreamwrite.DescribeBatchLoadTaskInput{TaskId: &id})
		if err != nil {
			l.t.Fatal(err)
		}
		switch task := d.BatchLoadTaskDescription; task.TaskStatus {
		case wtypes.BatchLoadStatusCreated, wtypes.BatchLoadStatusInProgress, wtypes.BatchLoadStatusPendingResume:
			select {
			case <-l.t.Context().Done():
				l.t.Fatal(l.t.Context().Err())
			case <-time.After(5 * time.Millisecond):
			}
		default:
			return task
		}
	}
}

// rows are the rows of a statement, as their texts.
func (l *loading) rows(sql string) []string {
	l.t.Helper()
	var out []string
	pages := timestreamquery.NewQueryPaginator(l.query, &timestreamquery.QueryInput{QueryString: &sql})
	for pages.HasMorePages() {
		p, err := pages.NextPage(l.t.Context())
		if err != nil {
			l.t.Fatalf("%s: %v", sql, err)
		}
		for _, r := range p.Rows {
			fields := make([]string, len(r.Data))
			for i, d := range r.Data {
				fields[i] = "NULL"
				if d.ScalarValue != nil {
					fields[i] = *d.ScalarValue
				}
			}
			out = append(out, strings.Join(fields, "|"))
		}
	}
	return out
}

func (l *loading) wantRows(sql string, want ...string) {
	l.t.Helper()
	if got := l.rows(sql); strings.Join(got, "\n") != strings.Join(want, "\n") {
		l.t.Errorf("%s\ngot  %q\nwant %q", sql, got, want)
	}
}

func (l *loading) want(task *wtypes.BatchLoadTaskDescription, status wtypes.BatchLoadStatus, progress wtypes.BatchLoadProgressReport) {
	l.t.Helper()
	got := *task.ProgressReport
	if progress.BytesMetered == 0 {
		progress.BytesMetered = got.BytesMetered
	}
	if task.TaskStatus != status || got != progress {
		l.t.Errorf("got %s %+v (%s)\nwant %s %+v", task.TaskStatus, got, aws.ToString(task.ErrorMessage), status, progress)
	}
}

// report is a task's error report, without its lines' ends.
func (l *loading) report(task *wtypes.BatchLoadTaskDescription) string {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join(l.dir, "csv-out", "reports", *task.TaskId, "error_report.json"))
	if err != nil {
		l.t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		l.t.Fatal(err)
	}
	if v["taskId"] != *task.TaskId {
		l.t.Errorf("got the report of %v", v["taskId"])
	}
	delete(v, "taskId")
	b, _ = json.Marshal(v)
	return string(b)
}

// loadTime is a time in milliseconds that the memory store takes.
func loadTime() int64 { return time.Now().Add(-time.Hour).Truncate(time.Hour).UnixMilli() }

// TestBatchLoad is a user's story: a CSV file of 100,000 rows in a bucket is loaded, and read.
func TestBatchLoad(t *testing.T) {
	l := newLoading(t)
	const rows = 100_000
	start := loadTime()
	var b strings.Builder
	b.WriteString("vehicle,registration,time,wgt,miles,note\n")
	for i := range rows {
		fmt.Fprintf(&b, "car %d,\"R,%d\",%d,%d.5,%d,%s\n", i%100, i%100, start+int64(i), i, i*2, []string{"", `"said ""hi"""`, "plain"}[i%3])
	}
	l.put("trips/2024.csv", b.String())
	task := l.load(l.input("trips/"))
	l.want(task, wtypes.BatchLoadStatusSucceeded, wtypes.BatchLoadProgressReport{RecordsProcessed: rows, RecordsIngested: rows})
	if task.ProgressReport.BytesMetered < rows*20 {
		t.Errorf("metered %d bytes", task.ProgressReport.BytesMetered)
	}
	l.wantRows("SELECT count(*), count(note), sum(weight), sum(miles), count(DISTINCT vehicle), count(DISTINCT license) FROM loads.trips WHERE measure_name = 'trip'",
		fmt.Sprintf("%d|%d|%s|%d|100|100", rows, rows-(rows+2)/3, "5.0E9", int64(rows)*(rows-1)))
	l.wantRows("SELECT license, to_milliseconds(time), weight, miles, note FROM loads.trips WHERE vehicle = 'car 7' ORDER BY time LIMIT 2",
		fmt.Sprintf(`R,7|%d|7.5|14|said "hi"`, start+7), fmt.Sprintf(`R,7|%d|107.5|214|plain`, start+107))
	// What requests leave out is shown as it counts.
	d := task.DataModelConfiguration.DataModel
	if aws.ToString(d.DimensionMappings[0].DestinationColumn) != "vehicle" || aws.ToString(d.MultiMeasureMappings.MultiMeasureAttributeMappings[1].TargetMultiMeasureAttributeName) != "miles" ||
		task.RecordVersion != 1 || task.ErrorMessage != nil || task.ResumableUntil != nil {
		t.Errorf("got %+v", task)
	}
	// Loading a row again changes nothing, nor does another value, but with a new version.
	again := "vehicle,registration,time,wgt,miles,note\n" + fmt.Sprintf("car 7,\"R,7\",%d,", start+7)
	l.put("again/1.csv", again+"7.5,14,\"said \"\"hi\"\"\"")
	l.want(l.load(l.input("again/")), wtypes.BatchLoadStatusSucceeded, wtypes.BatchLoadProgressReport{RecordsProcessed: 1, RecordsIngested: 1})
	l.put("again/1.csv", again+"1,2,changed\n")
	l.want(l.load(l.input("again/")), wtypes.BatchLoadStatusFailed, wtypes.BatchLoadProgressReport{RecordsProcessed: 1, RecordIngestionFailures: 1})
	in := l.input("again/")
	in.RecordVersion = aws.Int64(2)
	l.want(l.load(in), wtypes.BatchLoadStatusSucceeded, wtypes.BatchLoadProgressReport{RecordsProcessed: 1, RecordsIngested: 1})
	l.wantRows("SELECT note FROM loads.trips WHERE vehicle = 'car 7' ORDER BY time LIMIT 1", "changed")

	// What was loaded is exported, and loaded into another table, which then holds the same.
	if _, err := l.write.CreateTable(t.Context(), &timestreamwrite.CreateTableInput{DatabaseName: aws.String("loads"), TableName: aws.String("copy")}); err != nil {
		t.Fatal(err)
	}
	m, _ := l.unload(`UNLOAD (SELECT vehicle, license AS registration, to_milliseconds(time) AS time, weight AS wgt, miles, note FROM loads.trips) TO 's3://csv-out/copy' WITH (compression='NONE', include_header='true', max_file_size='16MB')`)
	if m.Query.Rows != rows {
		t.Errorf("%d rows were exported", m.Query.Rows)
	}
	back := l.input("copy/results/")
	back.TargetTableName = aws.String("copy")
	back.DataSourceConfiguration.DataSourceS3Configuration.BucketName = aws.String("csv-out")
	back.DataSourceConfiguration.CsvConfiguration = &wtypes.CsvConfiguration{EscapeChar: aws.String(`\`)}
	l.want(l.load(back), wtypes.BatchLoadStatusSucceeded, wtypes.BatchLoadProgressReport{RecordsProcessed: rows, RecordsIngested: rows})
	for _, both := range [][2]string{{"trips", "copy"}, {"copy", "trips"}} {
		l.wantRows(fmt.Sprintf("SELECT count(*) FROM (SELECT * FROM loads.%s EXCEPT SELECT * FROM loads.%s)", both[0], both[1]), "0")
	}

	list, err := l.write.ListBatchLoadTasks(t.Context(), &timestreamwrite.ListBatchLoadTasksInput{MaxResults: aws.Int32(3)})
	if err != nil || len(list.BatchLoadTasks) != 3 || list.NextToken == nil || list.BatchLoadTasks[1].TaskStatus != wtypes.BatchLoadStatusSucceeded ||
		list.BatchLoadTasks[2].TaskStatus != wtypes.BatchLoadStatusFailed || *list.BatchLoadTasks[0].TableName != "copy" {
		t.Fatalf("got %+v, %v", list, err)
	}
	list, err = l.write.ListBatchLoadTasks(t.Context(), &timestreamwrite.ListBatchLoadTasksInput{NextToken: list.NextToken})
	if err != nil || len(list.BatchLoadTasks) != 2 || list.NextToken != nil || *list.BatchLoadTasks[1].TaskId != *task.TaskId {
		t.Errorf("got %+v, %v", list, err)
	}
	list, err = l.write.ListBatchLoadTasks(t.Context(), &timestreamwrite.ListBatchLoadTasksInput{TaskStatus: wtypes.BatchLoadStatusFailed})
	if err != nil || len(list.BatchLoadTasks) != 1 {
		t.Errorf("got %+v, %v", list, err)
	}
}

// TestBatchLoadErrors: what is wrong with rows, files and tasks is counted and in the report, and costs nothing else.
func TestBatchLoadErrors(t *testing.T) {
	l := newLoading(t)
	header, now := "vehicle,registration,time,wgt,miles,note\n", loadTime()
	l.put("rows/a.csv", header+
		fmt.Sprintf("car,r,%d,1,2,good\n", now)+ // 2
		"car,r,yesterday,1,2,bad\n"+ // 3
		fmt.Sprintf("car,r,%d,many,2,bad\n", now+1)+ // 4
		fmt.Sprintf("car,r,%d,1,2\n", now+2)+ // 5
		fmt.Sprintf("car,r,%d,1,2,\"bad\"x\n", now+3)+ // 6
		"car,r,1000,1,2,\"years\nago\"\n"+ // 7, 8
		"car,r,2000,1,2,years ago\n"+ // 9
		fmt.Sprintf("car,r,%d,3,4,another value\n", now)+ // 10
		fmt.Sprintf(",,%d,1,2,nobody\n", now+4)+ // 11
		fmt.Sprintf("car,r,%d,,,\n", now+5)+ // 12
		fmt.Sprintf("car,r,%d,5,6,good\n", now+6)) // 13
	l.put("rows/b.csv", "\ufeff"+header)
	l.put("rows/c.csv", strings.Replace(header, "wgt", "weight", 1))
	l.put("rows/d.csv", "")
	if _, err := l.write.UpdateTable(t.Context(), &timestreamwrite.UpdateTableInput{
		DatabaseName: aws.String("loads"), TableName: aws.String("trips"),
		RetentionProperties: &wtypes.RetentionProperties{MemoryStoreRetentionPeriodInHours: aws.Int64(24), MagneticStoreRetentionPeriodInDays: aws.Int64(100)},
	}); err != nil {
		t.Fatal(err)
	}
	task := l.load(l.input("rows/"))
	l.want(task, wtypes.BatchLoadStatusFailed, wtypes.BatchLoadProgressReport{
		RecordsProcessed: 11, RecordsIngested: 2, ParseFailures: 6, RecordIngestionFailures: 3, FileFailures: 3,
	})
	want := `{"fileErrors":[{"errors":[` +
		`{"lineRanges":[[3,3]],"reason":"Column 'time', value 'yesterday': Invalid time for record."},` +
		`{"lineRanges":[[4,4]],"reason":"Column 'wgt': Invalid value many for double measure value type."},` +
		`{"lineRanges":[[5,5]],"reason":"The row has 5 columns, the header has 6."},` +
		`{"lineRanges":[[6,6]],"reason":"There is text behind the closing quote of a field."},` +
		`{"lineRanges":[[7,9]],"reason":"The record timestamp is outside the time range of the data ingestion window."},` +
		`{"lineRanges":[[10,10]],"reason":"A record already exists with the same time, dimensions, measure name, and record version.`
	if got := l.report(task); !strings.HasPrefix(got, want) ||
		!strings.Contains(got, `,{"lineRanges":[[11,11]],"reason":"The row has no dimension."},{"lineRanges":[[12,12]],"reason":"The row has no measure value: all are NULL."}],`) ||
		!strings.Contains(got, `{"errors":[{"reason":"The file begins with a byte order mark: remove it."}],"fileName":"rows/b.csv"}`) ||
		!strings.Contains(got, `{"errors":[{"reason":"MultiMeasureAttributeMappings names the column 'wgt', which does not exist."}],"fileName":"rows/c.csv"}`) ||
		!strings.Contains(got, `"fileName":"rows/d.csv"}],"taskErrors":[]}`) {
		t.Errorf("got %s", got)
	}
	if want := "There are errors. See the error report s3://csv-out/reports/" + *task.TaskId + "/error_report.json."; aws.ToString(task.ErrorMessage) != want {
		t.Errorf("got %q, want %q", aws.ToString(task.ErrorMessage), want)
	}
	l.wantRows("SELECT note FROM loads.trips ORDER BY time", "good", "good")

	task = l.load(l.input("nothing/"))
	l.want(task, wtypes.BatchLoadStatusFailed, wtypes.BatchLoadProgressReport{})
	if got := l.report(task); got != `{"fileErrors":[],"taskErrors":[{"reason":"The task cannot be carried out: no object in bucket csv-in has the prefix \"nothing/\"."}]}` {
		t.Errorf("got %s", got)
	}
	if want := `The task cannot be carried out: no object in bucket csv-in has the prefix "nothing/". See the error report s3://csv-out/reports/` + *task.TaskId + "/error_report.json."; aws.ToString(task.ErrorMessage) != want {
		t.Errorf("got %q, want %q", aws.ToString(task.ErrorMessage), want)
	}
	for i := range 101 {
		l.put(fmt.Sprintf("many/%d.csv", i), header)
	}
	task = l.load(l.input("many/"))
	l.want(task, wtypes.BatchLoadStatusFailed, wtypes.BatchLoadProgressReport{})
	if got := l.report(task); !strings.Contains(got, "more than 100") {
		t.Errorf("got %s", got)
	}
}

// TestBatchLoadColumns: each reason of the store about a value names the column that it came from.
func TestBatchLoadColumns(t *testing.T) {
	l := newLoading(t)
	now := loadTime()
	l.put("values.csv", "vehicle,registration,time,wgt,miles,note\n"+
		fmt.Sprintf("car,r,%d,1,2,%s\n", now, strings.Repeat("n", 2049))+
		fmt.Sprintf("%s,r,%d,1,2,long\n", strings.Repeat("c", 2048), now+1)+
		fmt.Sprintf("car,r,%d,1,2 miles,a unit\n", now+2))
	want := `{"fileErrors":[{"errors":[` +
		`{"lineRanges":[[2,2]],"reason":"Column 'note': Value '` + strings.Repeat("n", 64) + `…' failed to satisfy constraint: Member must have length less than or equal to 2048."},` +
		`{"lineRanges":[[3,3]],"reason":"Column 'vehicle', value '` + strings.Repeat("c", 64) + `…': The dimension 'vehicle' exceeds the limit of 2048 bytes for a dimension name and value pair."},` +
		`{"lineRanges":[[4,4]],"reason":"Column 'miles': Invalid value 2 miles for bigint measure value type."}],"fileName":"values.csv"}],"taskErrors":[]}`
	if got := l.report(l.load(l.input("values.csv"))); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestBatchLoadModels: the parameters of CSV files, a data model in a bucket, single measures.
func TestBatchLoadModels(t *testing.T) {
	l := newLoading(t)
	now := loadTime() / 1000
	l.put("mixed.csv", fmt.Sprintf("at;host;what;cpu;mem\n%d; a ;load;'1\\'5';-\n%d;b;free;-; 7 \n", now, now))
	b, err := json.Marshal(map[string]any{
		"TimeColumn": "at", "TimeUnit": "SECONDS", "MeasureNameColumn": "what",
		"DimensionMappings": []any{map[string]any{"SourceColumn": "host"}},
		"MixedMeasureMappings": []any{
			map[string]any{"MeasureName": "load", "MeasureValueType": "VARCHAR", "SourceColumn": "cpu"},
			map[string]any{"MeasureName": "free", "MeasureValueType": "BIGINT", "SourceColumn": "mem", "TargetMeasureName": "free_memory"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.put("model.json", string(b))
	in := l.input("mixed.csv")
	in.DataModelConfiguration = &wtypes.DataModelConfiguration{DataModelS3Configuration: &wtypes.DataModelS3Configuration{BucketName: aws.String("csv-in"), ObjectKey: aws.String("model.json")}}
	in.DataSourceConfiguration.CsvConfiguration = &wtypes.CsvConfiguration{
		ColumnSeparator: aws.String(";"), EscapeChar: aws.String(`\`), QuoteChar: aws.String("'"), NullValue: aws.String("-"), TrimWhiteSpace: aws.Bool(true),
	}
	task := l.load(in)
	l.want(task, wtypes.BatchLoadStatusSucceeded, wtypes.BatchLoadProgressReport{RecordsProcessed: 2, RecordsIngested: 2})
	l.wantRows("SELECT host, measure_name, measure_value::varchar, measure_value::bigint, to_milliseconds(time) FROM loads.trips ORDER BY host",
		fmt.Sprintf("a|load|1'5|NULL|%d", now*1000), fmt.Sprintf("b|free_memory|NULL|7|%d", now*1000))
	if s3 := task.DataModelConfiguration.DataModelS3Configuration; s3 == nil || *s3.ObjectKey != "model.json" || task.DataModelConfiguration.DataModel != nil {
		t.Errorf("got %+v", task.DataModelConfiguration)
	}
	if c := task.DataSourceConfiguration.CsvConfiguration; aws.ToString(c.EscapeChar) != `\` || !aws.ToBool(c.TrimWhiteSpace) {
		t.Errorf("got %+v", c)
	}
}

// TestConformanceBatchLoad: shapes, classes and texts of the four operations.
func TestConformanceBatchLoad(t *testing.T) {
	l := newLoading(t)
	l.put("no.json", `{"DimensionMappings":[]}`)
	const model, service = modelSpace + "ValidationException", serviceSpace + "ValidationException"
	values := "satisfy enum value set: [DOUBLE, BIGINT, BOOLEAN, VARCHAR, TIMESTAMP]"
	request := func(change string) string {
		var base, over map[string]any
		if err := json.Unmarshal([]byte(`{"TargetDatabaseName":"loads","TargetTableName":"trips",
			"DataModelConfiguration":{"DataModel":{"TimeColumn":"time","DimensionMappings":[{"SourceColumn":"d"}],"MultiMeasureMappings":{"TargetMultiMeasureName":"m","MultiMeasureAttributeMappings":[{"SourceColumn":"a"}]}}},
			"DataSourceConfiguration":{"DataFormat":"CSV","DataSourceS3Configuration":{"BucketName":"csv-in","ObjectKeyPrefix":"nothing"}},
			"ReportConfiguration":{"ReportS3Configuration":{"BucketName":"csv-out"}}}`), &base); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(change), &over); err != nil {
			t.Fatal(err)
		}
		for k, v := range over {
			base[k] = v
		}
		b, _ := json.Marshal(base)
		return string(b)
	}
	dm := "dataModelConfiguration.dataModel."
	token := strings.Repeat("t", 64)
	converse(t, l.srv.URL, []exchange{
		{"nothing", "CreateBatchLoadTask", `{}`, model, invalid(isNull("dataSourceConfiguration"), isNull("reportConfiguration"), isNull("targetDatabaseName"), isNull("targetTableName"))},
		{"empty structures", "CreateBatchLoadTask", request(`{"DataSourceConfiguration":{},"ReportConfiguration":{"ReportS3Configuration":{}},"DataModelConfiguration":{"DataModel":{}}}`), model,
			invalid(isNull(dm+"dimensionMappings"), isNull("dataSourceConfiguration.dataSourceS3Configuration"), isNull("dataSourceConfiguration.dataFormat"), isNull("reportConfiguration.reportS3Configuration.bucketName"))},
		{"names", "CreateBatchLoadTask", request(`{"TargetDatabaseName":"a b","TargetTableName":"é","ClientToken":"` + token + `t"}`), model,
			invalid(must("...", "clientToken", "have length less than or equal to 64"), must("a b", "targetDatabaseName", "satisfy regular expression pattern: [a-zA-Z0-9_.-]+"), must("é", "targetTableName", "satisfy regular expression pattern: [a-zA-Z0-9_.-]+"))},
		{"source", "CreateBatchLoadTask", request(`{"DataSourceConfiguration":{"DataFormat":"TSV","DataSourceS3Configuration":{"BucketName":"A"},"CsvConfiguration":{"ColumnSeparator":"","EscapeChar":"ab","QuoteChar":"","NullValue":""}}}`), model,
			invalid(must("A", "dataSourceConfiguration.dataSourceS3Configuration.bucketName", "have length greater than or equal to 3"),
				must("A", "dataSourceConfiguration.dataSourceS3Configuration.bucketName", `satisfy regular expression pattern: [a-z0-9][\.\-a-z0-9]{1,61}[a-z0-9]`),
				must("", "dataSourceConfiguration.csvConfiguration.columnSeparator", "have length greater than or equal to 1"), must("...", "dataSourceConfiguration.csvConfiguration.escapeChar", "have length less than or equal to 1"),
				must("", "dataSourceConfiguration.csvConfiguration.quoteChar", "have length greater than or equal to 1"), must("", "dataSourceConfiguration.csvConfiguration.nullValue", "have length greater than or equal to 1"),
				must("TSV", "dataSourceConfiguration.dataFormat", "satisfy enum value set: [CSV]"))},
		{"keys", "CreateBatchLoadTask", request(`{"DataSourceConfiguration":{"DataFormat":"CSV","DataSourceS3Configuration":{"BucketName":"csv-in","ObjectKeyPrefix":"/a"}},"ReportConfiguration":{"ReportS3Configuration":{"BucketName":"csv-out","ObjectKeyPrefix":"` + strings.Repeat("k", 929) + `","EncryptionOption":"X","KmsKeyId":""}}}`), model,
			invalid(must("/a", "dataSourceConfiguration.dataSourceS3Configuration.objectKeyPrefix", `satisfy regular expression pattern: [a-zA-Z0-9|!\-_*'\(\)]([a-zA-Z0-9]|[!\-_*'\(\)\/.])+`),
				must("...", "reportConfiguration.reportS3Configuration.objectKeyPrefix", "have length less than or equal to 928"), must("X", "reportConfiguration.reportS3Configuration.encryptionOption", "satisfy enum value set: [SSE_S3, SSE_KMS]"),
				must("", "reportConfiguration.reportS3Configuration.kmsKeyId", "have length greater than or equal to 1"))},
		{"lists of a data model", "CreateBatchLoadTask", request(`{"DataModelConfiguration":{"DataModel":{"TimeColumn":"","TimeUnit":"HOURS","DimensionMappings":[],"MultiMeasureMappings":{"MultiMeasureAttributeMappings":[]},"MixedMeasureMappings":[],"MeasureNameColumn":""}}}`), model,
			invalid(must("", dm+"timeColumn", "have length greater than or equal to 1"), must("HOURS", dm+"timeUnit", "satisfy enum value set: [MILLISECONDS, SECONDS, MICROSECONDS, NANOSECONDS]"),
				must("[]", dm+"dimensionMappings", "have length greater than or equal to 1"), must("[]", dm+"multiMeasureMappings.multiMeasureAttributeMappings", "have length greater than or equal to 1"),
				must("[]", dm+"mixedMeasureMappings", "have length greater than or equal to 1"), must("", dm+"measureNameColumn", "have length greater than or equal to 1"))},
		{"members of a data model", "CreateBatchLoadTask", request(`{"DataModelConfiguration":{"DataModel":{"DimensionMappings":[{"SourceColumn":"","DestinationColumn":""}],"MultiMeasureMappings":{"TargetMultiMeasureName":""},"MixedMeasureMappings":[{"MeasureName":"","SourceColumn":"","TargetMeasureName":""}]}}}`), model,
			invalid(must("", dm+"dimensionMappings.1.member.sourceColumn", "have length greater than or equal to 1"), must("", dm+"dimensionMappings.1.member.destinationColumn", "have length greater than or equal to 1"),
				must("", dm+"multiMeasureMappings.targetMultiMeasureName", "have length greater than or equal to 1"), isNull(dm+"multiMeasureMappings.multiMeasureAttributeMappings"),
				must("", dm+"mixedMeasureMappings.1.member.measureName", "have length greater than or equal to 1"), must("", dm+"mixedMeasureMappings.1.member.sourceColumn", "have length greater than or equal to 1"),
				must("", dm+"mixedMeasureMappings.1.member.targetMeasureName", "have length greater than or equal to 1"), isNull(dm+"mixedMeasureMappings.1.member.measureValueType"))},
		{"types of a data model", "CreateBatchLoadTask", request(`{"DataModelConfiguration":{"DataModel":{"DimensionMappings":[{}],"MixedMeasureMappings":[{"MeasureValueType":"INT","MultiMeasureAttributeMappings":[{"TargetMultiMeasureAttributeName":"","MeasureValueType":"MULTI"}]}]}}}`), model,
			invalid(must("INT", dm+"mixedMeasureMappings.1.member.measureValueType", "satisfy enum value set: [DOUBLE, BIGINT, VARCHAR, BOOLEAN, TIMESTAMP, MULTI]"),
				isNull(dm+"mixedMeasureMappings.1.member.multiMeasureAttributeMappings.1.member.sourceColumn"), must("", dm+"mixedMeasureMappings.1.member.multiMeasureAttributeMappings.1.member.targetMultiMeasureAttributeName", "have length greater than or equal to 1"),
				must("MULTI", dm+"mixedMeasureMappings.1.member.multiMeasureAttributeMappings.1.member.measureValueType", values))},
		{"a data model's place", "CreateBatchLoadTask", request(`{"DataModelConfiguration":{"DataModelS3Configuration":{"BucketName":"x","ObjectKey":"x"}}}`), model,
			invalid(must("x", "dataModelConfiguration.dataModelS3Configuration.bucketName", "have length greater than or equal to 3"), must("x", "dataModelConfiguration.dataModelS3Configuration.bucketName", `satisfy regular expression pattern: [a-z0-9][\.\-a-z0-9]{1,61}[a-z0-9]`),
				must("x", "dataModelConfiguration.dataModelS3Configuration.objectKey", `satisfy regular expression pattern: [a-zA-Z0-9|!\-_*'\(\)]([a-zA-Z0-9]|[!\-_*'\(\)\/.])+`))},

		{"no data model", "CreateBatchLoadTask", request(`{"DataModelConfiguration":null}`), service, "Either DataModel or DataModelS3Configuration is required in DataModelConfiguration."},
		{"half a place of a data model", "CreateBatchLoadTask", request(`{"DataModelConfiguration":{"DataModelS3Configuration":{"BucketName":"csv-in"}}}`), service, "DataModelS3Configuration requires BucketName and ObjectKey."},
		{"no report", "CreateBatchLoadTask", request(`{"ReportConfiguration":{}}`), service, "ReportConfiguration requires ReportS3Configuration."},
		{"version 0", "CreateBatchLoadTask", request(`{"RecordVersion":0}`), service, "The record version 0 is invalid: it must be at least 1."},
		{"a separator", "CreateBatchLoadTask", request(`{"DataSourceConfiguration":{"DataFormat":"CSV","DataSourceS3Configuration":{"BucketName":"csv-in"},"CsvConfiguration":{"ColumnSeparator":"x"}}}`), service, `ColumnSeparator is "x": it has to be a comma, a pipe, a semicolon, a tab or a space.`},
		{"a quote", "CreateBatchLoadTask", request(`{"DataSourceConfiguration":{"DataFormat":"CSV","DataSourceS3Configuration":{"BucketName":"csv-in"},"CsvConfiguration":{"QuoteChar":"x"}}}`), service, `QuoteChar is "x": it has to be a single or a double quote.`},
		{"an escape", "CreateBatchLoadTask", request(`{"DataSourceConfiguration":{"DataFormat":"CSV","DataSourceS3Configuration":{"BucketName":"csv-in"},"CsvConfiguration":{"EscapeChar":"|","ColumnSeparator":"|"}}}`), service, `EscapeChar and ColumnSeparator are the same character.`},
		{"no table", "CreateBatchLoadTask", request(`{"TargetTableName":"nothing"}`), serviceSpace + "ResourceNotFoundException", "The table nothing does not exist."},
		{"no bucket", "CreateBatchLoadTask", request(`{"ReportConfiguration":{"ReportS3Configuration":{"BucketName":"nothing"}}}`), service, "Unable to access S3: no such bucket: nothing: there is no directory of this name in " + l.dir + " (--s3-dir)"},
		{"no object with the data model", "CreateBatchLoadTask", request(`{"DataModelConfiguration":{"DataModelS3Configuration":{"BucketName":"csv-in","ObjectKey":"nothing"}}}`), service, "Unable to access S3: no such key: nothing in bucket csv-in"},
		{"an object with another data model", "CreateBatchLoadTask", request(`{"DataModelConfiguration":{"DataModelS3Configuration":{"BucketName":"csv-in","ObjectKey":"no.json"}}}`), model, invalid(must("[]", "dataModel.dimensionMappings", "have length greater than or equal to 1"))},
		{"a data model without measures", "CreateBatchLoadTask", request(`{"DataModelConfiguration":{"DataModel":{"TimeColumn":"time","DimensionMappings":[{"SourceColumn":"d"}]}}}`), service, "The data model is invalid: either MultiMeasureMappings or MixedMeasureMappings is required"},
		{"created", "CreateBatchLoadTask", request(`{"ClientToken":"` + token + `"}`), "", `{"TaskId":"…"}`},
		{"the token with another request", "CreateBatchLoadTask", request(`{"ClientToken":"` + token + `","RecordVersion":2}`), serviceSpace + "ConflictException", "The ClientToken was used before with other parameters."},

		{"describe nothing", "DescribeBatchLoadTask", `{}`, model, invalid(isNull("taskId"))},
		{"a bad id", "DescribeBatchLoadTask", `{"TaskId":"x"}`, model, invalid(must("x", "taskId", "have length greater than or equal to 3"), must("x", "taskId", "satisfy regular expression pattern: [A-Z0-9]+"))},
		{"no such id", "DescribeBatchLoadTask", `{"TaskId":"ABC"}`, serviceSpace + "ResourceNotFoundException", "The batch load task ABC does not exist."},
		{"resume nothing", "ResumeBatchLoadTask", `{}`, model, invalid(isNull("taskId"))},
		{"resume no such id", "ResumeBatchLoadTask", `{"TaskId":"ABC"}`, serviceSpace + "ResourceNotFoundException", "The batch load task ABC does not exist."},
		{"pages", "ListBatchLoadTasks", `{"MaxResults":101,"TaskStatus":"X"}`, model, invalid(must("101", "maxResults", "have value less than or equal to 100"), must("X", "taskStatus", "satisfy enum value set: [CREATED, IN_PROGRESS, FAILED, SUCCEEDED, PROGRESS_STOPPED, PENDING_RESUME]"))},
		{"a bad page", "ListBatchLoadTasks", `{"NextToken":"!"}`, service, "Invalid pagination token"},
		{"the list", "ListBatchLoadTasks", `{}`, "", `{"BatchLoadTasks":[{"TaskId":"…","TaskStatus":"…","DatabaseName":"loads","TableName":"trips","CreationTime":"…","LastUpdatedTime":"…","ResumableUntil":null}],"NextToken":null}`},
	})
	// The same token and request are the same task.
	_, _, first := post(t, l.srv.URL, prefix+"CreateBatchLoadTask", request(`{"ClientToken":"`+token+`"}`))
	_, _, second := post(t, l.srv.URL, prefix+"CreateBatchLoadTask", request(`{"ClientToken":"`+token+`"}`))
	id, _ := first["TaskId"].(string)
	if id == "" || second["TaskId"] != id {
		t.Errorf("got %v and %v", first, second)
	}
	l.await(id)
	converse(t, l.srv.URL, []exchange{
		{"resume what is done", "ResumeBatchLoadTask", `{"TaskId":"` + id + `"}`, service, "The batch load task " + id + " cannot be resumed: its status is FAILED, not PROGRESS_STOPPED."},
		{"the whole task", "DescribeBatchLoadTask", `{"TaskId":"` + id + `"}`, "", `{"BatchLoadTaskDescription":{"TaskId":"` + id + `","TaskStatus":"FAILED","ErrorMessage":"…","RecordVersion":1,"CreationTime":"…","LastUpdatedTime":"…","ResumableUntil":null,
			"TargetDatabaseName":"loads","TargetTableName":"trips","DataSourceConfiguration":{"CsvConfiguration":{},"DataFormat":"CSV","DataSourceS3Configuration":{"BucketName":"csv-in","ObjectKeyPrefix":"nothing"}},
			"ReportConfiguration":{"ReportS3Configuration":{"BucketName":"csv-out"}},
			"DataModelConfiguration":{"DataModel":{"TimeColumn":"time","TimeUnit":"MILLISECONDS","DimensionMappings":[{"SourceColumn":"d","DestinationColumn":"d"}],"MultiMeasureMappings":{"TargetMultiMeasureName":"m","MultiMeasureAttributeMappings":[{"SourceColumn":"a","TargetMultiMeasureAttributeName":"a"}]}}},
			"ProgressReport":{"RecordsProcessed":0,"RecordsIngested":0,"ParseFailures":0,"RecordIngestionFailures":0,"FileFailures":0,"BytesMetered":0}}}`},
	})
}

// TestBatchLoadPolicy: policies, faults and quotas know the operations.
func TestBatchLoadPolicy(t *testing.T) {
	operations := []string{"CreateBatchLoadTask", "DescribeBatchLoadTask", "ListBatchLoadTasks", "ResumeBatchLoadTask"}
	denied := serve(t, func(c *local.Config) { c.AllowActions = []string{"WriteRecords"} }, wire.Options{})
	now := time.Now()
	quotas := serve(t, func(c *local.Config) {
		c.Quotas, c.Now, c.S3Dir = local.QuotasService, func() time.Time { return now }, t.TempDir()
	}, wire.Options{})
	injector := &faults.Injector{}
	if err := injector.Set("table=loads.trips,CreateBatchLoadTask.conflict=1; table=loads.other,CreateBatchLoadTask.throttle=1; *BatchLoadTask*.quota=1"); err != nil {
		t.Fatal(err)
	}
	faulty := serve(t, nil, wire.Options{Faults: injector})
	class := func(url, operation, body string) string {
		t.Helper()
		_, _, answer := post(t, url, prefix+operation, body)
		s, _ := answer["__type"].(string)
		return strings.TrimPrefix(strings.TrimPrefix(s, serviceSpace), modelSpace)
	}
	for _, operation := range operations {
		if got := class(denied.URL, operation, `{}`); got != "AccessDeniedException" {
			t.Errorf("%s denied: got %s", operation, got)
		}
		if got := class(faulty.URL, operation, `{}`); got != "ServiceQuotaExceededException" {
			t.Errorf("%s with a fault: got %s", operation, got)
		}
		calls := 1
		if operation[0] == 'D' || operation[0] == 'L' {
			calls = 5
		}
		for range calls {
			if got := class(quotas.URL, operation, `{}`); got == "ThrottlingException" {
				t.Errorf("%s is throttled too early", operation)
			}
		}
		if got := class(quotas.URL, operation, `{}`); got != "ThrottlingException" {
			t.Errorf("%s after %d calls: got %s", operation, calls, got)
		}
	}
	for table, want := range map[string]string{"trips": "ConflictException", "other": "ThrottlingException", "third": "ServiceQuotaExceededException"} {
		if got := class(faulty.URL, "CreateBatchLoadTask", `{"TargetDatabaseName":"loads","TargetTableName":"`+table+`"}`); got != want {
			t.Errorf("table %s: got %s, want %s", table, got, want)
		}
	}
	// UNLOAD has a rate of its own, of one statement a second.
	const unload = `{"QueryString":"UNLOAD (SELECT 1) TO 's3://nothing/x'"}`
	if first, second := class(quotas.URL, "Query", unload), class(quotas.URL, "Query", unload); first != "ValidationException" || second != "ThrottlingException" {
		t.Errorf("got %s and %s", first, second)
	}
}
