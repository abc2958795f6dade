// SPDX-License-Identifier: Apache-2.0

package local

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/local/internal/meter"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
	"github.com/tributary-project/tributary/timestream/metering"
)

// What the workload would cost is a table that can be queried and not written to, "timestream_local"."cost", with a row for each table. Its
// database is in no list. A database of that name cannot be created; should a file have one, it is what the name means.

const (
	systemDatabase = "timestream_local"
	costTable      = "cost"
	// maxCostTables bounds the tables that are told apart, in the table and in the metrics: the first ones.
	maxCostTables = 1000
)

const textSystem = "The database " + systemDatabase + " is timestream-local's own: it can be queried, nothing else."

// CostConfig is how what a workload would cost is counted.
type CostConfig struct {
	// Rule is the reading by which bytes are counted where prices are made of them.
	Rule   metering.Rule
	Prices metering.Prices
	// PricingModel is by what queries are charged until UpdateAccountSettings says otherwise. The service has BYTES_SCANNED for accounts from
	// before 2024-04-29 only, and no way back to it (Developer Guide, tcu).
	PricingModel qtypes.QueryPricingModel
}

// RegisterFlags registers the flags, with the present values as defaults.
func (c *CostConfig) RegisterFlags(fs *flag.FlagSet, prefix string) {
	fs.Var(&c.Rule, prefix+"cost.rule", "How bytes are counted for prices: guide (the Developer Guide's formula: names count; the highest), announced (names are free, as AWS announced in 2022) or least (also, a dimension that repeats in a request counts once).")
	fs.Var((*pricingModelFlag)(&c.PricingModel), prefix+"cost.pricing-model", "The account's QueryPricingModel until UpdateAccountSettings changes it: COMPUTE_UNITS, or BYTES_SCANNED for an account from before 2024-04-29.")
	const list = " in US dollars; the default is a list price of us-east-1"
	for _, p := range []struct {
		price      *float64
		name, help string
	}{
		{&c.Prices.WriteMillionUnits, "write-million-units", "Price of a million write units of 1 KiB" + list + " (2020)."},
		{&c.Prices.MemoryGBHour, "memory-gb-hour", "Price of a GB in the memory store for an hour" + list + " (2020)."},
		{&c.Prices.MagneticGBMonth, "magnetic-gb-month", "Price of a GB in the magnetic store for a month" + list + " (2020)."},
		{&c.Prices.QueryGB, "query-gb", "Price of a GB scanned, for accounts with the pricing model BYTES_SCANNED," + list + " (2020)."},
		{&c.Prices.TCUHour, "tcu-hour", "Price of a compute unit for an hour, for accounts with the pricing model COMPUTE_UNITS," + list + " (2026, of a secondary source)."},
	} {
		fs.Float64Var(p.price, prefix+"price."+p.name, *p.price, p.help)
	}
}

// validate names the flags with impossible values; name makes a flag's name.
func (c *CostConfig) validate(name func(string) string) error {
	var errs []error
	if c.Rule < 0 || c.Rule >= metering.Rules {
		errs = append(errs, fmt.Errorf("%s=%v: want guide, announced or least", name("cost.rule"), c.Rule))
	}
	if !slices.Contains(c.PricingModel.Values(), c.PricingModel) {
		errs = append(errs, fmt.Errorf("%s=%q: %s", name("cost.pricing-model"), c.PricingModel, textPricingModel))
	}
	p := &c.Prices
	for i, v := range []float64{p.WriteMillionUnits, p.MemoryGBHour, p.MagneticGBMonth, p.QueryGB, p.TCUHour} {
		if v < 0 || math.IsNaN(v) || math.IsInf(v, 0) {
			errs = append(errs, fmt.Errorf("%s=%v: want a price in US dollars", name("price."+[]string{"write-million-units", "memory-gb-hour", "magnetic-gb-month", "query-gb", "tcu-hour"}[i]), v))
		}
	}
	return errors.Join(errs...)
}

const textPricingModel = "want COMPUTE_UNITS or BYTES_SCANNED"

// pricingModelFlag is a flag's value.
type pricingModelFlag qtypes.QueryPricingModel

func (m *pricingModelFlag) String() string { return string(*m) }

