// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/aws/smithy-go"

	"github.com/tributary-project/tributary/timestream/client"
	"github.com/tributary-project/tributary/timestream/local"
)

// TestSDKRetries: the SDK's standard retryer tries again what the service means to be tried again, and nothing else.
func TestSDKRetries(t *testing.T) {
	f := newFaulty(t)
	if _, err := f.records("warm", 1); err != nil {
		t.Fatal(err)
	}
	retrying := func(o *retry.StandardOptions) {
		o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
	}
	write := timestreamwrite.New(f.write.Options(), func(o *timestreamwrite.Options) { o.Retryer = retry.NewStandard(retrying) })
	query := timestreamquery.New(f.query.Options(), func(o *timestreamquery.Options) { o.Retryer = retry.NewStandard(retrying) })
	for _, c := range []struct {
		plan  string
		calls int
		fails bool
	}{
		{"throttle=2x", 3, false},
		{"throttle=1", 3, true},
		{"error=2x", 3, false},
		{"unavailable=2x", 3, false},
		{"cut=2x", 3, false},
		{"cut-after=2x", 3, false},
		{"reset=2x", 3, false},
		{"reset-after=2x", 3, false},
		{"lost-answer=2x", 3, false},
		{"invalid-endpoint=1x", 1, true},
		{"validation=1x", 1, true},
		{"access-denied=1x", 1, true},
		{"not-found=1x", 1, true},
		{"conflict=1x", 1, true},
		{"quota=1x", 1, true},
		{"reject=1x", 1, true},
		{"reject-share=1", 1, true},
		{"execution=1x", 1, true},
	} {
		t.Run(c.plan, func(t *testing.T) {
			check := func(err error) {
				t.Helper()
				if calls := f.faults.Rules()[0].Calls; calls != c.calls || (err != nil) != c.fails {
					t.Errorf("%d calls, want %d: %v", calls, c.calls, err)
				}
			}
			if !strings.HasPrefix(c.plan, "execution") {
				f.set("write." + c.plan)
				_, err := write.WriteRecords(t.Context(), f.input("retried "+c.plan, 2))
				check(err)
				if !c.fails && len(f.hosts("retried "+c.plan)) != 2 {
					t.Error("not stored")
				}
			}
			if !strings.HasPrefix(c.plan, "reject") {
				f.set("query." + c.plan)
				_, err := query.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String("SELECT 1")})
				check(err)
			}
		})
	}
}

// TestEveryClass: each class of error has its status and its text, by either of its names, for any operation.
func TestEveryClass(t *testing.T) {
	f := newFaulty(t)
	for _, c := range []struct {
		kind, class string
		status      int
	}{
		{"throttle", "ThrottlingException", 429}, {"error", "InternalServerException", 500}, {"invalid-endpoint", "InvalidEndpointException", 421},
		{"validation", "ValidationException", 400}, {"access-denied", "AccessDeniedException", 403}, {"not-found", "ResourceNotFoundException", 404},
		{"conflict", "ConflictException", 409}, {"quota", "ServiceQuotaExceededException", 402}, {"execution", "QueryExecutionException", 400},
	} {
		for _, kind := range []string{c.kind, c.class} {
			operations := []string{"WriteRecords", "Query", "CreateTable", "DescribeEndpoints", "ListDatabases"}
			if c.kind == "execution" {
				operations = []string{"Query"}
			}
			for _, operation := range operations {
				f.set(operation + "." + kind + `=1,text="no, not now"`)
				status, body := f.post(operation, `{"QueryString":"SELECT 1","DatabaseName":"d","TableName":"t"}`)
				var e struct {
					Type    string `json:"__type"`
					Message string `json:"message"`
				}
				if err := json.Unmarshal(body, &e); err != nil || status != c.status || e.Type != "com.amazonaws.timestream.v20181101#"+c.class || e.Message != "no, not now" {
					t.Errorf("%s %s: got %d %s", operation, kind, status, body)
				}
			}
		}
	}
	f.set("throttle=1")
	if _, body := f.post("Query", `{"QueryString":"SELECT 1"}`); !strings.Contains(string(body), `"Request rate limit exceeded"`) {
		t.Errorf("the service's text of throttling is not in %s", body)
	}
}

