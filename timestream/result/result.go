// SPDX-License-Identifier: Apache-2.0

// Package result is the rows of a query as one who reads many samples wants them: times and values as numbers, texts
// without a copy of each, and how those texts that are times and numbers are read. Whether rows come out of the JSON of a
// page or out of a database in the same process is left to those who make them, and what they mean to those who read them.
package result

// Kind is what a column of a result holds.
type Kind uint8

// The kinds of columns.
const (
	// Scalar is one value of any scalar type.
	Scalar Kind = iota
	// Doubles is a time series of doubles.
	Doubles
	// Texts is a time series of varchars.
	Texts
)

// Point is a point of a time series of doubles.
type Point struct {
	// T is milliseconds since 1970 UTC, rounded down.
	T int64
	V float64
}

// TextPoint is a point of a time series of varchars.
type TextPoint struct {
	// T is milliseconds since 1970 UTC, rounded down.
	T    int64
	Text []byte
}

// Cell is one value of a row.
type Cell struct {
	Null bool
	// Text is a scalar as the service writes it (Timestream Developer Guide, supported-data-types): `1.0`, `true`,
	// `2020-08-08 01:00:00.000000000`.
	Text []byte
	// Points and Texts are time series in order of time; two points may have the same time.
	Points []Point
	Texts  []TextPoint
}

// Row is one row. All that it holds is valid until the next row is asked for.
type Row []Cell

// Stats is what a statement took.
type Stats struct {
	// Pages is how many pages of a result were read; 0 where there are none.
	Pages int64
	// MeteredBytes is what the service charges for.
	MeteredBytes int64
}
