// SPDX-License-Identifier: Apache-2.0

// Package parquet writes files of the format Apache Parquet (https://parquet.apache.org/docs/file-format/): flat columns, lists and groups, all of them optional, in
// plain encoding, compressed by gzip or not. DuckDB writes such files, too, but no timestamps of 12 bytes, which is what those have that
// Timestream exports (Developer Guide, export-unload-best-practices).
//
// It leaves to its users which columns there are and where a file goes. Nothing here reads.
package parquet

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Kind is the kind of a node of the schema.
type Kind uint8

// The kinds. In brackets is the type of their values, which may be nil.
const (
	Boolean   Kind = iota // [bool]
	Int32                 // [int64]
	Int64                 // [int64]
	Double                // [float64]
	Text                  // [[]byte], UTF-8
	Timestamp             // [int64], nanoseconds since 1970, as INT96
	Date                  // [int64], days since 1970
	List                  // [[]any]
	Group                 // [[]any], one for each field
)

// Node is a column, or a part of one.
type Node struct {
	Name string
	Kind Kind
	// Of are the fields of a Group, or the one element of a List.
	Of []Node
}

// Types, repetitions, annotations, encodings and codecs of the format.
const (
	typeBoolean, typeInt32, typeInt64, typeInt96, typeDouble, typeBytes = 0, 1, 2, 3, 5, 6
	optional, repeated                                                  = 1, 2
	convertedUTF8, convertedList, convertedDate                         = 0, 3, 6
	encodingPlain, encodingRLE                                          = 0, 3
	codecNone, codecGZIP                                                = 0, 2
)

// julianEpoch is the Julian day of 1970-01-01.
const julianEpoch = 2440588

const magic = "PAR1"

// Writer writes one file.
type Writer struct {
	to      io.Writer
	at      int64
	columns []Node
	nodes   []node
	leaves  []*leaf
	codec   int
	zip     *gzip.Writer
	page    bytes.Buffer
	packed  bytes.Buffer
	rows    int64
	inGroup int64
	groups  []rowGroup
}

// node is a Node with its levels.
type node struct {
	Node
	rep    int
	kids   []node
	leaves []*leaf
}

// leaf is a column of values; levels and values are those of the row group in hand.
type leaf struct {
	path           []string
	kind           Kind
	maxRep, maxDef int
	reps, defs     []byte
	values         []byte
}

type rowGroup struct {
	rows   int64
	chunks []chunk
}

type chunk struct{ offset, values, size, packed int64 }

// NewWriter begins a file with these columns.
func NewWriter(to io.Writer, columns []Node, compress bool) (*Writer, error) {
	w := &Writer{to: to, columns: columns}
	if compress {
		w.codec = codecGZIP
		w.zip, _ = gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) //nolint:errcheck // the level is right
	}
	for _, c := range columns {
		w.nodes = append(w.nodes, w.node(c, nil, 0, 0))
	}
	return w, w.write([]byte(magic))
}

func (w *Writer) node(n Node, path []string, rep, def int) node {
	path = append(path[:len(path):len(path)], n.Name)
	def++ // every node is optional
	out := node{Node: n}
	switch n.Kind {
	case List:
		rep, def = rep+1, def+1
		e := n.Of[0]
		e.Name = "element"
		out.rep = rep
		out.kids = []node{w.node(e, append(path, "list"), rep, def)}
	case Group:
		for _, f := range n.Of {
			out.kids = append(out.kids, w.node(f, path, rep, def))
		}
	default:
		l := &leaf{path: path, kind: n.Kind, maxRep: rep, maxDef: def}
		w.leaves = append(w.leaves, l)
		out.leaves = []*leaf{l}
	}
	for i := range out.kids {
		out.leaves = append(out.leaves, out.kids[i].leaves...)
	}
	return out
}

// Row appends a row.
func (w *Writer) Row(values []any) error {
	for i := range w.nodes {
		if err := w.nodes[i].put(values[i], 0, 0); err != nil {
			return fmt.Errorf("column %q: %w", w.nodes[i].Name, err)
		}
	}
	w.rows++
	w.inGroup++
	return nil
}

