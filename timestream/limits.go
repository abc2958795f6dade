// SPDX-License-Identifier: Apache-2.0

// Package timestream holds what both services know of Amazon Timestream for LiveAnalytics: its limits here, the layout
// of Prometheus series in promschema, the SQL dialect in tssql, the clients in client, and the acceptance suite in
// timestreamtest. It talks to no server and keeps no state.
package timestream

// Limits of the service, from the Timestream Developer Guide, page "Quotas in Amazon Timestream for LiveAnalytics"
// (ts-limits), unless another source is named.
const (
	// MaxRecordsPerWrite is the number of records in one WriteRecords request.
	MaxRecordsPerWrite = 100
	// MaxDimensionsPerTable is the number of distinct dimension names in one table.
	MaxDimensionsPerTable = 128
	// MaxMeasureNamesPerTable is the number of distinct measure names in one table.
	MaxMeasureNamesPerTable = 8192
	// MaxAttributesPerTable is the number of distinct attribute names of multi-measure records in one table.
	MaxAttributesPerTable = 1024
	// MaxAttributesPerRecord is the number of values in one multi-measure record.
	MaxAttributesPerRecord = 256
	// MaxDimensionNameBytes is the length of a dimension name.
	MaxDimensionNameBytes = 60
	// MaxMeasureNameBytes is the length of a measure name or attribute name.
	MaxMeasureNameBytes = 256
	// MaxPairBytes is the size of one dimension, name and value together. Read strictly, it bounds the sum over all
	// dimensions of a record ("Maximum record size", "Dimension name/value pair size per series").
	MaxPairBytes = 2048
	// MaxValueBytes is the size of one VARCHAR measure value. Read strictly, it bounds the sum over all measure
	// values of a record.
	MaxValueBytes = 2048
	// MinNameBytes is the least length of a database or table name (API reference, CreateDatabase).
	MinNameBytes = 3
	// MaxNameBytes is the length of a database or table name.
	MaxNameBytes = 256
	// MaxQueryBytes is the length of a query string: 256 KiB.
	MaxQueryBytes = 256 << 10
	// MaxRowsPerPage is the number of rows in one page of a query result (API reference, Query, MaxRows).
	MaxRowsPerPage = 1000
	// MaxPageBytes is the size of one page of a query result, and of one row (API reference, Query).
	MaxPageBytes = 1 << 20
	// MaxTimeMs is the last whole millisecond that a record time can hold: the times are nanoseconds in an int64.
	MaxTimeMs = 9_223_372_036_854
)

// Names that no column may have ("system identifiers").
const (
	ColumnTime         = "time"
	ColumnMeasureName  = "measure_name"
	ColumnMeasureValue = "measure_value"
)
