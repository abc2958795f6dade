// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tributary-project/tributary/timestream/metering"
)

// ask runs a statement and returns its rows as texts, NULL for one that is none, and its status.
func ask(t *testing.T, db *DB, sql string) ([][]string, *qtypes.QueryStatus) {
	t.Helper()
	out, err := db.Query(context.Background(), &timestreamquery.QueryInput{QueryString: &sql})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var rows [][]string
	for _, r := range out.Rows {
		var row []string
		for _, d := range r.Data {
			if d.ScalarValue == nil {
				row = append(row, "NULL")
				continue
			}
			row = append(row, *d.ScalarValue)
		}
		rows = append(rows, row)
	}
	return rows, out.QueryStatus
}

// askOne asks for one row.
func askOne(t *testing.T, db *DB, sql string) []string {
	t.Helper()
	rows, _ := ask(t, db, sql)
	if len(rows) != 1 {
		t.Fatalf("%s: %d rows: %v", sql, len(rows), rows)
	}
	return rows[0]
}

func numbers(t *testing.T, texts []string) []float64 {
	t.Helper()
	var out []float64
	for _, s := range texts {
		x, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, x)
	}
	return out
}

func wantNumbers(t *testing.T, what string, got []string, want ...float64) {
	t.Helper()
	for i, x := range numbers(t, got) {
		if math.Abs(x-want[i]) > 1e-9*math.Max(1, math.Abs(want[i])) {
			t.Errorf("%s: value %d is %v, want %v", what, i, x, want[i])
		}
	}
}

const cost = `"timestream_local"."cost"`