// TestOneTable: a rule on a table leaves others alone, whichever operation names them.
func TestOneTable(t *testing.T) {
	f := newFaulty(t)
	const other = "other.table"
	if _, err := f.write.CreateTable(t.Context(), &timestreamwrite.CreateTableInput{DatabaseName: aws.String(database), TableName: aws.String(other)}); err != nil {
		t.Fatal(err)
	}
	f.set("table=*.other.*,*.throttle=1")
	calls := map[string]func(table string) error{
		"WriteRecords": func(table string) error {
			in := f.input("one", 1)
			in.TableName = &table
			_, err := f.write.WriteRecords(t.Context(), in)
			return err
		},
		"Query": func(table string) error {
			_, err := f.query.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String(fmt.Sprintf(`SELECT count(*) FROM "%s"."%s"`, database, table))})
			return err
		},
		"Query with several tables": func(table string) error {
			_, err := f.query.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String(fmt.Sprintf(
				`WITH x AS (SELECT measure_name FROM "%s"."%s") SELECT count(*) FROM "%s"."%s" WHERE measure_name IN (SELECT measure_name FROM x)`, database, table, database, "PrometheusMetricsTable"))})
			return err
		},
		"DESCRIBE": func(table string) error {
			_, err := f.query.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String(fmt.Sprintf(`DESCRIBE "%s"."%s"`, database, table))})
			return err
		},
		"DescribeTable": func(table string) error {
			_, err := f.write.DescribeTable(t.Context(), &timestreamwrite.DescribeTableInput{DatabaseName: aws.String(database), TableName: &table})
			return err
		},
		"ListTagsForResource": func(table string) error {
			_, err := f.write.ListTagsForResource(t.Context(), &timestreamwrite.ListTagsForResourceInput{ResourceARN: aws.String("arn:aws:timestream:us-east-1:000000000000:database/" + database + "/table/" + table)})
			return err
		},
	}
	for name, call := range calls {
		if err := call(table); err != nil {
			t.Errorf("%s on another table: %v", name, err)
		}
		var e smithy.APIError
		if err := call(other); !errors.As(err, &e) || e.ErrorCode() != "ThrottlingException" {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Of a database or none, no table is meant.
	if _, err := f.write.ListTables(t.Context(), &timestreamwrite.ListTablesInput{DatabaseName: aws.String(database)}); err != nil {
		t.Error(err)
	}
	if _, err := f.query.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String("SHOW DATABASES")}); err != nil {
		t.Error(err)
	}
	f.set("table=" + database + ",*.throttle=1")
	if _, err := f.write.ListTables(t.Context(), &timestreamwrite.ListTablesInput{DatabaseName: aws.String(database)}); !as[*wtypes.ThrottlingException](err) {
		t.Errorf("ListTables of the database: %v", err)
	}
}

// TestDiscoveryFails: DescribeEndpoints fails when it is asked to, and a client that had an endpoint asks again after 421.
func TestDiscoveryFails(t *testing.T) {
	f := newFaulty(t)
	if _, err := f.records("warm", 1); err != nil {
		t.Fatal(err)
	}
	options := f.write.Options()
	options.EndpointDiscovery.EnableEndpointDiscovery = aws.EndpointDiscoveryEnabled
	w := client.NewWriter(timestreamwrite.New(options))
	f.set("DescribeEndpoints.error=1x")
	if _, err := w.WriteRecords(t.Context(), f.input("discovered", 1)); err == nil || len(f.hosts("discovered")) > 0 {
		t.Errorf("without an endpoint: %v", err)
	}
	f.set("id=all,*.latency=1ns")
	asked := func() int { return f.faults.Rules()[0].Hits["DescribeEndpoints"]["latency"] }
	for range 3 {
		if _, err := w.WriteRecords(t.Context(), f.input("discovered", 1)); err != nil {
			t.Fatal(err)
		}
	}
	if n := asked(); n != 1 {
		t.Errorf("asked for the endpoint %d times", n)
	}
	if err := f.faults.Add("write.invalid-endpoint=1x"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteRecords(t.Context(), f.input("discovered", 1)); !as[*wtypes.InvalidEndpointException](err) {
		t.Errorf("got %v", err)
	}
	if _, err := w.WriteRecords(t.Context(), f.input("discovered", 1)); err != nil {
		t.Error(err)
	}
	if n := asked(); n != 2 {
		t.Errorf("asked for the endpoint %d times", n)
	}
}

// outOfTime is a context whose deadline passes when over is closed.
type outOfTime struct {
	context.Context
	over <-chan struct{}
}

func (c outOfTime) Done() <-chan struct{} { return c.over }

func (c outOfTime) Err() error {
	select {
	case <-c.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// over is closed when a fault of that kind has met a call.
func (f *faulty) over(operation, kind string) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		for deadline := time.Now().Add(2 * time.Minute); f.counted(operation, kind) == 0 && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond) // polling a condition
		}
	}()
	return over
}