func (m *pricingModelFlag) Set(s string) error {
	if model := qtypes.QueryPricingModel(s); !slices.Contains(model.Values(), model) {
		return errors.New(textPricingModel)
	}
	*m = pricingModelFlag(s)
	return nil
}

// isSystem tells whether a statement's table is one of ours.
func isSystem(t sqlplan.Table) bool { return t.Database == systemDatabase && t.Name == costTable }

// isCost tells whether a name means the table of costs.
func (db *DB) isCost(database, name string) bool {
	return database == systemDatabase && name == costTable && db.cat.database(systemDatabase) == nil
}

// costRow is what one table, or what is left, would cost.
type costRow struct {
	database, table string
	usage           meter.Usage
	// unitHours are compute units times hours.
	unitHours float64
	// memory and magnetic are the table's retention.
	memory, magnetic time.Duration
}

// costs returns a row for each table, by name, and last the one of what belongs to none of them, without names: statements that read no table,
// tables that were deleted, and those beyond maxCostTables.
func (db *DB) costs(now time.Time) []costRow {
	rest := costRow{usage: db.meters.rest.Usage(now)}
	var rows []costRow
	for i, t := range db.tables() {
		t.age(now)
		u := t.meter.Usage(now)
		if i >= maxCostTables {
			rest.usage.Add(&u)
			continue
		}
		p := t.props.Load()
		rows = append(rows, costRow{database: t.database, table: t.name, usage: u, memory: p.memory(), magnetic: p.magnetic()})
	}
	slices.SortFunc(rows, func(a, b costRow) int {
		return cmp.Or(strings.Compare(a.database, b.database), strings.Compare(a.table, b.table))
	})
	rows = append(rows, rest)
	// The statements of all tables share compute units, so each has a part by the time that its own ran, a millisecond at least.
	weight := func(r *costRow) float64 {
		return max(r.usage.Read.Busy.Seconds(), float64(r.usage.Read.Queries)/1000)
	}
	all := 0.0
	for i := range rows {
		all += weight(&rows[i])
	}
	if all > 0 {
		hours := db.meters.compute.UnitTime(now).Hours()
		for i := range rows {
			rows[i].unitHours = hours * weight(&rows[i]) / all
		}
	}
	return rows
}

// dollars are the prices of a row.
type dollars struct{ writes, memory, magnetic, scanned, compute, queries float64 }

func (d *dollars) total() float64 { return d.writes + d.memory + d.magnetic + d.queries }

// cost is what a row has cost so far.
func (db *DB) cost(r *costRow) (d dollars) {
	rule, prices, u := db.cfg.Cost.Rule, &db.cfg.Cost.Prices, &r.usage
	d.writes = prices.Writes(float64(u.Written.Units[rule]))
	d.memory = prices.Memory(u.MemoryHours.Of(rule))
	d.magnetic = prices.Magnetic(u.MagneticHours.Of(rule))
	d.scanned = prices.Scanned(float64(u.Read.Metered))
	d.compute = prices.Compute(r.unitHours)
	d.queries = db.queriesCost(&d)
	return d
}

// queriesCost is that of the account's pricing model.
func (db *DB) queriesCost(d *dollars) float64 {
	if db.pricingModel(db.account.Load()) == qtypes.QueryPricingModelBytesScanned {
		return d.scanned
	}
	return d.compute
}

// month is what a month would cost if it went on like this: writes and queries as often as they were on average, the memory store as full as
// its retention then makes it, the magnetic store with what there is now and, on average over the month, half of what comes in
// it, or as full as its own retention lets it be.
func (db *DB) month(r *costRow, sofar *dollars) (d dollars) {
	rule, prices, u := db.cfg.Cost.Rule, &db.cfg.Cost.Prices, &r.usage
	hours := u.Metered.Hours()
	factor := metering.HoursPerMonth / hours
	perHour := float64(rule.Of(u.Fresh.Size)) / hours
	d.writes = sofar.writes * factor
	d.scanned, d.compute = sofar.scanned*factor, sofar.compute*factor
	d.queries = db.queriesCost(&d)
	d.memory = prices.Memory(perHour * r.memory.Hours() * metering.HoursPerMonth)
	magnetic := float64(rule.Of(u.Stored.Size)) + perHour*metering.HoursPerMonth/2
	if full := perHour * r.magnetic.Hours(); r.magnetic.Hours() < metering.HoursPerMonth && full > 0 {
		magnetic = min(magnetic, full)
	}
	d.magnetic = prices.Magnetic(magnetic * metering.HoursPerMonth)
	return d
}

