// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/parquet"
	"github.com/tributary-project/tributary/timestream/tssql"
)

// ActionUnload is the IAM action of UNLOAD (Service Authorization Reference, Amazon Timestream). The query in it needs its own.
const ActionUnload = "Unload"

// Unload is an UNLOAD statement (Timestream Developer Guide, export-unload-concepts): the query whose rows are exported, where to, and how.
type Unload struct {
	// Query is the plan of the query. The plan of the statement has the same SQL and other columns.
	Query *Plan
	// Bucket and Prefix are the place; Prefix has no slash at its ends and may be empty.
	Bucket, Prefix string
	// Parquet tells the format from CSV.
	Parquet bool
	GZIP    bool
	// Delimiter, Escape and Header are of CSV.
	Delimiter, Escape byte
	Header            bool
	// Partitions is how many of the last columns choose a file's folder and are not in it.
	Partitions int
	// MaxFileBytes is about the largest size of a file.
	MaxFileBytes int64

	clock clock
	rows  Rows
}

// Limits of UNLOAD (Developer Guide, export-unload-concepts). That MB and GB are powers of two is our reading.
const (
	minUnloadFile = 16 << 20
	maxUnloadFile = 78 << 30
)

// unload compiles an UNLOAD statement. That options may be left out altogether, and that words are taken in either case, the guide does not say;
// AWS's own programs write them in lower case.
func (co *compiler) unload(s *tssql.Unload) {
	co.topQuery(s.Query)
	query := *co.plan
	u := &Unload{Query: &query, GZIP: true, Delimiter: ',', Escape: '\\', MaxFileBytes: maxUnloadFile}
	u.place(s)
	for i := range s.Options {
		o := &s.Options[i]
		if slices.ContainsFunc(s.Options[:i], func(b tssql.UnloadOption) bool { return strings.EqualFold(b.Name, o.Name) }) {
			fail(o.Pos, "The option '%s' appears more than once", o.Name)
		}
		u.option(o)
	}
	if u.Delimiter == u.Escape || u.Delimiter == '"' {
		fail(s.Pos, "The field delimiter, the escape character and the quote character must be different")
	}
	for _, c := range query.Columns {
		if !c.Type.exportable() {
			fail(s.Query.Pos, "The column '%s' has the type %s, which UNLOAD does not support", c.Name, c.Type)
		}
	}
	co.plan.Unload, co.plan.Action = u, ActionUnload
	co.plan.Columns = []OutputColumn{{"rows", ScalarOf(Bigint)}, {"metadataFile", ScalarOf(Varchar)}, {"manifestFile", ScalarOf(Varchar)}}
}

// place reads TO.
func (u *Unload) place(s *tssql.Unload) {
	path, ok := strings.CutPrefix(s.Place, "s3://")
	bucket, prefix, _ := strings.Cut(path, "/")
	if !ok || bucket == "" {
		fail(s.To, "The place '%.300s' is not of the form s3://bucket/folder", s.Place)
	}
	u.Bucket, u.Prefix = bucket, strings.Trim(prefix, "/")
}

func (u *Unload) option(o *tssql.UnloadOption) {
	name := strings.ToLower(o.Name)
	if (o.List != nil) != (name == "partitioned_by") {
		fail(o.Pos, "The value of the option '%s' is of the wrong type", o.Name)
	}
	word := func(words ...string) int {
		i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, o.Value) })
		if i < 0 {
			fail(o.Pos, "The option '%s' is '%.100s': it has to be %s", o.Name, o.Value, strings.Join(words, " or "))
		}
		return i
	}
	character := func() byte {
		v := o.Value
		if v == `\t` {
			v = "\t"
		}
		if len(v) != 1 || v[0] == 0 || v[0] >= 0x80 {
			fail(o.Pos, "The option '%s' is '%.100s': it has to be one character of ASCII", o.Name, o.Value)
		}
		return v[0]
	}
	switch name {
	case "format":
		u.Parquet = word("CSV", "PARQUET") == 1
	case "compression":
		u.GZIP = word("GZIP", "NONE") == 0
	case "encryption":
		word("SSE_S3", "SSE_KMS") // nothing here is encrypted
	case "kms_key":
	case "field_delimiter":
		u.Delimiter = character()
	case "escaped_by":
		u.Escape = character()
	case "include_header":
		u.Header = word("true", "false") == 0
	case "max_file_size":
		u.MaxFileBytes = fileSize(o)
	case "partitioned_by":
		u.partitions(o)
	default:
		fail(o.Pos, "The option '%.100s' is unknown", o.Name)
	}
}

