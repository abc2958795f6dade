// SPDX-License-Identifier: Apache-2.0

package local_test

import (
	"context"
	"errors"
	"fmt"
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

	"github.com/tributary-project/tributary/timestream/local"
)

// many writes n records of one series, a second apart.
func many(t testing.TB, db *local.DB, n int) {
	t.Helper()
	for at := 0; at < n; {
		var recs []wtypes.Record
		for ; at < n && len(recs) < 100; at++ {
			recs = append(recs, rec("up", strconv.Itoa(at), time.Duration(at-n)*time.Second, "host", "a"))
		}
		mustWrite(t, db, recs...)
	}
}

func query(db *local.DB, sql string, maxRows int32, token *string) (*timestreamquery.QueryOutput, error) {
	in := &timestreamquery.QueryInput{QueryString: &sql, NextToken: token}
	if maxRows > 0 {
		in.MaxRows = &maxRows
	}
	return db.Query(context.Background(), in)
}

func TestPages(t *testing.T) {
	db := open(t)
	many(t, db, 2500)
	wide := "SELECT measure_value::double, '" + strings.Repeat("x", 4000) + "' " + from + " ORDER BY time"
	narrow := "SELECT measure_value::double " + from + " ORDER BY time"
	tests := []struct {
		name    string
		sql     string
		maxRows int32
		// want is the number of rows on each page; a result that does not fit begins with an empty page.
		want []int
	}{
		{"fits", narrow + " LIMIT 1000", 0, []int{1000}},
		{"fits under MaxRows", narrow + " LIMIT 9", 10, []int{9}},
		{"just MaxRows", narrow + " LIMIT 10", 10, []int{0, 10}},
		{"over 1000", narrow, 0, []int{0, 1000, 1000, 500}},
		{"MaxRows", narrow + " LIMIT 25", 10, []int{0, 10, 10, 5}},
		{"1 MB", wide + " LIMIT 600", 0, []int{0, 258, 258, 84}},
		{"nothing", narrow + " LIMIT 0", 10, []int{0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var token *string
			next := 0
			var id string
			for i, want := range tt.want {
				out, err := query(db, tt.sql, tt.maxRows, token)
				if err != nil {
					t.Fatal(err)
				}
				if len(out.Rows) != want {
					t.Errorf("page %d: got %d rows, want %d", i, len(out.Rows), want)
				}
				for _, r := range out.Rows {
					if got, want := *r.Data[0].ScalarValue, strconv.FormatFloat(float64(next), 'f', 1, 64); got != want {
						t.Fatalf("page %d: got row %s, want %s", i, got, want)
					}
					next++
				}
				last := i == len(tt.want)-1
				if (out.NextToken == nil) != last {
					t.Fatalf("page %d: token %v", i, out.NextToken)
				}
				if len(out.ColumnInfo) == 0 || out.QueryStatus.CumulativeBytesMetered < 10_000_000 {
					t.Errorf("page %d: got %v, %+v", i, out.ColumnInfo, out.QueryStatus)
				}
				if p := out.QueryStatus.ProgressPercentage; (p == 100) != last {
					t.Errorf("page %d: progress %v", i, p)
				}
				if !regexp.MustCompile(`^[a-zA-Z0-9]{1,64}$`).MatchString(*out.QueryId) || (id != "" && *out.QueryId != id) {
					t.Errorf("page %d: query id %s after %s", i, *out.QueryId, id)
				}
				token, id = out.NextToken, *out.QueryId
			}
		})
	}
}

func wantError[E error](t *testing.T, err error, text string) {
	t.Helper()
	var e E
	if !errors.As(err, &e) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want a %T with %q", err, e, text)
	}
}

