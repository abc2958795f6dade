// SPDX-License-Identifier: Apache-2.0

// Package tssql is the SQL dialect of Timestream for LiveAnalytics as a tree: nodes, a printer and a parser.
// It is the one quoting layer of this project: the query service builds nodes and prints them, timestream-local
// parses text and reads the nodes, and a round trip holds the two together. It knows no table, no column and
// no function; names are resolved and types are checked by whoever reads the tree.
package tssql

// Pos is a place in the source text. Line and Col count from 1, Col in characters, as Timestream's error texts
// do (`line 1:76: Column 'x' does not exist`). The zero Pos means a node that was built, not parsed.
type Pos struct{ Line, Col int }

// Position returns the place itself; embedding Pos gives a node this method.
func (p Pos) Position() Pos { return p }

// Node is anything that has a place in the source.
type Node interface{ Position() Pos }

// Statement is one whole statement.
type Statement interface {
	Node
	statement()
}

// Table names a table by database and table. Database may be empty in a FROM item only when Name is a common
// table expression.
type Table struct {
	Pos
	Database, Name string
}

// Query is a SELECT with what surrounds it.
type Query struct {
	Pos
	With    []CTE
	Body    Body
	OrderBy []OrderItem
	// Limit is the largest number of rows; nil means all.
	Limit *int64
}

// CTE is one WITH entry. Columns are the names given to the query's columns, nil without any.
type CTE struct {
	Pos
	Name    string
	Columns []string
	Query   *Query
}

// Body is what a query is made of: a Select, a SetOperation, Values, or a Query in parentheses that has a WITH, an order or a
// limit of its own.
type Body interface {
	Node
	body()
}

// SetOperation is L op R. Op is UNION, INTERSECT or EXCEPT; without All the rows of the result are distinct.
type SetOperation struct {
	Pos
	Op   string
	All  bool
	L, R Body
}

// Values is VALUES row, row …: a row of several columns is a Row, one of one column any other expression.
type Values struct {
	Pos
	Rows []Expr
}

// Select is one SELECT … FROM … WHERE … GROUP BY … HAVING block.
type Select struct {
	Pos
	Distinct bool
	Items    []Item
	// From is nil for a SELECT without a table.
	From    FromItem
	Where   Expr
	GroupBy []Expr
	// GroupAll is GROUP BY (): one group, also of no rows. Beside other keys it adds nothing.
	GroupAll bool
	Having   Expr
}

// Item is one entry of a select list. Star stands for `*`, or `t.*` with a Qualifier, and then Expr and Alias are empty.
type Item struct {
	Pos
	Star      bool
	Qualifier string
	Expr      Expr
	Alias     string
}

// OrderItem is one sort key. Nulls is empty for the engine's default, else "FIRST" or "LAST".
type OrderItem struct {
	Expr  Expr
	Desc  bool
	Nulls string
}

// FromItem is a source of rows.
type FromItem interface {
	Node
	fromItem()
}

// TableRef is a table, or a common table expression, in FROM. Columns are the names that the alias gives to the columns.
type TableRef struct {
	Table
	Alias   string
	Columns []string
}

// Subquery is a query in FROM.
type Subquery struct {
	Pos
	Query   *Query
	Alias   string
	Columns []string
}

// Unnest is UNNEST(list, …) in FROM: a row for each element, and for several lists as many as the longest has.
type Unnest struct {
	Pos
	Lists      []Expr
	Ordinality bool
	Alias      string
	Columns    []string
}

// Join is L kind JOIN R. Kind is CROSS, which has no condition and which a comma is too, or INNER, LEFT, RIGHT or FULL, which
// have either On or Using.
type Join struct {
	Pos
	Kind  string
	L, R  FromItem
	On    Expr
	Using []string
}

// Describe is DESCRIBE db.table.
type Describe struct {
	Pos
	Table Table
}

// Show is SHOW DATABASES, SHOW TABLES [FROM db] or SHOW MEASURES FROM db.table, each with an optional LIKE.
type Show struct {
	Pos
	What   ShowWhat
	From   Table   // Name empty for tables, both empty for databases
	Like   *string // nil without LIKE
	Escape *string // nil without ESCAPE
}

// ShowWhat is the object of a SHOW statement.
type ShowWhat string

// The objects that SHOW lists.
const (
	ShowDatabases ShowWhat = "DATABASES"
	ShowTables    ShowWhat = "TABLES"
	ShowMeasures  ShowWhat = "MEASURES"
)

// Unload is UNLOAD (query) TO 'place' WITH (option = value, …) (Timestream Developer Guide, export-unload-concepts). What places, options and
// values there may be is not this package's to know.
type Unload struct {
	Pos
	Query *Query
	// To is where TO's place stands.
	To      Pos
	Place   string
	Options []UnloadOption
}

// UnloadOption is one option: a string, or ARRAY['…', …] whose strings are List, which is not nil then.
type UnloadOption struct {
	Pos
	Name, Value string
	List        []string
}

func (*Unload) statement()   {}
func (*Query) statement()    {}
func (*Describe) statement() {}
func (*Show) statement()     {}
func (*Select) body()        {}
func (*SetOperation) body()  {}
func (*Values) body()        {}
func (*Query) body()         {}
func (*TableRef) fromItem()  {}
func (*Subquery) fromItem()  {}
func (*Unnest) fromItem()    {}
func (*Join) fromItem()      {}

// Expr is an expression.
type Expr interface {
	Node
	expr()
}

// Column is a column reference. `measure_value::double` is one name, `::` included.
type Column struct {
	Pos
	Qualifier string // table alias, or empty
	Name      string
}

// String is a string literal; Value is the text without quotes.
type String struct {
	Pos
	Value string
}

