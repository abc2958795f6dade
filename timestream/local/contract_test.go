// SPDX-License-Identifier: Apache-2.0

package local_test

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local"
)

// TestTagsAndSettingsOutliveTheProcess: they are in the file, and go from it with what they belong to.
func TestTagsAndSettingsOutliveTheProcess(t *testing.T) {
	ctx := context.Background()
	cfg := local.DefaultConfig()
	cfg.Dir = t.TempDir()
	reopen := func(db *local.DB) *local.DB {
		t.Helper()
		if db != nil {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
		db, err := local.Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	db := reopen(nil)
	defer func() { _ = db.Close() }()
	name, tab := aws.String("tagged"), aws.String("tab")
	tags := []wtypes.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b'"), Value: aws.String("")}}
	if _, err := db.CreateDatabase(ctx, &timestreamwrite.CreateDatabaseInput{DatabaseName: name, Tags: tags[:1]}); err != nil {
		t.Fatal(err)
	}
	created, err := db.CreateTable(ctx, &timestreamwrite.CreateTableInput{DatabaseName: name, TableName: tab, Tags: tags[:1]})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.TagResource(ctx, &timestreamwrite.TagResourceInput{ResourceARN: created.Table.Arn, Tags: tags}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.UpdateAccountSettings(ctx, &timestreamquery.UpdateAccountSettingsInput{MaxQueryTCU: aws.Int32(12)}); err != nil {
		t.Fatal(err)
	}
	list := func(arn *string) []wtypes.Tag {
		t.Helper()
		out, err := db.ListTagsForResource(ctx, &timestreamwrite.ListTagsForResourceInput{ResourceARN: arn})
		if err != nil {
			t.Fatal(err)
		}
		return out.Tags
	}
	db = reopen(db)
	if got := list(created.Table.Arn); !reflect.DeepEqual(got, tags) {
		t.Errorf("got %v", got)
	}
	settings, err := db.DescribeAccountSettings(ctx, &timestreamquery.DescribeAccountSettingsInput{})
	if err != nil || *settings.MaxQueryTCU != 12 {
		t.Errorf("got %+v, %v", settings, err)
	}
	if _, err := db.UntagResource(ctx, &timestreamwrite.UntagResourceInput{ResourceARN: created.Table.Arn, TagKeys: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	db = reopen(db)
	if got := list(created.Table.Arn); !reflect.DeepEqual(got, tags[1:]) {
		t.Errorf("got %v", got)
	}
	if _, err := db.DeleteTable(ctx, &timestreamwrite.DeleteTableInput{DatabaseName: name, TableName: tab}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.DeleteDatabase(ctx, &timestreamwrite.DeleteDatabaseInput{DatabaseName: name}); err != nil {
		t.Fatal(err)
	}
	db = reopen(db)
	d, err := db.CreateDatabase(ctx, &timestreamwrite.CreateDatabaseInput{DatabaseName: name})
	if err != nil {
		t.Fatal(err)
	}
	if got := list(d.Database.Arn); len(got) != 0 {
		t.Errorf("a database made anew has %v", got)
	}
}

// heavy is a statement that takes more than a few milliseconds over many records.
const heavy = "SELECT count(*) FROM (SELECT a.time AS x, b.time AS y FROM \"" + database + "\"." + table + " a CROSS JOIN \"" + database + "\"." + table + " b) WHERE x < y"

// TestCallsEndInTime: a call does not wait for a page longer than it may; the next goes on waiting for the same one.
func TestCallsEndInTime(t *testing.T) {
	db := open(t, func(c *local.Config) { c.CallTime = time.Millisecond })
	many(t, db, 3000)
	out, err := query(db, heavy, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out.NextToken == nil || len(out.Rows) != 0 || len(out.ColumnInfo) != 1 || out.QueryStatus.ProgressPercentage == 100 {
		t.Fatalf("got %+v", out)
	}
	id := *out.QueryId
	for out.NextToken != nil {
		if len(out.Rows) != 0 {
			t.Fatalf("got %+v with a token", out.Rows)
		}
		token := out.NextToken
		if out, err = query(db, heavy, 0, token); err != nil {
			t.Fatal(err)
		}
	}
	if len(out.Rows) != 1 || *out.Rows[0].Data[0].ScalarValue != "4498500" || *out.QueryId != id || out.QueryStatus.ProgressPercentage != 100 {
		t.Errorf("got %+v", out)
	}
	// A statement that nobody waits for ends when it is cancelled, and its place is free again.
	for range local.DefaultConfig().QueryConcurrency + 1 {
		if out, err = query(db, heavy, 0, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := db.CancelQuery(context.Background(), &timestreamquery.CancelQueryInput{QueryId: out.QueryId}); err != nil {
			t.Fatal(err)
		}
		_, err = query(db, heavy, 0, out.NextToken)
		wantError[*qtypes.ConflictException](t, err, "cancelled")
	}
}

func TestStatementsEndInTime(t *testing.T) {
	db := open(t, func(c *local.Config) { c.QueryTime = time.Millisecond })
	many(t, db, 3000)
	_, err := query(db, heavy, 0, nil)
	wantError[*qtypes.QueryExecutionException](t, err, "The query ran longer than 1ms (--query.timeout).")
}

func TestResultSize(t *testing.T) {
	db := open(t, func(c *local.Config) { c.MaxResultBytes = 50_000 })
	many(t, db, 2000)
	sql := "SELECT measure_value::double " + from
	if _, err := query(db, sql+" LIMIT 1000", 0, nil); err != nil {
		t.Fatal(err)
	}
	first, err := query(db, sql, 500, nil)
	if err != nil {
		t.Fatal(err)
	}
	for token := first.NextToken; ; {
		out, err := query(db, sql, 500, token)
		if err != nil {
			wantError[*qtypes.QueryExecutionException](t, err, "The result of the query exceeds the limit of 50000 bytes.")
			break
		}
		if token = out.NextToken; token == nil {
			t.Fatal("there was no error")
		}
	}
}

func TestMetadataSize(t *testing.T) {
	db := open(t)
	columns := func(n int) string { return "SELECT 1" + strings.Repeat(", 1", n-1) }
	// {"Type":{"ScalarType":"INTEGER"},"Name":"_col1234"}, is 52 bytes.
	if _, err := query(db, columns(1900), 0, nil); err != nil {
		t.Error(err)
	}
	_, err := query(db, columns(2100), 0, nil)
	wantError[*qtypes.ValidationException](t, err, "exceeds the limit of 102400")
}

func TestClientTokens(t *testing.T) {
	now := clock
	db := open(t, func(c *local.Config) { c.Now = func() time.Time { return now } })
	token := aws.String(strings.Repeat("t", 64))
	ask := func(sql string, maxRows *int32) error {
		_, err := db.Query(context.Background(), &timestreamquery.QueryInput{QueryString: &sql, ClientToken: token, MaxRows: maxRows})
		return err
	}
	for _, step := range []struct {
		after   time.Duration
		sql     string
		maxRows *int32
		want    string
	}{
		{0, "SELECT 1", nil, ""},
		{time.Minute, "SELECT 1", nil, ""},
		{time.Minute, "SELECT 2", nil, "The ClientToken was used before with other parameters."},
		{time.Minute, "SELECT 1", aws.Int32(10), "The ClientToken was used before with other parameters."},
		{2 * time.Minute, "SELECT 1", nil, "The ClientToken was used before, more than 5m0s ago."},
		{3*time.Hour + 55*time.Minute - time.Nanosecond, "SELECT 1", nil, "The ClientToken was used before, more than 5m0s ago."},
		{time.Nanosecond, "SELECT 2", nil, ""},
		{time.Second, "SELECT 2", nil, ""},
	} {
		now = now.Add(step.after)
		err := ask(step.sql, step.maxRows)
		if step.want == "" && err != nil {
			t.Errorf("%v: %v", now.Sub(clock), err)
		} else if step.want != "" {
			wantError[*qtypes.ValidationException](t, err, step.want)
		}
	}
}