// TestConnections: calls without an answer are errors of the transport, whatever was done.
func TestConnections(t *testing.T) {
	f := newFaulty(t)
	if _, err := f.records("warm", 1); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kind   string
		want   error // nil: any that is none of the API's
		stored bool
		waits  bool
	}{
		{kind: "cut"}, {kind: "cut-after", stored: true}, {kind: "reset", want: syscall.ECONNRESET}, {kind: "reset-after", want: syscall.ECONNRESET, stored: true}, {kind: "truncate", want: io.ErrUnexpectedEOF, stored: true},
		{kind: "stuck", want: context.DeadlineExceeded, waits: true}, {kind: "stuck-after", want: context.DeadlineExceeded, stored: true, waits: true},
	} {
		t.Run(c.kind, func(t *testing.T) {
			try := func(name string, call func(context.Context) error) {
				t.Helper()
				ctx := t.Context()
				if c.waits { // until it is stuck there
					ctx = outOfTime{context.WithoutCancel(ctx), f.over(name, c.kind)}
				}
				if err := call(ctx); !noAnswer(err) || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("%s: %v", name, err)
				}
			}
			f.set("write." + c.kind + "=1x")
			try("write", func(ctx context.Context) error {
				_, err := f.write.WriteRecords(ctx, f.input(c.kind, 2))
				return err
			})
			// A call that is stuck after its work ends when it is done, which the client's time does not tell.
			for deadline := time.Now().Add(2 * time.Minute); c.stored && len(f.hosts(c.kind)) == 0 && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
			if got := len(f.hosts(c.kind)) > 0; got != c.stored {
				t.Errorf("stored: %v, want %v", got, c.stored)
			}
			f.set("query." + c.kind + "=1x")
			try("query", func(ctx context.Context) error {
				_, err := f.query.Query(ctx, &timestreamquery.QueryInput{QueryString: aws.String("SELECT 1")})
				return err
			})
			f.set("DescribeTable." + c.kind + "=1x")
			try("DescribeTable", func(ctx context.Context) error {
				_, err := f.write.DescribeTable(ctx, &timestreamwrite.DescribeTableInput{DatabaseName: aws.String(database), TableName: aws.String(table)})
				return err
			})
			if _, err := f.records(c.kind, 2); err != nil {
				t.Errorf("the next: %v", err)
			}
		})
	}
}

// TestLatencyAfter: the work is done at once, the answer comes later.
func TestLatencyAfter(t *testing.T) {
	f := newFaulty(t)
	f.set("write.latency-after=10m")
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := f.write.WriteRecords(ctx, f.input("late", 1))
		answered <- err
	}()
	stored := func() bool {
		out, err := f.query.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String(fmt.Sprintf(`SELECT count(*) FROM %s.%s`, database, table))})
		return err == nil && *out.Rows[0].Data[0].ScalarValue == "1"
	}
	for deadline := time.Now().Add(2 * time.Minute); !stored(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not stored")
		}
	}
	select {
	case err := <-answered:
		t.Errorf("answered: %v", err)
	default:
	}
	cancel()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestEmptyPages: between the pages of a result come some without rows, which a client walks through by their tokens.
func TestEmptyPages(t *testing.T) {
	f := newFaulty(t)
	if _, err := f.records("page", 25); err != nil {
		t.Fatal(err)
	}
	statement := fmt.Sprintf(`SELECT host FROM %s.%s ORDER BY host`, database, table)
	var want []string
	for i := range 25 {
		want = append(want, fmt.Sprint("page-", i))
	}
	slices.Sort(want)
	for _, c := range []struct {
		plan    string
		maxRows int32
		// pages are the numbers of rows on each.
		pages []int
	}{
		{"", 10, []int{0, 10, 10, 5}},
		{"empty-page=1x", 0, []int{0, 25}},
		{"empty-page=2x", 0, []int{0, 0, 25}},
		{"empty-page=1", 0, []int{0, 0, 0, 25}},
		{"empty-page=1", 10, []int{0, 0, 0, 0, 10, 0, 0, 0, 10, 0, 0, 0, 5}},
	} {
		t.Run(c.plan, func(t *testing.T) {
			f.set(c.plan)
			in := &timestreamquery.QueryInput{QueryString: &statement}
			if c.maxRows > 0 {
				in.MaxRows = &c.maxRows
			}
			pages := timestreamquery.NewQueryPaginator(f.query, in)
			var got []string
			var sizes []int
			before := -1.0
			for pages.HasMorePages() {
				p, err := pages.NextPage(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				sizes = append(sizes, len(p.Rows))
				for _, row := range p.Rows {
					got = append(got, *row.Data[0].ScalarValue)
				}
				progress := p.QueryStatus.ProgressPercentage
				if len(p.ColumnInfo) != 1 || progress < before || (progress == 100) != (p.NextToken == nil) {
					t.Errorf("page %d: %v columns, %v %% after %v, token %v", len(sizes), p.ColumnInfo, progress, before, p.NextToken)
				}
				before = progress
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %v", got)
			}
			if !slices.Equal(sizes, c.pages) {
				t.Errorf("pages of %v, want %v", sizes, c.pages)
			}
		})
	}
	// The token of an empty page gives the same again, and an invalid statement is said to be so at once.
	f.set("empty-page=2x")
	first, err := f.query.Query(t.Context(), &timestreamquery.QueryInput{QueryString: &statement})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		second, err := f.query.Query(t.Context(), &timestreamquery.QueryInput{QueryString: &statement, NextToken: first.NextToken})
		if err != nil || len(second.Rows) > 0 || second.NextToken == nil {
			t.Fatalf("got %+v, %v", second, err)
		}
	}
	f.set("empty-page=1")
	if _, err := f.query.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String("SELECT nothing FROM nowhere.here")}); !as[*qtypes.ValidationException](err) {
		t.Errorf("got %v", err)
	}
}