// costColumns are the columns of the table, in order. Their values are SQL.
var costColumns = []struct {
	name, attribute string
	scalar          sqlplan.Scalar
	value           func(r *costRow, now time.Time, sofar, month *dollars) string
}{
	{"database_name", "DIMENSION", sqlplan.Varchar, func(r *costRow, _ time.Time, _, _ *dollars) string { return nameSQL(r.database) }},
	{"table_name", "DIMENSION", sqlplan.Varchar, func(r *costRow, _ time.Time, _, _ *dollars) string { return nameSQL(r.table) }},
	{"measure_name", "MEASURE_NAME", sqlplan.Varchar, func(*costRow, time.Time, *dollars, *dollars) string { return literal(costTable) }},
	{"time", "TIMESTAMP", sqlplan.Timestamp, func(_ *costRow, now time.Time, _, _ *dollars) string { return whole(now.UnixNano()) }},
	{"since", "MULTI", sqlplan.Timestamp, func(r *costRow, _ time.Time, _, _ *dollars) string { return whole(r.usage.Since.UnixNano()) }},
	{"metered_hours", "MULTI", sqlplan.Double, of(func(r *costRow) float64 { return r.usage.Metered.Hours() })},
	{"write_requests", "MULTI", sqlplan.Bigint, counted(func(r *costRow) int64 { return r.usage.Written.Requests })},
	{"records", "MULTI", sqlplan.Bigint, counted(func(r *costRow) int64 { return r.usage.Written.Records })},
	{"write_bytes", "MULTI", sqlplan.Bigint, counted(func(r *costRow) int64 { return r.usage.Written.Bytes[metering.Guide] })},
	{"write_bytes_without_names", "MULTI", sqlplan.Bigint, counted(func(r *costRow) int64 { return r.usage.Written.Bytes[metering.Announced] })},
	{"write_bytes_least", "MULTI", sqlplan.Bigint, counted(func(r *costRow) int64 { return r.usage.Written.Bytes[metering.Least] })},
	{"write_units", "MULTI", sqlplan.Bigint, counted(func(r *costRow) int64 { return r.usage.Written.Units[metering.Guide] })},
	{"write_units_without_names", "MULTI", sqlplan.Bigint, counted(func(r *costRow) int64 { return r.usage.Written.Units[metering.Announced] })},
	{"write_units_least", "MULTI", sqlplan.Bigint, counted(func(r *costRow) int64 { return r.usage.Written.Units[metering.Least] })},
	{"stored_records", "MULTI", sqlplan.Bigint, counted(func(r *costRow) int64 { return r.usage.Stored.Records })},
	{"memory_bytes", "MULTI", sqlplan.Bigint, counted(func(r *costRow) int64 { return r.usage.Memory.WithNames() })},
	{"memory_bytes_without_names", "MULTI", sqlplan.Bigint, counted(func(r *costRow) int64 { return r.usage.Memory.Values })},
	{"memory_gb_hours", "MULTI", sqlplan.Double, of(func(r *costRow) float64 { return r.usage.MemoryHours.Of(metering.Guide) / metering.GB })},
	{"memory_gb_hours_without_names", "MULTI", sqlplan.Double, of(func(r *costRow) float64 { return r.usage.MemoryHours.Values / metering.GB })},
	{"magnetic_bytes", "MULTI", sqlplan.Bigint, counted(func(r *costRow) int64 { return r.usage.Magnetic.WithNames() })},
	{"magnetic_bytes_without_names", "MULTI", sqlplan.Bigint, counted(func(r *costRow) int64 { return r.usage.Magnetic.Values })},
	{"magnetic_gb_months", "MULTI", sqlplan.Double, of(func(r *costRow) float64 {
		return r.usage.MagneticHours.Of(metering.Guide) / metering.GB / metering.HoursPerMonth
	})},
	{"magnetic_gb_months_without_names", "MULTI", sqlplan.Double, of(func(r *costRow) float64 { return r.usage.MagneticHours.Values / metering.GB / metering.HoursPerMonth })},
	{"query_count", "MULTI", sqlplan.Bigint, counted(func(r *costRow) int64 { return r.usage.Read.Queries })},
	{"query_bytes_scanned", "MULTI", sqlplan.Bigint, counted(func(r *costRow) int64 { return r.usage.Read.Scanned })},
	{"query_bytes_metered", "MULTI", sqlplan.Bigint, counted(func(r *costRow) int64 { return r.usage.Read.Metered })},
	{"tcu_hours", "MULTI", sqlplan.Double, of(func(r *costRow) float64 { return r.unitHours })},
	{"writes_usd", "MULTI", sqlplan.Double, paid(func(d *dollars) float64 { return d.writes })},
	{"memory_usd", "MULTI", sqlplan.Double, paid(func(d *dollars) float64 { return d.memory })},
	{"magnetic_usd", "MULTI", sqlplan.Double, paid(func(d *dollars) float64 { return d.magnetic })},
	{"queries_by_bytes_usd", "MULTI", sqlplan.Double, paid(func(d *dollars) float64 { return d.scanned })},
	{"queries_by_tcu_usd", "MULTI", sqlplan.Double, paid(func(d *dollars) float64 { return d.compute })},
	{"queries_usd", "MULTI", sqlplan.Double, paid(func(d *dollars) float64 { return d.queries })},
	{"total_usd", "MULTI", sqlplan.Double, paid((*dollars).total)},
	{"month_writes_usd", "MULTI", sqlplan.Double, monthly(func(d *dollars) float64 { return d.writes })},
	{"month_memory_usd", "MULTI", sqlplan.Double, monthly(func(d *dollars) float64 { return d.memory })},
	{"month_magnetic_usd", "MULTI", sqlplan.Double, monthly(func(d *dollars) float64 { return d.magnetic })},
	{"month_queries_usd", "MULTI", sqlplan.Double, monthly(func(d *dollars) float64 { return d.queries })},
	{"month_total_usd", "MULTI", sqlplan.Double, monthly((*dollars).total)},
}

