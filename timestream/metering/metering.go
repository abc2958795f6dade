// SPDX-License-Identifier: Apache-2.0

// Package metering is how Amazon Timestream for LiveAnalytics measures what it is paid for: the bytes of records and of write requests,
// the units that writes are counted in, the least that a query is charged for, and list prices. It measures what it is shown; who
// keeps count of a workload is another's business.
package metering

// What values weigh in bytes (Developer Guide, "Metering and pricing", writes). Texts weigh their UTF-8 bytes.
const (
	TimeBytes    = 8
	NumberBytes  = 8 // a double, a bigint, a timestamp
	BooleanBytes = 1
)

// WriteUnit is what writes are counted in: each request's bytes, rounded up (same page).
const WriteUnit = 1024

// Queries that are paid by bytes scanned are charged for whole megabytes and for at least ten (pricing page; answers of the service show
// 10,000,000 for the smallest).
const (
	QueryUnit = 1_000_000
	QueryMin  = 10 * QueryUnit
)

// GB is what storage and queries are priced by. Whether the service's GB are these or 2^30 bytes, 7 % more, is not documented; the MB
// of its queries are decimal.
const GB = 1_000_000_000

// HoursPerMonth makes a month of 30 days.
const HoursPerMonth = 720

// Size is the weight of something in bytes, with the names apart: the guide's formula counts them, and AWS announced in July 2022 that the
// names of dimensions and measures are no longer charged for, in writes, in storage and in queries. Nobody has published which of the two a bill shows.
type Size struct {
	// Values are times, values of dimensions and values of measures.
	Values int64
	// Names are names of dimensions, of measures, and of the attributes of multi-measure records.
	Names int64
}

// Time adds a record's time.
func (s *Size) Time() { s.Values += TimeBytes }

// Dimension adds a dimension.
func (s *Size) Dimension(name, value string) {
	s.Names += int64(len(name))
	s.Values += int64(len(value))
}

// MeasureName adds the name of a measure.
func (s *Size) MeasureName(name string) { s.Names += int64(len(name)) }

// Value adds the value of a measure; typ is the API's word for its type, DOUBLE when it is empty.
func (s *Size) Value(typ, value string) { s.Values += int64(ValueBytes(typ, value)) }

// Attribute adds one value of a multi-measure record. That its name counts like the name of a measure is our reading.
func (s *Size) Attribute(name, typ, value string) {
	s.MeasureName(name)
	s.Value(typ, value)
}

// Add adds another size.
func (s *Size) Add(o Size) {
	s.Values += o.Values
	s.Names += o.Names
}

// Sub takes a size away.
func (s *Size) Sub(o Size) {
	s.Values -= o.Values
	s.Names -= o.Names
}

// Times returns n of it.
func (s Size) Times(n int64) Size { return Size{s.Values * n, s.Names * n} }

// WithNames is the size by the guide's formula.
func (s Size) WithNames() int64 { return s.Values + s.Names }

// ValueBytes is the weight of a measure's value, given as the API's text for it; typ as in Size.Value.
func ValueBytes(typ, value string) int {
	switch typ {
	case "VARCHAR":
		return len(value)
	case "BOOLEAN":
		return BooleanBytes
	}
	return NumberBytes
}

// Units are the write units of one request of so many bytes.
func Units(bytes int64) int64 { return (bytes + WriteUnit - 1) / WriteUnit }

// Query is what a query that scanned so many bytes is charged for, where queries are paid by bytes. That it is rounded up rather than to the
// nearest megabyte is our reading.
func Query(scanned int64) int64 {
	return max(QueryMin, (scanned+QueryUnit-1)/QueryUnit*QueryUnit)
}
