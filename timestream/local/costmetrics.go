// SPDX-License-Identifier: Apache-2.0

package local

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-project/tributary/timestream/metering"
)

// costMetrics shows what was metered, by table. What belongs to no table, or to one beyond maxCostTables, has empty names.
type costMetrics struct {
	db    *DB
	descs map[string]*prometheus.Desc
	list  []costMetric
}

type costMetric struct {
	name, help string
	typ        prometheus.ValueType
	// label is another label than database and table, whose values each are in values.
	label  string
	values func(db *DB, r *costRow, add func(value float64, label ...string))
}

var _ prometheus.Collector = (*costMetrics)(nil)

func newCostMetrics(db *DB) *costMetrics {
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	one := func(f func(r *costRow) float64) func(*DB, *costRow, func(float64, ...string)) {
		return func(_ *DB, r *costRow, add func(float64, ...string)) { add(f(r)) }
	}
	byRule := func(f func(r *costRow, rule metering.Rule) float64, rules metering.Rule) func(*DB, *costRow, func(float64, ...string)) {
		return func(_ *DB, r *costRow, add func(float64, ...string)) {
			for rule := range rules {
				add(f(r, rule), rule.String())
			}
		}
	}
	const rules = "rule=guide counts names, as the Developer Guide says; announced does not, as AWS announced in 2022"
	m := &costMetrics{db: db, descs: map[string]*prometheus.Desc{}, list: []costMetric{
		{"write_requests_total", "WriteRecords requests of which a record was accepted.", counter, "", one(func(r *costRow) float64 { return float64(r.usage.Written.Requests) })},
		{"records_total", "Records accepted by WriteRecords, duplicates too (CloudWatch: NumberOfRecords).", counter, "", one(func(r *costRow) float64 { return float64(r.usage.Written.Records) })},
		{"write_bytes_total", "Bytes written, before rounding (CloudWatch: CumulativeBytesMetered of WriteRecords): 8 for a time, names and values of dimensions and measures, 8 for a number, 1 for a boolean; what is common counts once. " + rules + "; least also counts a dimension that repeats in a request once.", counter, "rule",
			byRule(func(r *costRow, rule metering.Rule) float64 { return float64(r.usage.Written.Bytes[rule]) }, metering.Rules)},
		{"write_units_total", "Write units: the bytes of each request in KiB, rounded up. " + rules + "; least also counts a dimension that repeats in a request once.", counter, "rule",
			byRule(func(r *costRow, rule metering.Rule) float64 { return float64(r.usage.Written.Units[rule]) }, metering.Rules)},
		{"memory_bytes", "Bytes of the records in the memory store, each with all its dimensions. " + rules + ".", gauge, "rule",
			byRule(func(r *costRow, rule metering.Rule) float64 { return float64(rule.Of(r.usage.Memory)) }, metering.Least)},
		{"magnetic_bytes", "Bytes of the records in the magnetic store. " + rules + ".", gauge, "rule",
			byRule(func(r *costRow, rule metering.Rule) float64 { return float64(rule.Of(r.usage.Magnetic)) }, metering.Least)},
		{"memory_byte_seconds_total", "Bytes in the memory store times the seconds they were there (CloudWatch: MemoryCumulativeBytesMetered; priced by the GB-hour). " + rules + ".", counter, "rule",
			byRule(func(r *costRow, rule metering.Rule) float64 { return r.usage.MemoryHours.Of(rule) * 3600 }, metering.Least)},
		{"magnetic_byte_seconds_total", "Bytes in the magnetic store times the seconds they were there (CloudWatch: MagneticCumulativeBytesMetered; priced by the GB-month, of 720 hours here). " + rules + ".", counter, "rule",
			byRule(func(r *costRow, rule metering.Rule) float64 { return r.usage.MagneticHours.Of(rule) * 3600 }, metering.Least)},
		{"queries_total", "Statements that read the table, but for SHOW and DESCRIBE.", counter, "", one(func(r *costRow) float64 { return float64(r.usage.Read.Queries) })},
		{"query_scanned_bytes_total", "Bytes that the statements scanned, estimated by the times and measure names they ask for.", counter, "", one(func(r *costRow) float64 { return float64(r.usage.Read.Scanned) })},
		{"query_bytes_total", "Bytes that the statements are charged for where queries are paid by bytes: rounded up to MB, 10 MB at least for a statement (CloudWatch: CumulativeBytesMetered of Query).", counter, "", one(func(r *costRow) float64 { return float64(r.usage.Read.Metered) })},
		{"tcu_seconds", "Seconds of compute units, estimated: four units for up to seven statements at a time, for 30 seconds at least. A table has its part by the time its statements ran, so this may fall when another's run.", gauge, "", one(func(r *costRow) float64 { return r.unitHours * 3600 })},
		{"cost_dollars", "What it would have cost since the last reset, at the prices of the flags (" + db.cfg.flag("price.…") + ", " + db.cfg.flag("cost.rule") + ").", gauge, "item", func(db *DB, r *costRow, add func(float64, ...string)) {
			d := db.cost(r)
			add(d.writes, "writes")
			add(d.memory, "memory")
			add(d.magnetic, "magnetic")
			add(d.queries, "queries")
		}},
	}}
	for _, c := range m.list {
		labels := []string{"database", "table"}
		if c.label != "" {
			labels = append(labels, c.label)
		}
		m.descs[c.name] = prometheus.NewDesc("timestream_local_metered_"+c.name, c.help, labels, nil)
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *costMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *costMetrics) Collect(ch chan<- prometheus.Metric) {
	rows := m.db.costs(m.db.now())
	for i := range rows {
		r := &rows[i]
		for _, c := range m.list {
			c.values(m.db, r, func(v float64, label ...string) {
				ch <- prometheus.MustNewConstMetric(m.descs[c.name], c.typ, v, append([]string{r.database, r.table}, label...)...)
			})
		}
	}
}