// Int is an integer literal; a minus sign right before the digits is part of it, as in Number and Interval.
type Int struct {
	Pos
	Value int64
}

// Number is a literal with a fraction or an exponent, kept as it was written.
type Number struct {
	Pos
	Text string
}

// Bool is TRUE or FALSE.
type Bool struct {
	Pos
	Value bool
}

// Null is NULL.
type Null struct{ Pos }

// Interval is an interval literal such as 5m or 1day: a count and its unit without a space.
type Interval struct {
	Pos
	Count int64
	Unit  string
}

// Typed is a typed constant such as TIMESTAMP '…', DATE '…', DOUBLE '…', INTERVAL '2' DAY (Type "INTERVAL DAY") or
// INTERVAL '3-11' YEAR TO MONTH, in upper case; other types are as they were written. A sign before an interval's text is part of it.
type Typed struct {
	Pos
	Type string
	Text string
}

// Parameter is @name, which stands for a value that is given later (API reference, PrepareQuery).
type Parameter struct {
	Pos
	Name string
}

// Unary is NOT x or -x. Op is "NOT" or "-".
type Unary struct {
	Pos
	Op string
	X  Expr
}

// Binary is x op y. Op is one of OR AND = <> < <= > >= + - * / % ||.
type Binary struct {
	Pos
	Op   string
	L, R Expr
}

// IsNull is x IS [NOT] NULL.
type IsNull struct {
	Pos
	X   Expr
	Not bool
}

// In is x [NOT] IN (list), or IN (query) when Query is set.
type In struct {
	Pos
	X     Expr
	Not   bool
	List  []Expr
	Query *Query
}

// Quantified is x op ALL (query) or x op ANY (query); SOME is ANY. Op is a comparison.
type Quantified struct {
	Pos
	Op    string
	X     Expr
	All   bool
	Query *Query
}

// Exists is EXISTS (query).
type Exists struct {
	Pos
	Query *Query
}

// Scalar is a query in the place of a value.
type Scalar struct {
	Pos
	Query *Query
}

// Array is ARRAY[…].
type Array struct {
	Pos
	Elems []Expr
}

// Row is ROW(…), which (a, b) is too.
type Row struct {
	Pos
	Elems []Expr
}

// Subscript is x[index].
type Subscript struct {
	Pos
	X, Index Expr
}

// Field is x.name where x is more than a name; a Column with a Qualifier may mean a field, too.
type Field struct {
	Pos
	X    Expr
	Name string
}

// Lambda is x -> body or (x, y) -> body, which stands only as an argument.
type Lambda struct {
	Pos
	Params []string
	Body   Expr
}

// Extract is EXTRACT(field FROM x).
type Extract struct {
	Pos
	Field string
	X     Expr
}

// Between is x [NOT] BETWEEN lo AND hi, both ends included.
type Between struct {
	Pos
	X      Expr
	Not    bool
	Lo, Hi Expr
}

// Like is x [NOT] LIKE pattern [ESCAPE escape].
type Like struct {
	Pos
	X       Expr
	Not     bool
	Pattern Expr
	Escape  Expr // nil without ESCAPE
}

// Case is CASE [operand] WHEN … THEN … [ELSE …] END.
type Case struct {
	Pos
	Operand Expr // nil for the searched form
	Whens   []When
	Else    Expr // nil without ELSE
}

// When is one branch of a Case.
type When struct{ Cond, Then Expr }

// Call is a function call. Names are compared without regard to case. Star is count(*); count() has no arguments
// and no star. CURRENT_TIMESTAMP and its like, which take no parentheses, are calls too, and POSITION(x IN y) is read as strpos(y, x).
type Call struct {
	Pos
	Name     string
	Distinct bool
	Star     bool
	Args     []Expr
	// Over is set for a window function.
	Over *Window
}

// Window is what follows OVER.
type Window struct {
	PartitionBy []Expr
	OrderBy     []OrderItem
	// Frame is nil for the default, RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW.
	Frame *Frame
}

// Frame is ROWS or RANGE BETWEEN Start AND End; one without an end ends at the current row.
type Frame struct {
	Pos
	Unit       string
	Start, End FrameBound
}

// FrameBound is an end of a frame: n PRECEDING, CURRENT ROW or n FOLLOWING; N is nil for the current row and for UNBOUNDED.
type FrameBound struct {
	Where string
	N     Expr
}

// The places of a FrameBound.
const (
	Preceding  = "PRECEDING"
	CurrentRow = "CURRENT ROW"
	Following  = "FOLLOWING"
)

// Cast is CAST(x AS type) or TRY_CAST(x AS type). Type is as it was written, without needless space.
type Cast struct {
	Pos
	X    Expr
	Type string
	Try  bool
}

func (*Quantified) expr() {}
func (*Exists) expr()     {}
func (*Scalar) expr()     {}
func (*Array) expr()      {}
func (*Row) expr()        {}
func (*Subscript) expr()  {}
func (*Field) expr()      {}
func (*Lambda) expr()     {}
func (*Extract) expr()    {}

func (*Parameter) expr() {}

func (*Column) expr()   {}
func (*String) expr()   {}
func (*Int) expr()      {}
func (*Number) expr()   {}
func (*Bool) expr()     {}
func (*Null) expr()     {}
func (*Interval) expr() {}
func (*Typed) expr()    {}
func (*Unary) expr()    {}
func (*Binary) expr()   {}
func (*IsNull) expr()   {}
func (*In) expr()       {}
func (*Between) expr()  {}
func (*Like) expr()     {}
func (*Case) expr()     {}
func (*Call) expr()     {}
func (*Cast) expr()     {}