// What is stored costs for the hours it is kept, first in the memory store and then in the magnetic one, until its retention ends.
func TestStorageCost(t *testing.T) {
	m := openMetered(t, t.TempDir(), meterNoon)
	// A thousand events of 83 bytes, spread over the hour before noon, and as many of ten hours before.
	for n := range 10 {
		var batch, late []wtypes.Record
		for i := range 100 {
			batch = append(batch, event(n*100+i, meterNoon.Add(-30*time.Minute)))
			late = append(late, event(n*100+i, meterNoon.Add(-10*time.Hour)))
		}
		m.write(t, nil, batch...)
		m.write(t, nil, late...)
	}
	const bytes = 83_000.0
	columns := "SELECT stored_records, memory_bytes, magnetic_bytes, memory_gb_hours, magnetic_gb_months, memory_bytes_without_names, metered_hours FROM " + cost + " WHERE table_name = 'tab'"
	wantNumbers(t, "at once", askOne(t, m.DB, columns), 2000, bytes, bytes, 0, 0, 49_000, 0)
	m.now = m.now.Add(5 * time.Hour) // the memory store keeps six
	wantNumbers(t, "after five hours", askOne(t, m.DB, columns), 2000, bytes, bytes, 5*bytes/1e9, 5*bytes/1e9/720, 49_000, 5)
	m.now = m.now.Add(time.Hour / 2) // the hour of the events is half over the border
	wantNumbers(t, "at the border", askOne(t, m.DB, columns), 2000, bytes/2, bytes*1.5, 5.5*bytes/1e9, 5.5*bytes/1e9/720, 49_000/2, 5.5)
	m.now = m.now.Add(time.Hour / 2)
	wantNumbers(t, "after six hours", askOne(t, m.DB, columns), 2000, 0, 2*bytes, 5.75*bytes/1e9, 6.25*bytes/1e9/720, 0, 6)
	// A longer retention brings nothing back into the memory store.
	if _, err := m.UpdateTable(context.Background(), &timestreamwrite.UpdateTableInput{DatabaseName: aws.String("db1"), TableName: aws.String("tab"),
		RetentionProperties: &wtypes.RetentionProperties{MemoryStoreRetentionPeriodInHours: aws.Int64(24), MagneticStoreRetentionPeriodInDays: aws.Int64(1)}}); err != nil {
		t.Fatal(err)
	}
	wantNumbers(t, "with a longer retention", askOne(t, m.DB, columns), 2000, 0, 2*bytes, 5.75*bytes/1e9, 6.25*bytes/1e9/720, 0, 6)
	// The time that no process runs does not count; the records expire all the same.
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = openMetered(t, m.dir, m.now.Add(48*time.Hour-16*time.Hour+time.Hour))
	wantNumbers(t, "when the first have expired", askOne(t, m.DB, columns), 1000, 0, bytes, 5.75*bytes/1e9, 6.25*bytes/1e9/720, 0, 6)
	m.now = m.now.Add(24 * time.Hour)
	if err := m.DeleteExpired(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantNumbers(t, "when all have expired", askOne(t, m.DB, columns)[:3], 0, 0, 0)
	m.sameAsFile(t)
	// 83,000 bytes in the magnetic store for 6.25 hours, and the last half for 24 more.
	wantNumbers(t, "prices", askOne(t, m.DB, "SELECT memory_usd, magnetic_usd FROM "+cost+" WHERE table_name = 'tab'"),
		5.75*bytes/1e9*0.036, (6.25+24)*bytes/1e9/720*0.03)
}

// What a statement is charged for: by its times and measure names, ten megabytes at least; nothing for metadata and for costs.
func TestQueryCost(t *testing.T) {
	m := openMetered(t, t.TempDir(), meterNoon)
	// Two hours, two measure names of which the second has three times the records; 83 bytes each.
	for i := range 4 {
		for _, at := range []time.Duration{-30 * time.Minute, -90 * time.Minute} {
			r := event(i, meterNoon.Add(at))
			if i > 0 {
				r.MeasureName = aws.String("mem_utilization")
			}
			m.write(t, nil, r)
		}
	}
	const from = ` FROM db1.tab `
	for _, tt := range []struct {
		sql              string
		scanned, metered int64
	}{
		{"SELECT count(*)" + from, 8 * 83, 10_000_000},
		{"SELECT count(*)" + from + "WHERE time >= ago(1h)", 4 * 83, 10_000_000},
		{"SELECT count(*)" + from + "WHERE time BETWEEN ago(2h) AND ago(1h)", 4 * 83, 10_000_000},
		{"SELECT count(*)" + from + "WHERE measure_name = 'cpu_utilization'", 2 * 83, 10_000_000},
		{"SELECT count(*)" + from + "WHERE measure_name IN ('cpu_utilization', 'mem_utilization') AND ago(1h) <= time", 4 * 83, 10_000_000},
		{"SELECT count(*)" + from + "WHERE measure_name = 'mem_utilization' AND time > ago(1h) AND hostname = 'host-00001'", 3 * 83, 10_000_000},
		{"SELECT count(*)" + from + "WHERE measure_name = 'other'", 0, 10_000_000},
		{"SELECT count(*)" + from + "WHERE measure_name = 'cpu_utilization' OR time > ago(1h)", 8 * 83, 10_000_000},
		{"SELECT count(*) FROM db1.tab a JOIN db1.tab b ON a.time = b.time WHERE a.time > ago(1h) AND b.measure_name = 'cpu_utilization'", 4*83 + 2*83, 10_000_000},
		{"WITH x AS (SELECT * FROM db1.tab WHERE time > ago(1h)) SELECT count(*) FROM x a, x b", 4 * 83, 10_000_000},
		{"SELECT 1", 0, 10_000_000},
		{"SHOW TABLES FROM db1", 0, 0},
		{"DESCRIBE db1.tab", 0, 0},
		{"SHOW MEASURES FROM db1.tab", 0, 0},
		{"SELECT * FROM " + cost, 0, 0},
	} {
		_, status := ask(t, m.DB, tt.sql)
		// Parts of the hours are rounded down.
		if got := status.CumulativeBytesScanned; got > tt.scanned || got < tt.scanned-3 || status.CumulativeBytesMetered != tt.metered {
			t.Errorf("%s: scanned %d, metered %d; want %d and %d", tt.sql, got, status.CumulativeBytesMetered, tt.scanned, tt.metered)
		}
	}
	// Ten statements read the table, one none. They ran in no time, so together they have occupied four units for half a minute.
	got := askOne(t, m.DB, "SELECT query_count, query_bytes_metered FROM "+cost+" WHERE table_name = 'tab'")
	wantNumbers(t, "the table", got, 10, 10*10_000_000)
	got = askOne(t, m.DB, "SELECT query_count, query_bytes_scanned, query_bytes_metered FROM "+cost+" WHERE table_name IS NULL")
	wantNumbers(t, "no table", got, 1, 0, 10_000_000)
	got = askOne(t, m.DB, "SELECT sum(tcu_hours), sum(queries_by_tcu_usd), sum(queries_usd), sum(queries_by_bytes_usd) FROM "+cost)
	wantNumbers(t, "compute", got, 4*30/3600., 4*30/3600.*0.518, 4*30/3600.*0.518, 11*0.01*0.01)
	// A minute later another statement occupies them anew.
	m.now = m.now.Add(time.Minute)
	ask(t, m.DB, "SELECT count(*)"+from)
	wantNumbers(t, "compute", askOne(t, m.DB, "SELECT sum(tcu_hours) FROM "+cost), 8*30/3600.)
	if _, err := m.UpdateAccountSettings(context.Background(), &timestreamquery.UpdateAccountSettingsInput{MaxQueryTCU: aws.Int32(8)}); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	// An account from before 2024-04-29 pays for what is scanned, until it opts for compute units.
	m = openMetered(t, m.dir, m.now, func(c *Config) { c.Cost.PricingModel = qtypes.QueryPricingModelBytesScanned })
	wantNumbers(t, "an old account", askOne(t, m.DB, "SELECT sum(queries_usd) FROM "+cost), 12*0.01*0.01)
	if _, err := m.UpdateAccountSettings(context.Background(), &timestreamquery.UpdateAccountSettingsInput{QueryPricingModel: qtypes.QueryPricingModelComputeUnits}); err != nil {
		t.Fatal(err)
	}
	wantNumbers(t, "an account that opted", askOne(t, m.DB, "SELECT sum(queries_usd) FROM "+cost), 8*30/3600.*0.518)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = openMetered(t, m.dir, m.now, func(c *Config) { c.Cost.PricingModel = qtypes.QueryPricingModelBytesScanned })
	if s, err := m.DescribeAccountSettings(context.Background(), nil); err != nil || s.QueryPricingModel != qtypes.QueryPricingModelComputeUnits || *s.MaxQueryTCU != 8 {
		t.Errorf("the account after it opted: %+v, %v", s, err)
	}
	wantNumbers(t, "after a restart", askOne(t, m.DB, "SELECT sum(tcu_hours), sum(query_count) FROM "+cost), 8*30/3600., 12)
}

// The table of costs is one to read, and nothing else.
func TestCostTable(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := &metered{now: meterNoon, dir: t.TempDir()}
	cfg := DefaultConfig()
	cfg.Dir, cfg.DefaultDatabase, cfg.DefaultTable, cfg.Registerer = m.dir, "db1", "tab", reg
	cfg.Now = func() time.Time { return m.now }
	cfg.Cost.Prices.WriteMillionUnits, cfg.Cost.Rule = 100, metering.Announced
	var err error
	if m.DB, err = Open(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := m.CreateTable(context.Background(), &timestreamwrite.CreateTableInput{DatabaseName: aws.String("db1"), TableName: aws.String("another")}); err != nil {
		t.Fatal(err)
	}
	at := meterNoon.Add(-time.Minute)
	for i := range 20 {
		m.write(t, nil, event(i, at))
	}
	m.now = m.now.Add(time.Hour)
	rows, _ := ask(t, m.DB, "SELECT database_name, table_name, write_units, writes_usd, month_writes_usd FROM "+cost+" ORDER BY table_name")
	if len(rows) != 2 || rows[0][1] != "another" || rows[1][0] != "db1" || rows[1][1] != "tab" {
		t.Fatalf("got %v", rows)
	}
	wantNumbers(t, "writes", rows[1][2:], 20, 20e-6*100, 20e-6*100*720)
	got := askOne(t, m.DB, "SELECT count(*), sum(c.write_requests) FROM "+cost+" c JOIN (SELECT DISTINCT measure_name AS m FROM db1.tab) s ON s.m = 'cpu_utilization' WHERE c.write_units > 0 AND c.time > c.since")
	wantNumbers(t, "a join", got, 1, 20)
	described, _ := ask(t, m.DB, "DESCRIBE "+cost)
	if len(described) != len(costColumns) || strings.Join(described[0], " ") != "database_name varchar DIMENSION" || strings.Join(described[4], " ") != "since timestamp MULTI" {
		t.Errorf("described as %v", described)
	}
	if got := askOne(t, m.DB, "SHOW TABLES FROM timestream_local"); got[0] != "cost" {
		t.Errorf("tables %v", got)
	}
	if got := askOne(t, m.DB, "SHOW DATABASES"); got[0] != "db1" {
		t.Errorf("databases %v", got)
	}
	// month_* would be made of too little.
	if err := m.ResetCost(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := askOne(t, m.DB, "SELECT write_units, stored_records, month_total_usd FROM "+cost+" WHERE table_name = 'tab'"); strings.Join(got, " ") != "0 20 NULL" {
		t.Errorf("after a reset %v", got)
	}
	m.write(t, nil, event(20, at))

	name, tab := aws.String(systemDatabase), aws.String(costTable)
	_, write := m.WriteRecords(context.Background(), &timestreamwrite.WriteRecordsInput{DatabaseName: name, TableName: tab, Records: []wtypes.Record{event(0, at)}})
	_, create := m.CreateDatabase(context.Background(), &timestreamwrite.CreateDatabaseInput{DatabaseName: name})
	_, createTable := m.CreateTable(context.Background(), &timestreamwrite.CreateTableInput{DatabaseName: name, TableName: aws.String("mine")})
	_, drop := m.DeleteTable(context.Background(), &timestreamwrite.DeleteTableInput{DatabaseName: name, TableName: tab})
	_, dropDatabase := m.DeleteDatabase(context.Background(), &timestreamwrite.DeleteDatabaseInput{DatabaseName: name})
	for what, err := range map[string]error{"write": write, "create database": create, "create table": createTable, "delete table": drop, "delete database": dropDatabase} {
		var invalid *wtypes.ValidationException
		if !errors.As(err, &invalid) || *invalid.Message != textSystem {
			t.Errorf("%s: %v", what, err)
		}
	}

	// A deleted table has cost what it has cost.
	if _, err := m.DeleteTable(context.Background(), &timestreamwrite.DeleteTableInput{DatabaseName: aws.String("db1"), TableName: aws.String("tab")}); err != nil {
		t.Fatal(err)
	}
	wantNumbers(t, "the rest", askOne(t, m.DB, "SELECT write_units, stored_records FROM "+cost+" WHERE table_name IS NULL"), 1, 0)
	const want = `
# HELP timestream_local_metered_write_requests_total WriteRecords requests of which a record was accepted.
# TYPE timestream_local_metered_write_requests_total counter
timestream_local_metered_write_requests_total{database="",table=""} 1
timestream_local_metered_write_requests_total{database="db1",table="another"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "timestream_local_metered_write_requests_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg, "timestream_local_metered_write_units_total", "timestream_local_metered_memory_byte_seconds_total", "timestream_local_metered_tcu_seconds", "timestream_local_metered_cost_dollars"); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
