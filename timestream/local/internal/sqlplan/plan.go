// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"errors"
	"time"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
)

// Catalog is what the compiler asks about the store. The answers must belong to one moment: a relation's SQL has to be
// valid when the plan runs.
type Catalog interface {
	// Relation returns the table's shape. ErrNoDatabase or ErrNoTable (possibly wrapped) become the service's texts with
	// the position of the name; any other error is returned as it is.
	Relation(database, table string) (*Relation, error)
	// Databases lists the names of all databases.
	Databases() []string
	// Tables lists the names of a database's tables; ErrNoDatabase as above.
	Tables(database string) ([]string, error)
	// Measures lists the measure names of a table; errors as in Relation.
	Measures(database, table string) ([]Measure, error)
}

// What a Catalog answers for a name that it does not hold.
var (
	ErrNoDatabase = errors.New("database does not exist")
	ErrNoTable    = errors.New("table does not exist")
)

// Relation is a Timestream table as SQL sees it.
type Relation struct {
	Database, Table string
	// SQL is a DuckDB FROM item: a view's name or a SELECT in parentheses, without an alias.
	SQL string
	// Columns are in `SELECT *` order: dimensions, measure_name, time, measure columns (Timestream Developer Guide,
	// data-modeling).
	Columns []Column
	// Halves are the two sides of the table, nil if they cannot be had apart.
	Halves Halves
}

// Column is one column of a Relation.
type Column struct {
	Name string
	Type Type
	// Attribute is what DESCRIBE says of it: DIMENSION, MEASURE_NAME, TIMESTAMP, MEASURE_VALUE or MULTI.
	Attribute string
	// SQL is the DuckDB expression for it, valid over Relation.SQL and without a table qualifier.
	SQL string
}

// Measure is one row of SHOW MEASURES.
type Measure struct {
	Name string
	// DataType is in lower case: double, bigint, varchar, boolean or multi.
	DataType string
	// Dimensions are the names of the dimensions seen with this measure.
	Dimensions []string
}

// Table names a table.
type Table struct{ Database, Name string }

// OutputColumn is one column of a result.
type OutputColumn struct {
	Name string
	Type Type
}

// The IAM actions that statements need (Timestream Developer Guide, security_iam_service-with-iam). SelectValues is for
// a SELECT that reads no table.
const (
	ActionSelect        = "Select"
	ActionSelectValues  = "SelectValues"
	ActionDescribeTable = "DescribeTable"
	ActionListMeasures  = "ListMeasures"
	ActionListTables    = "ListTables"
	ActionListDatabases = "ListDatabases"
)

// Plan is a compiled statement.
type Plan struct {
	Columns []OutputColumn
	// SQL is the DuckDB query; it is empty when Static holds the whole answer (SHOW, DESCRIBE).
	SQL    string
	Static [][]qtypes.Datum
	// Metered is false for the metadata statements, which the service does not charge for.
	Metered bool
	// Action is the IAM action that the statement needs, without the service prefix.
	Action string
	// Tables are the tables the statement reads, each once, in order of appearance. For SHOW TABLES FROM db the one
	// entry has an empty Name.
	Tables []Table
	// Reads are the items of FROM that are tables.
	Reads []Read
	// Unload, unless it is nil, says that the rows of SQL are not the result but are exported, and how. The columns are then those of the
	// one row that tells what was exported.
	Unload *Unload
	// Slices, unless it is nil, is how the statement may be run for some series after others.
	Slices *Slices
}

// Read is one table in a FROM, with what the WHERE clause of that SELECT says of the records it needs. What is said elsewhere, around a subquery
// or in a join's condition, is not in it.
type Read struct {
	Table
	// From and To bound the time in nanoseconds, both included.
	From, To int64
	// Measures are the measure names that are needed, nil for all.
	Measures []string
	// Dimensions are the values of dimensions that are needed, of those for which they are named.
	Dimensions map[string][]string
}

// Compile parses one statement, binds it to the catalog and translates it. The catalog is asked only during the call.
// now is what now() and ago() count from. A mistake in the statement is a *qtypes.ValidationException with the
// service's text.
func Compile(text string, c Catalog, now time.Time) (*Plan, error) {
	return CompileWith(text, c, now, nil)
}

// CompileWith is Compile for a statement with parameters, whose values are timestamps by their names: each stands for a constant of its value.
func CompileWith(text string, c Catalog, now time.Time, values map[string]time.Time) (*Plan, error) {
	co := compiler{given: values}
	if _, err := co.compile(text, c, now); err != nil {
		return nil, err
	}
	return co.plan, nil
}