// put appends a value to the columns below a node: its levels as Dremel has them.
func (n *node) put(v any, rep, def int) error {
	if v == nil {
		n.nothing(rep, def)
		return nil
	}
	def++
	switch n.Kind {
	case List:
		list, ok := v.([]any)
		switch {
		case !ok:
			return n.wrong(v)
		case len(list) == 0:
			n.nothing(rep, def)
		}
		for i, e := range list {
			if i > 0 {
				rep = n.rep
			}
			if err := n.kids[0].put(e, rep, def+1); err != nil {
				return err
			}
		}
		return nil
	case Group:
		fields, ok := v.([]any)
		if !ok || len(fields) != len(n.kids) {
			return n.wrong(v)
		}
		for i := range fields {
			if err := n.kids[i].put(fields[i], rep, def); err != nil {
				return err
			}
		}
		return nil
	}
	if !n.leaves[0].value(v) {
		return n.wrong(v)
	}
	n.nothing(rep, def)
	return nil
}

func (n *node) wrong(v any) error { return fmt.Errorf("a %T is no value of kind %d", v, n.Kind) }

// nothing appends levels to the columns below a node.
func (n *node) nothing(rep, def int) {
	for _, l := range n.leaves {
		l.reps, l.defs = append(l.reps, byte(rep)), append(l.defs, byte(def))
	}
}

// value appends a value in plain encoding, a boolean as one byte.
func (l *leaf) value(v any) bool {
	switch v := v.(type) {
	case bool:
		b := byte(0)
		if v {
			b = 1
		}
		l.values = append(l.values, b)
		return l.kind == Boolean
	case float64:
		l.values = binary.LittleEndian.AppendUint64(l.values, math.Float64bits(v))
		return l.kind == Double
	case []byte:
		l.values = append(binary.LittleEndian.AppendUint32(l.values, uint32(len(v))), v...)
		return l.kind == Text
	case int64:
		switch l.kind {
		case Int32, Date:
			l.values = binary.LittleEndian.AppendUint32(l.values, uint32(v))
		case Int64:
			l.values = binary.LittleEndian.AppendUint64(l.values, uint64(v))
		case Timestamp:
			const day = 24 * 60 * 60 * 1_000_000_000
			days := v / day
			if v%day < 0 {
				days--
			}
			l.values = binary.LittleEndian.AppendUint64(l.values, uint64(v-days*day))
			l.values = binary.LittleEndian.AppendUint32(l.values, uint32(days+julianEpoch))
		default:
			return false
		}
		return true
	}
	return false
}

// Buffered is the number of bytes of the row group in hand, which are in memory.
func (w *Writer) Buffered() int {
	n := 0
	for _, l := range w.leaves {
		n += len(l.values) + len(l.reps) + len(l.defs)
	}
	return n
}

// Flush ends the row group in hand.
func (w *Writer) Flush() error {
	if w.inGroup == 0 {
		return nil
	}
	g := rowGroup{rows: w.inGroup}
	for _, l := range w.leaves {
		c, err := w.chunk(l)
		if err != nil {
			return err
		}
		g.chunks = append(g.chunks, c)
		l.values, l.reps, l.defs = l.values[:0], l.reps[:0], l.defs[:0]
	}
	w.groups = append(w.groups, g)
	w.inGroup = 0
	return nil
}