func TestTokens(t *testing.T) {
	now := clock
	db := open(t, func(c *local.Config) { c.Now = func() time.Time { return now } })
	many(t, db, 50)
	sql := "SELECT measure_value::double " + from + " ORDER BY time"
	first, err := query(db, sql, 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	var one *timestreamquery.QueryOutput
	for i := range 5 { // the same token gives the same page, five times
		out, err := query(db, sql, 10, first.NextToken)
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Rows) != 10 || *out.Rows[0].Data[0].ScalarValue != "0.0" {
			t.Errorf("use %d: got %d rows", i+1, len(out.Rows))
		}
		one = out
	}
	_, err = query(db, sql, 10, first.NextToken)
	wantError[*qtypes.ValidationException](t, err, "Invalid pagination token")
	_, err = query(db, sql+" ", 10, one.NextToken)
	wantError[*qtypes.ValidationException](t, err, "Invalid pagination token")
	two, err := query(db, sql, 10, one.NextToken)
	if err != nil || *two.Rows[0].Data[0].ScalarValue != "10.0" {
		t.Fatalf("got %v, %v", two, err)
	}
	_, err = query(db, sql, 10, first.NextToken) // a newer one was used
	wantError[*qtypes.ValidationException](t, err, "Invalid pagination token")
	for _, bad := range []string{"x", "AAAA", strings.Repeat("A", 100)} {
		_, err = query(db, sql, 10, &bad)
		wantError[*qtypes.ValidationException](t, err, "Invalid pagination token")
	}
	now = now.Add(61 * time.Minute)
	_, err = query(db, sql, 10, two.NextToken)
	wantError[*qtypes.ValidationException](t, err, "Invalid pagination token")
}