type costValue = func(r *costRow, now time.Time, sofar, month *dollars) string

func counted(f func(*costRow) int64) costValue {
	return func(r *costRow, _ time.Time, _, _ *dollars) string { return whole(f(r)) }
}

func of(f func(*costRow) float64) costValue {
	return func(r *costRow, _ time.Time, _, _ *dollars) string { return fraction(f(r)) }
}

func paid(f func(*dollars) float64) costValue {
	return func(_ *costRow, _ time.Time, sofar, _ *dollars) string { return fraction(f(sofar)) }
}

func monthly(f func(*dollars) float64) costValue {
	return func(_ *costRow, _ time.Time, _, month *dollars) string {
		if month == nil {
			return "NULL::DOUBLE"
		}
		return fraction(f(month))
	}
}

func nameSQL(name string) string {
	if name == "" {
		return "NULL::VARCHAR"
	}
	return literal(name)
}

func whole(n int64) string { return strconv.FormatInt(n, 10) + "::BIGINT" }

func fraction(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) + "::DOUBLE" }

// leastMetered is the time that a rate is made of at least.
const leastMetered = time.Second

// costRelation is the table of costs as it is now.
func (db *DB) costRelation(now time.Time) *sqlplan.Relation {
	rel := &sqlplan.Relation{Database: systemDatabase, Table: costTable, Columns: make([]sqlplan.Column, len(costColumns))}
	var sql strings.Builder
	sql.WriteString("(VALUES ")
	for n, r := range db.costs(now) {
		if n > 0 && r.database == "" && r.usage.Read.Queries == 0 && r.usage.Written.Requests == 0 {
			continue // nothing is left
		}
		sofar := db.cost(&r)
		var month *dollars
		if r.usage.Metered >= leastMetered {
			d := db.month(&r, &sofar)
			month = &d
		}
		if n > 0 {
			sql.WriteString(", ")
		}
		for i := range costColumns {
			sql.WriteString([]string{"(", ", "}[min(i, 1)] + costColumns[i].value(&r, now, &sofar, month))
		}
		sql.WriteString(")")
	}
	sql.WriteString(")")
	rel.SQL = sql.String()
	for i, c := range costColumns {
		rel.Columns[i] = sqlplan.Column{Name: c.name, Type: sqlplan.ScalarOf(c.scalar), Attribute: c.attribute, SQL: "col" + strconv.Itoa(i)}
	}
	return rel
}