// chunk writes a column of a row group, as one page.
func (w *Writer) chunk(l *leaf) (chunk, error) {
	w.page.Reset()
	if l.maxRep > 0 {
		levels(&w.page, l.reps)
	}
	levels(&w.page, l.defs)
	if l.kind == Boolean {
		w.page.Write(bits(l.values))
	} else {
		w.page.Write(l.values)
	}
	body := w.page.Bytes()
	if w.zip != nil {
		w.packed.Reset()
		w.zip.Reset(&w.packed)
		if _, err := w.zip.Write(body); err != nil {
			return chunk{}, err
		}
		if err := w.zip.Close(); err != nil {
			return chunk{}, err
		}
		body = w.packed.Bytes()
	}
	var t thrift
	t.i32(1, 0) // a data page
	t.i32(2, int64(w.page.Len()))
	t.i32(3, int64(len(body)))
	t.begin(5)
	t.i32(1, int64(len(l.defs)))
	t.i32(2, encodingPlain)
	t.i32(3, encodingRLE)
	t.i32(4, encodingRLE)
	t.end()
	t.stop()
	c := chunk{offset: w.at, values: int64(len(l.defs)), size: int64(len(t.b) + w.page.Len()), packed: int64(len(t.b) + len(body))}
	if err := w.write(t.b); err != nil {
		return chunk{}, err
	}
	return c, w.write(body)
}

// levels writes levels as runs, with their length before them. No level here needs more than a byte.
func levels(to *bytes.Buffer, levels []byte) {
	var b []byte
	for i := 0; i < len(levels); {
		n := 1
		for i+n < len(levels) && levels[i+n] == levels[i] {
			n++
		}
		b = append(binary.AppendUvarint(b, uint64(n)<<1), levels[i])
		i += n
	}
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], uint32(len(b)))
	to.Write(n[:])
	to.Write(b)
}

// bits packs booleans, the first in the lowest bit.
func bits(values []byte) []byte {
	b := make([]byte, (len(values)+7)/8)
	for i, v := range values {
		b[i/8] |= v << (i % 8)
	}
	return b
}

func (w *Writer) write(b []byte) error {
	n, err := w.to.Write(b)
	w.at += int64(n)
	return err
}

// Close ends the file; what it is written to stays open.
func (w *Writer) Close() error {
	if err := w.Flush(); err != nil {
		return err
	}
	var t thrift
	t.i32(1, 1)
	var schema thrift
	count := 1
	root := thrift{}
	root.text(4, "schema")
	root.i32(5, int64(len(w.columns)))
	root.stop()
	for _, c := range w.columns {
		count += schema.element(c)
	}
	t.list(2, thriftStruct, count)
	t.b = append(append(t.b, root.b...), schema.b...)
	t.i64(3, w.rows)
	t.list(4, thriftStruct, len(w.groups))
	for i := range w.groups {
		t.nested(func(t *thrift) { w.rowGroup(t, &w.groups[i]) })
	}
	t.text(6, "timestream-local")
	t.stop()
	t.b = binary.LittleEndian.AppendUint32(t.b, uint32(len(t.b)))
	return w.write(append(t.b, magic...))
}

func (w *Writer) rowGroup(t *thrift, g *rowGroup) {
	var size int64
	t.list(1, thriftStruct, len(g.chunks))
	for i, c := range g.chunks {
		size += c.size
		t.nested(func(t *thrift) {
			t.i64(2, c.offset)
			t.begin(3)
			w.leaves[i].metadata(t, &c, w.codec)
			t.end()
		})
	}
	t.i64(2, size)
	t.i64(3, g.rows)
}

func (l *leaf) metadata(t *thrift, c *chunk, codec int) {
	t.i32(1, int64(physical(l.kind)))
	t.list(2, thriftI32, 2)
	t.b = binary.AppendVarint(binary.AppendVarint(t.b, encodingPlain), encodingRLE)
	t.list(3, thriftBinary, len(l.path))
	for _, name := range l.path {
		t.b = append(binary.AppendUvarint(t.b, uint64(len(name))), name...)
	}
	t.i32(4, int64(codec))
	t.i64(5, c.values)
	t.i64(6, c.size)
	t.i64(7, c.packed)
	t.i64(9, c.offset)
}

func physical(k Kind) int {
	switch k {
	case Boolean:
		return typeBoolean
	case Int32, Date:
		return typeInt32
	case Int64:
		return typeInt64
	case Double:
		return typeDouble
	case Timestamp:
		return typeInt96
	}
	return typeBytes
}