func TestRowTooLarge(t *testing.T) {
	db := open(t)
	many(t, db, 15000)
	_, err := query(db, "SELECT CREATE_TIME_SERIES(time, measure_value::double) "+from, 0, nil)
	wantError[*qtypes.QueryExecutionException](t, err, "Query aborted as max page response size has been exceeded by the output result row")
	out, err := query(db, "SELECT CREATE_TIME_SERIES(time, measure_value::double) "+from+" GROUP BY bin(time, 2h)", 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out.NextToken == nil {
		t.Error("more than 1 MB came on one page")
	}
}

func TestQueryInput(t *testing.T) {
	db := open(t)
	for _, tt := range []struct {
		give timestreamquery.QueryInput
		want string
	}{
		{timestreamquery.QueryInput{}, "Value null at 'queryString'"},
		{timestreamquery.QueryInput{QueryString: aws.String("")}, "length greater than or equal to 1"},
		{timestreamquery.QueryInput{QueryString: aws.String("SELECT '" + strings.Repeat("x", 262144) + "'")}, "length less than or equal to 262144"},
		{timestreamquery.QueryInput{QueryString: aws.String("SELECT 1"), MaxRows: aws.Int32(0)}, "Value '0' at 'maxRows' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{timestreamquery.QueryInput{QueryString: aws.String("SELECT 1"), MaxRows: aws.Int32(1001)}, "Value '1001' at 'maxRows' failed to satisfy constraint: Member must have value less than or equal to 1000"},
		{timestreamquery.QueryInput{QueryString: aws.String("SELECT 1"), ClientToken: aws.String("short")}, "Value 'short' at 'clientToken' failed to satisfy constraint: Member must have length greater than or equal to 32"},
		{timestreamquery.QueryInput{QueryString: aws.String("SELEC 1")}, "line 1:1"},
		{timestreamquery.QueryInput{QueryString: aws.String("SELECT nosuch " + from)}, "Column 'nosuch' does not exist"},
		{timestreamquery.QueryInput{QueryString: aws.String(`SELECT 1 FROM "` + database + `".nosuch`)}, "The table 'nosuch' does not exist in database '" + database + "'"},
		{timestreamquery.QueryInput{QueryString: aws.String(`SELECT 1 FROM nosuch.t`)}, "Requested database 'nosuch' not found"},
	} {
		_, err := db.Query(context.Background(), &tt.give)
		wantError[*qtypes.ValidationException](t, err, tt.want)
	}
	token := aws.String(strings.Repeat("t", 32))
	for range 2 {
		if _, err := db.Query(context.Background(), &timestreamquery.QueryInput{QueryString: aws.String("SELECT 1"), ClientToken: token}); err != nil {
			t.Error(err)
		}
	}
	_, err := db.Query(context.Background(), &timestreamquery.QueryInput{QueryString: aws.String("SELECT 2"), ClientToken: token})
	wantError[*qtypes.ValidationException](t, err, "ClientToken")
}

func TestMetadataIsNotMetered(t *testing.T) {
	db := open(t)
	for _, sql := range []string{"SHOW DATABASES", `SHOW TABLES FROM "` + database + `"`, `DESCRIBE "` + database + `"."` + table + `"`} {
		out, err := query(db, sql, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if out.QueryStatus.CumulativeBytesMetered != 0 || len(out.Rows) == 0 {
			t.Errorf("%s: got %+v", sql, out.QueryStatus)
		}
	}
}

func TestCancelQuery(t *testing.T) {
	db := open(t)
	many(t, db, 30)
	sql := "SELECT time " + from
	first, err := query(db, sql, 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"was cancelled", "already cancelled"} {
		out, err := db.CancelQuery(context.Background(), &timestreamquery.CancelQueryInput{QueryId: first.QueryId})
		if err != nil || !strings.Contains(*out.CancellationMessage, want) {
			t.Errorf("got %v, %v; want %q", out, err, want)
		}
	}
	_, err = query(db, sql, 10, first.NextToken)
	wantError[*qtypes.ConflictException](t, err, "cancelled")
	_, err = db.CancelQuery(context.Background(), &timestreamquery.CancelQueryInput{QueryId: aws.String("AENOSUCH")})
	wantError[*qtypes.ValidationException](t, err, "not running")
}

func TestOpenResultsAreBounded(t *testing.T) {
	var db *local.DB
	var tokens []*string
	var err error
	for idle := 300 * time.Millisecond; err == nil; idle *= 4 { // a busy machine may need longer for three statements
		db = open(t, func(c *local.Config) { c.OpenResults, c.ResultIdle = 2, idle })
		many(t, db, 30)
		tokens = nil
		for range 2 {
			out, err := query(db, "SELECT time "+from, 10, nil)
			if err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, out.NextToken)
		}
		if _, err = query(db, "SELECT time "+from, 10, nil); idle > 20*time.Second {
			break
		}
	}
	wantError[*qtypes.ThrottlingException](t, err, "--query.open-results")
	deadline := time.Now().Add(2 * time.Minute)
	for { // the idle ones end by themselves
		if _, err := query(db, "SELECT time "+from, 10, nil); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("idle results are not closed")
		}
		time.Sleep(20 * time.Millisecond)
	}
	_, err = query(db, "SELECT time "+from, 10, tokens[0])
	wantError[*qtypes.ValidationException](t, err, "Invalid pagination token")
}

// TestResultsReadToTheEndMakeRoom: they are kept for a client that asks for the last page again, but not at the cost of others.
func TestResultsReadToTheEndMakeRoom(t *testing.T) {
	db := open(t, func(c *local.Config) { c.OpenResults = 2 })
	many(t, db, 30)
	unread, err := query(db, "SELECT time "+from, 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		out, err := query(db, "SELECT time "+from, 10, nil)
		for err == nil && out.NextToken != nil {
			out, err = query(db, "SELECT time "+from, 10, out.NextToken)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if s, err := db.Status(t.Context()); err != nil || s.OpenResults != 1 {
		t.Errorf("%d results are said to be open, %v; one was not read to its end", s.OpenResults, err)
	}
	if _, err := query(db, "SELECT time "+from, 10, unread.NextToken); err != nil {
		t.Errorf("the one that was not read: %v", err)
	}
}

func TestQueryHeedsItsContext(t *testing.T) {
	db := open(t)
	many(t, db, 3000)
	ended, end := context.WithCancel(context.Background())
	end()
	sql := aws.String("SELECT time " + from)
	if _, err := db.Query(ended, &timestreamquery.QueryInput{QueryString: sql}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	first, err := query(db, *sql, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Query(ended, &timestreamquery.QueryInput{QueryString: sql, NextToken: first.NextToken}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	// A call that never began has spent nothing.
	if out, err := query(db, *sql, 0, first.NextToken); err != nil || len(out.Rows) != 1000 {
		t.Errorf("got %v", err)
	}
}

func TestDeniedActions(t *testing.T) {
	db := open(t, func(c *local.Config) { c.AllowActions = []string{"WriteRecords", "Select", "DescribeEndpoints"} })
	mustWrite(t, db, rec("up", "1", 0, "host", "a"))
	if got := rows(t, db, "SELECT count(*) "+from); got[0][0] != "1" {
		t.Errorf("got %v", got)
	}
	for _, sql := range []string{"SELECT 1", "SHOW DATABASES", `SHOW TABLES FROM "` + database + `"`, `SHOW MEASURES FROM "` + database + `"."` + table + `"`, `DESCRIBE "` + database + `"."` + table + `"`} {
		_, err := query(db, sql, 0, nil)
		wantError[*qtypes.AccessDeniedException](t, err, "is not authorized to perform: timestream:")
	}
	_, err := db.DescribeTable(context.Background(), &timestreamwrite.DescribeTableInput{DatabaseName: aws.String(database), TableName: aws.String(table)})
	wantError[*wtypes.AccessDeniedException](t, err, "timestream:DescribeTable")
}

// TestReadersAndWriters checks under load that a query sees all that was acknowledged before it began, and never part of a
// request.
func TestReadersAndWriters(t *testing.T) {
	t.Run("one part", func(t *testing.T) { testReadersAndWriters(t, open(t)) })
	// Parts are sealed, rewritten and merged all the time.
	t.Run("many parts", func(t *testing.T) {
		db := open(t, func(c *local.Config) { c.SmallParts(700, 300, 3, nil) })
		testReadersAndWriters(t, db)
		db.AwaitRewritten(t)
		if _, runs, _ := db.Parts(t); runs == 0 {
			t.Error("nothing was rewritten")
		}
	})
}

func testReadersAndWriters(t *testing.T, db *local.DB) {
	const writers, requests = 4, 40
	var wg sync.WaitGroup
	errs := make(chan error, 2*writers)
	for w := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			host := strconv.Itoa(w)
			sql := fmt.Sprintf("SELECT count(*) %s WHERE host = '%s'", from, host)
			for n := range requests {
				var recs []wtypes.Record
				for i := range 50 {
					recs = append(recs, rec("m"+strconv.Itoa(i), strconv.Itoa(n), time.Duration(n-requests)*time.Second, "host", host))
				}
				if _, err := write(db, recs...); err != nil {
					errs <- err
					return
				}
				p, err := query(db, sql, 0, nil)
				if err != nil {
					errs <- err
					return
				}
				if got, want := *p.Rows[0].Data[0].ScalarValue, strconv.Itoa((n+1)*50); got != want {
					errs <- fmt.Errorf("host %s: got %s rows after %s were acknowledged", host, got, want)
					return
				}
			}
		}()
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Add(1)
		go func() {
			defer readers.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				p, err := query(db, "SELECT host, time, count(*) "+from+" GROUP BY host, time HAVING count(*) <> 50", 0, nil)
				if err == nil && len(p.Rows) > 0 {
					err = fmt.Errorf("part of a request is visible: %d", len(p.Rows))
				}
				if err != nil && !strings.Contains(err.Error(), "Column 'host' does not exist") { // before the first write
					errs <- err
					return
				}
			}
		}()
	}
	wg.Wait()
	close(stop)
	readers.Wait()
	select {
	case err := <-errs:
		t.Error(err)
	default:
	}
}

func TestControlPlane(t *testing.T) {
	db := open(t)
	ctx := context.Background()
	for i := range 25 {
		if _, err := db.CreateDatabase(ctx, &timestreamwrite.CreateDatabaseInput{DatabaseName: aws.String(fmt.Sprintf("db-%02d", i)), KmsKeyId: aws.String("it's a key")}); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	in := &timestreamwrite.ListDatabasesInput{MaxResults: aws.Int32(10)}
	for {
		out, err := db.ListDatabases(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range out.Databases {
			names = append(names, *d.DatabaseName)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if len(names) != 26 || names[0] != database || names[25] != "db-24" {
		t.Errorf("got %v", names)
	}
	_, err := db.CreateDatabase(ctx, &timestreamwrite.CreateDatabaseInput{DatabaseName: aws.String(database)})
	wantError[*wtypes.ConflictException](t, err, "resource that already exists")
	_, err = db.CreateTable(ctx, &timestreamwrite.CreateTableInput{DatabaseName: aws.String(database), TableName: aws.String(table)})
	wantError[*wtypes.ConflictException](t, err, "resource that already exists")
	for _, bad := range []string{"ab", "a b c", strings.Repeat("x", 257), "tab'le", "naïve"} {
		_, err = db.CreateTable(ctx, &timestreamwrite.CreateTableInput{DatabaseName: aws.String(database), TableName: &bad})
		wantError[*wtypes.ValidationException](t, err, "tableName")
	}
	created, err := db.CreateTable(ctx, &timestreamwrite.CreateTableInput{DatabaseName: aws.String("db-00"), TableName: aws.String(strings.Repeat("x", 256))})
	if err != nil {
		t.Fatal(err)
	}
	if c := created.Table; *c.RetentionProperties.MemoryStoreRetentionPeriodInHours != 6 || *c.RetentionProperties.MagneticStoreRetentionPeriodInDays != 73000 ||
		*c.MagneticStoreWriteProperties.EnableMagneticStoreWrites || c.TableStatus != "ACTIVE" || c.Schema.CompositePartitionKey[0].Type != "MEASURE" ||
		!strings.HasPrefix(*c.Arn, "arn:aws:timestream:us-east-1:000000000000:database/db-00/table/x") {
		t.Errorf("got %+v", c)
	}
	d, err := db.DescribeDatabase(ctx, &timestreamwrite.DescribeDatabaseInput{DatabaseName: aws.String("db-00")})
	if err != nil || d.Database.TableCount != 1 || *d.Database.KmsKeyId != "it's a key" {
		t.Errorf("got %+v, %v", d, err)
	}
	_, err = db.DeleteDatabase(ctx, &timestreamwrite.DeleteDatabaseInput{DatabaseName: aws.String("db-00")})
	wantError[*wtypes.ValidationException](t, err, "tables")
	if _, err = db.DeleteTable(ctx, &timestreamwrite.DeleteTableInput{DatabaseName: aws.String("db-00"), TableName: created.Table.TableName}); err != nil {
		t.Error(err)
	}
	if _, err = db.DeleteDatabase(ctx, &timestreamwrite.DeleteDatabaseInput{DatabaseName: aws.String("db-00")}); err != nil {
		t.Error(err)
	}
	_, err = db.DescribeDatabase(ctx, &timestreamwrite.DescribeDatabaseInput{DatabaseName: aws.String("db-00")})
	wantError[*wtypes.ResourceNotFoundException](t, err, "db-00")
	for _, bad := range []wtypes.RetentionProperties{
		{MemoryStoreRetentionPeriodInHours: aws.Int64(0), MagneticStoreRetentionPeriodInDays: aws.Int64(1)},
		{MemoryStoreRetentionPeriodInHours: aws.Int64(8767), MagneticStoreRetentionPeriodInDays: aws.Int64(1)},
		{MemoryStoreRetentionPeriodInHours: aws.Int64(1), MagneticStoreRetentionPeriodInDays: aws.Int64(73001)},
		{MemoryStoreRetentionPeriodInHours: aws.Int64(1)},
	} {
		_, err = db.UpdateTable(ctx, &timestreamwrite.UpdateTableInput{DatabaseName: aws.String(database), TableName: aws.String(table), RetentionProperties: &bad})
		wantError[*wtypes.ValidationException](t, err, "etention")
	}
	_, err = db.CreateTable(ctx, &timestreamwrite.CreateTableInput{DatabaseName: aws.String(database), TableName: aws.String("keys"),
		Schema: &wtypes.Schema{CompositePartitionKey: []wtypes.PartitionKey{{Type: "MEASURE"}, {Type: "DIMENSION", Name: aws.String("host")}}}})
	wantError[*wtypes.ValidationException](t, err, "You have specified too many partition keys to be used in your composite partition key. Only 1 partition keys can be specified.")
	if _, err = db.CreateTable(ctx, &timestreamwrite.CreateTableInput{DatabaseName: aws.String(database), TableName: aws.String("keys"),
		Schema: &wtypes.Schema{CompositePartitionKey: []wtypes.PartitionKey{{Type: "DIMENSION", Name: aws.String("host"), EnforcementInRecord: "REQUIRED"}}}}); err != nil {
		t.Fatal(err)
	}
	_, err = db.WriteRecords(ctx, &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String(database), TableName: aws.String("keys"), Records: []wtypes.Record{rec("up", "1", 0, "job", "a")}})
	wantError[*wtypes.ValidationException](t, err, "partition key")
	// A table that is created anew starts empty.
	mustWrite(t, db, rec("up", "1", 0, "host", "a"))
	if _, err = db.DeleteTable(ctx, &timestreamwrite.DeleteTableInput{DatabaseName: aws.String(database), TableName: aws.String(table)}); err != nil {
		t.Fatal(err)
	}
	_, err = write(db, rec("up", "1", 0, "host", "a"))
	wantError[*wtypes.ResourceNotFoundException](t, err, table)
	if _, err = db.CreateTable(ctx, &timestreamwrite.CreateTableInput{DatabaseName: aws.String(database), TableName: aws.String(table)}); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, db, typed(rec("up", "1", 0, "host", "a"), "BIGINT"))
	if got := rows(t, db, "SELECT * "+from); len(got) != 1 || got[0][3] != "1" {
		t.Errorf("got %v", got)
	}
	tables, err := db.ListTables(ctx, &timestreamwrite.ListTablesInput{DatabaseName: aws.String(database)})
	if err != nil || len(tables.Tables) != 2 || *tables.Tables[1].TableName != "keys" {
		t.Errorf("got %+v, %v", tables, err)
	}
	_, err = db.ListTables(ctx, &timestreamwrite.ListTablesInput{DatabaseName: aws.String("nosuch")})
	wantError[*wtypes.ResourceNotFoundException](t, err, "nosuch")
}