// fileSize reads X[MB|GB], X with decimals or without.
func fileSize(o *tssql.UnloadOption) int64 {
	text, unit := strings.ToUpper(strings.TrimSpace(o.Value)), 0.0
	switch {
	case strings.HasSuffix(text, "MB"):
		unit = 1 << 20
	case strings.HasSuffix(text, "GB"):
		unit = 1 << 30
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimRight(text, "MGB")), 64)
	if size := n * unit; err == nil && size >= minUnloadFile && size <= maxUnloadFile {
		return int64(size)
	}
	fail(o.Pos, "The option '%s' is '%.100s': it has to be from 16MB to 78GB", o.Name, o.Value)
	return 0
}

// partitions checks the columns that choose folders (Developer Guide, export-unload-best-practices: they are the last columns of the query, in the same
// order).
func (u *Unload) partitions(o *tssql.UnloadOption) {
	columns, n := u.Query.Columns, len(o.List)
	for _, name := range o.List {
		if !slices.ContainsFunc(columns, func(c OutputColumn) bool { return c.Name == name }) {
			fail(o.Pos, "Column '%s' does not exist", name)
		}
	}
	if n >= len(columns) {
		fail(o.Pos, "All columns of the query are in partitioned_by: no column would be exported")
	}
	for i, name := range o.List {
		c := columns[len(columns)-n+i]
		if c.Name != name {
			fail(o.Pos, "The columns of partitioned_by have to be the last columns of the query, in the same order")
		}
		if c.Type.Scalar == "" {
			fail(o.Pos, "The column '%s' in partitioned_by is of type %s, which is no scalar", name, c.Type)
		}
	}
	u.Partitions = n
}

// exportable tells whether a type is none of those that UNLOAD does not have (Developer Guide, supported-sql-constructs.UNLOAD).
func (t *Type) exportable() bool {
	switch {
	case t.Series != nil:
		return t.Series.exportable()
	case t.Array != nil:
		return t.Array.exportable()
	}
	for i := range t.Row {
		if !t.Row[i].Type.exportable() {
			return false
		}
	}
	return t.Scalar != TimeOfDay && t.Scalar != Unknown
}

// AppendText appends what CSV has of column k in row i of a chunk: scalars as the Query API writes them, arrays, rows and time series as JSON. The
// second result is true for NULL, for which nothing is appended. Nothing of the columns is kept.
func (u *Unload) AppendText(dst []byte, columns []duck.Column, k, i int) (text []byte, null bool, err error) {
	if columns[k].IsNull(i) {
		return dst, true, nil
	}
	t := &u.Query.Columns[k].Type
	if t.Scalar == "" {
		dst, err = u.appendJSON(dst, t, &columns[k], i)
	} else {
		dst, err = u.appendPlain(dst, t, &columns[k], i)
	}
	if err != nil {
		return dst, false, u.Query.columnError(k, err)
	}
	return dst, false, nil
}

func (u *Unload) appendPlain(dst []byte, t *Type, c *duck.Column, i int) ([]byte, error) {
	if t.Scalar == Varchar {
		return append(dst, c.Bytes(i)...), nil
	}
	return appendScalar(dst, &u.clock, t, c.Value(i))
}