// TestHiddenOnDemand: what is written to one table is seen later, by the server's clock.
func TestHiddenOnDemand(t *testing.T) {
	now := time.Now()
	f := newFaulty(t, func(c *local.Config) { c.Now = func() time.Time { return now } })
	f.set("table=*." + table + ",hide=1m; table=none.*,hide=1h")
	if out, err := f.records("hidden", 3); err != nil || out.RecordsIngested.Total != 3 {
		t.Fatal(err)
	}
	if got := f.hosts("hidden"); len(got) != 0 {
		t.Errorf("seen at once: %v", got)
	}
	// It is there all the same.
	in := f.input("hidden", 1)
	in.Records[0].MeasureValue = aws.String("2")
	if _, err := f.write.WriteRecords(t.Context(), in); !as[*wtypes.RejectedRecordsException](err) {
		t.Errorf("a conflict with a hidden record: %v", err)
	}
	now = now.Add(time.Minute)
	if got := f.hosts("hidden"); len(got) != 3 {
		t.Errorf("seen after a minute: %v", got)
	}
}

// TestRejectReasons: the share of the records that a rule says is refused, for the reason that it names; the others are stored.
func TestRejectReasons(t *testing.T) {
	f := newFaulty(t)
	if _, err := f.records("warm", 1); err != nil {
		t.Fatal(err)
	}
	for reason, want := range map[string]string{
		"":              "The record is refused, on demand.",
		"version":       "A record already exists with the same time, dimensions, measure name, and record version. A higher record version must be specified in order to update the measure value. Specifying record version is supported by the latest SDKs.",
		"lower-version": "The record version 3 is lower than the existing version 4. A higher version is required to update the measure value.",
		"window":        ") of the data ingestion window.",
		"dimensions":    "The record would give the table more than 128 dimensions.",
		`"too, many"`:   "too, many",
	} {
		t.Run(reason, func(t *testing.T) {
			plan := "reject-share=0.3,seed=7"
			if reason != "" {
				plan += ",reason=" + reason
			}
			f.set(plan)
			name := "because " + strings.Trim(reason, `"`)
			in := f.input(name, 100)
			in.CommonAttributes = &wtypes.Record{Version: aws.Int64(3)}
			_, err := f.write.WriteRecords(t.Context(), in)
			var rejected *wtypes.RejectedRecordsException
			if !errors.As(err, &rejected) {
				t.Fatal(err)
			}
			n := len(rejected.RejectedRecords)
			if n < 15 || n > 45 {
				t.Errorf("%d records are refused", n)
			}
			for _, r := range rejected.RejectedRecords {
				if !strings.Contains(*r.Reason, want) || (r.ExistingVersion != nil) != (reason == "lower-version") || r.ExistingVersion != nil && *r.ExistingVersion != 4 {
					t.Fatalf("got %q, %v", *r.Reason, r.ExistingVersion)
				}
			}
			if got := len(f.hosts(name)); got != 100-n {
				t.Errorf("%d stored, %d refused", got, n)
			}
			// With the same seed the same ones are refused.
			f.set(plan)
			_, err = f.write.WriteRecords(t.Context(), in)
			var again *wtypes.RejectedRecordsException
			if !errors.As(err, &again) || len(again.RejectedRecords) != n || again.RejectedRecords[n-1].RecordIndex != rejected.RejectedRecords[n-1].RecordIndex {
				t.Errorf("once more: %v", err)
			}
		})
	}
}

// post sends a body without the SDK.
func (f *faulty) post(operation, body string) (int, []byte) {
	f.Helper()
	req, err := http.NewRequestWithContext(f.Context(), http.MethodPost, f.url, strings.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "Timestream_20181101."+operation)
	res, err := f.http.Do(req)
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		f.Fatal(err)
	}
	return res.StatusCode, b
}