// appendJSON is the JSON of a value. Numbers and booleans are such; what JSON has no word for is a text.
func (u *Unload) appendJSON(dst []byte, t *Type, c *duck.Column, i int) ([]byte, error) {
	var err error
	switch {
	case c.IsNull(i):
		return append(dst, "null"...), nil
	case t.Series != nil:
		element := point(*t.Series)
		at, err := u.points(c, i)
		if err != nil {
			return nil, err
		}
		dst = append(dst, '[')
		for n, k := range at {
			if n > 0 {
				dst = append(dst, ',')
			}
			if dst, err = u.appendJSON(dst, &element, c.Elements(), k); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	case t.Array != nil:
		dst = append(dst, '[')
		from, n := c.List(i)
		for k := range n {
			if k > 0 {
				dst = append(dst, ',')
			}
			if dst, err = u.appendJSON(dst, t.Array, c.Elements(), from+k); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	case t.Row != nil:
		dst = append(dst, '{')
		for k := range t.Row {
			if k > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendJSONString(dst, []byte(FieldName(t, k))), ':')
			if dst, err = u.appendJSON(dst, &t.Row[k].Type, &c.Fields()[k], i); err != nil {
				return nil, err
			}
		}
		return append(dst, '}'), nil
	case t.Scalar == Varchar:
		return appendJSONString(dst, c.Bytes(i)), nil
	}
	start := len(dst)
	if dst, err = u.appendPlain(dst, t, c, i); err != nil {
		return nil, err
	}
	switch first := dst[len(dst)-1]; {
	case t.Scalar == Boolean, t.Scalar == Integer, t.Scalar == Bigint, t.Scalar == Double && first >= '0' && first <= '9':
		return dst, nil
	}
	quoted := string(dst[start:])
	return appendJSONString(dst[:start], []byte(quoted)), nil
}

// ParquetColumns are the columns of a Parquet file (Developer Guide, export-unload-best-practices: timestamps are of 12 bytes, a time series is an
// array of rows with time and value). Intervals, for which the format has nothing that fits, are texts.
func (u *Unload) ParquetColumns() []parquet.Node {
	columns := u.Query.Columns[:len(u.Query.Columns)-u.Partitions]
	out := make([]parquet.Node, len(columns))
	for i := range columns {
		out[i] = columns[i].Type.node(columns[i].Name)
	}
	return out
}

func (t *Type) node(name string) parquet.Node {
	n := parquet.Node{Name: name}
	switch {
	case t.Series != nil:
		p := point(*t.Series)
		n.Kind, n.Of = parquet.List, []parquet.Node{p.node("")}
	case t.Array != nil:
		n.Kind, n.Of = parquet.List, []parquet.Node{t.Array.node("")}
	case t.Row != nil:
		n.Kind = parquet.Group
		for k := range t.Row {
			n.Of = append(n.Of, t.Row[k].Type.node(FieldName(t, k)))
		}
	default:
		n.Kind = parquetKind(t.Scalar)
	}
	return n
}

func parquetKind(s Scalar) parquet.Kind {
	switch s {
	case Boolean:
		return parquet.Boolean
	case Integer:
		return parquet.Int32
	case Bigint:
		return parquet.Int64
	case Double:
		return parquet.Double
	case Timestamp:
		return parquet.Timestamp
	case Date:
		return parquet.Date
	}
	return parquet.Text
}

// ParquetValue is column k in row i of a chunk, as package parquet takes it. Nothing of the columns is kept.
func (u *Unload) ParquetValue(columns []duck.Column, k, i int) (any, error) {
	v, err := u.value(&u.Query.Columns[k].Type, &columns[k], i)
	if err != nil {
		return nil, u.Query.columnError(k, err)
	}
	return v, nil
}

func (u *Unload) value(t *Type, c *duck.Column, i int) (any, error) {
	list := func(elem *Type, at func(int) int, n int) (any, error) {
		out := make([]any, n)
		for k := range out {
			var err error
			if out[k], err = u.value(elem, c.Elements(), at(k)); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	switch {
	case c.IsNull(i):
		return nil, nil
	case t.Series != nil:
		at, err := u.points(c, i)
		if err != nil {
			return nil, err
		}
		element := point(*t.Series)
		return list(&element, func(k int) int { return at[k] }, len(at))
	case t.Array != nil:
		from, n := c.List(i)
		return list(t.Array, func(k int) int { return from + k }, n)
	case t.Row != nil:
		out := make([]any, len(t.Row))
		for k := range out {
			var err error
			if out[k], err = u.value(&t.Row[k].Type, &c.Fields()[k], i); err != nil {
				return nil, err
			}
		}
		return out, nil
	case t.Scalar == Varchar:
		return c.Bytes(i), nil
	}
	if parquetKind(t.Scalar) == parquet.Text {
		return u.appendPlain(nil, t, c, i)
	}
	if v, ok := c.Whole(i); ok {
		return v, nil
	}
	return c.Value(i), nil
}

// FieldName is the name of field k of a row, also of one that has none.
func FieldName(row *Type, k int) string {
	if name := row.Row[k].Name; name != "" {
		return name
	}
	return "field" + strconv.Itoa(k)
}

// points are the places of the points of a time series, in the order of time.
func (u *Unload) points(c *duck.Column, i int) ([]int, error) {
	if !c.IsList() || !c.Elements().IsStruct() || len(c.Elements().Fields()) != 2 {
		return nil, fmt.Errorf("a %T for a time series", c.Value(i))
	}
	fields := c.Elements().Fields()
	from, n := c.List(i)
	if fields[0].AnyNull(from, n) || fields[1].AnyNull(from, n) {
		return nil, errNullPoint()
	}
	at := make([]int, n)
	order := u.rows.order(fields[0].Int64s(from, n))
	for k := range at {
		at[k] = from + k
		if order != nil {
			at[k] = from + int(order[k])
		}
	}
	return at, nil
}
