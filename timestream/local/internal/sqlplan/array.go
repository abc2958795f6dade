// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// maxSequence is Trino's bound on the entries of a sequence.
const maxSequence = 10000

// array binds ARRAY[…].
func (b *binder) array(e *tssql.Array) bound {
	xs := make([]bound, len(e.Elems))
	for i, x := range e.Elems {
		xs[i] = b.expr(x)
	}
	t, ok := common(xs...)
	if !ok {
		fail(e.Pos, "All ARRAY elements must be the same type: %s", xs[0].typ)
	}
	parts := make([]string, len(xs))
	for i, x := range xs {
		parts[i] = coerce(x, t, e.Elems[i].Position()).sql
	}
	return bound{sql: "CAST([" + strings.Join(parts, ", ") + "] AS " + duckType(Type{Array: &t}) + ")", typ: Type{Array: &t}}
}

// row binds ROW(…); its fields have no names.
func (b *binder) row(e *tssql.Row) bound {
	if len(e.Elems) > maxArgs {
		fail(e.Pos, "Too many arguments for function call row()")
	}
	xs := make([]bound, len(e.Elems))
	for i, x := range e.Elems {
		xs[i] = b.expr(x)
	}
	t := rowOf(xs)
	parts := make([]string, len(xs))
	for i, x := range xs {
		parts[i] = "'" + fieldKey(t, i) + "': CAST(" + x.sql + " AS " + duckType(x.typ) + ")"
	}
	return bound{sql: "{" + strings.Join(parts, ", ") + "}", typ: t}
}

// field binds x.name. The name of a table's column in full is read as a field of its table.
func (b *binder) field(e *tssql.Field) bound {
	if c, ok := e.X.(*tssql.Column); ok && c.Qualifier != "" {
		for i := range b.columns {
			x := &b.columns[i]
			if x.database != "" && x.database == c.Qualifier && x.qualifier == c.Name && x.name == e.Name {
				return b.node(&tssql.Column{Pos: c.Pos, Qualifier: c.Name, Name: e.Name})
			}
		}
	}
	return fieldOf(e.Pos, b.expr(e.X), e.Name)
}

func fieldOf(at tssql.Pos, x bound, name string) bound {
	if x.typ.Row == nil {
		fail(at, "Expression is not of type ROW: %s", x.typ)
	}
	for i, f := range x.typ.Row {
		if f.Name != "" && strings.EqualFold(f.Name, name) {
			return bound{sql: "struct_extract(" + x.sql + ", '" + fieldKey(x.typ, i) + "')", typ: f.Type}
		}
	}
	fail(at, "Field '%s' does not exist in %s", name, x.typ)
	return bound{}
}

// subscript binds x[index]: the element of an array, or a row's field by its place.
func (b *binder) subscript(e *tssql.Subscript) bound {
	x, i := b.expr(e.X), b.expr(e.Index)
	v, known := i.k.(int64)
	switch {
	case x.typ.Row != nil:
		if !known || v < 1 || v > int64(len(x.typ.Row)) {
			fail(e.Index.Position(), "Invalid subscript index of a row: it must be a literal between 1 and %d", len(x.typ.Row))
		}
		return bound{sql: "struct_extract(" + x.sql + ", '" + fieldKey(x.typ, int(v-1)) + "')", typ: x.typ.Row[v-1].Type}
	case x.typ.Array == nil || !coercible(i.typ, ScalarOf(Bigint)):
		fail(e.X.Position(), "Cannot use %s for subscript of %s", i.typ, x.typ)
	case known && v == 0:
		fail(e.Index.Position(), "SQL array indices start at 1")
	case known && v < 0:
		fail(e.Index.Position(), "Array subscript is negative: %d", v)
	}
	i = coerce(i, ScalarOf(Bigint), e.Index.Position())
	sql := b.let(x, func(x string) string {
		n := "CAST(" + i.sql + " AS VARCHAR)"
		return "(CASE WHEN " + i.sql + " = 0 THEN " + b.raise("SQL array indices start at 1") + " WHEN " + i.sql + " < 0 THEN " + b.raiseSQL("'Array subscript is negative: ' || "+n) +
			" WHEN " + i.sql + " > len(" + x + ") THEN " + b.raiseSQL("'Array subscript must be less than or equal to array length: ' || "+n+" || ' > ' || CAST(len("+x+") AS VARCHAR)") +
			" ELSE " + x + "[" + i.sql + "] END)"
	})
	return bound{sql: sql, typ: *x.typ.Array}
}

// joinArrays is l || r where at least one is an array and the other an array or an element.
func (b *binder) joinArrays(at tssql.Pos, l, r bound) bound {
	one := func(x bound) bound {
		if x.typ.Array != nil || x.typ.isScalar(Unknown) {
			return x
		}
		elem := x.typ
		return bound{sql: "[" + x.sql + "]", typ: Type{Array: &elem}}
	}
	t, ok := common(one(l), one(r))
	if !ok {
		fail(at, "'||' cannot be applied to %s, %s", l.typ, r.typ)
	}
	return bound{sql: "(" + coerce(one(l), t, at).sql + " || " + coerce(one(r), t, at).sql + ")", typ: t}
}

// arrayFunction returns the binder of a function of arrays (Timestream Developer Guide, array-functions); nil for others.
func (b *binder) arrayFunction(name string) func(*tssql.Call, []bound) bound {
	// nulls turns NULL literals where an array is expected into arrays of no type.
	nulls := func(args []bound) {
		for i := range args {
			if unknown := ScalarOf(Unknown); args[i].typ.isScalar(Unknown) {
				args[i] = coerce(args[i], Type{Array: &unknown}, tssql.Pos{})
			}
		}
	}
	array := func(c *tssql.Call, args []bound, n int, expected string) Type {
		nulls(args[:min(1, len(args))])
		if len(args) != n || args[0].typ.Array == nil {
			mismatch(c, args, expected)
		}
		return *args[0].typ.Array
	}
	both := func(c *tssql.Call, args []bound) (bound, bound) {
		expected := name + "(array(E), array(E))"
		array(c, args, 2, expected)
		t, ok := common(args...)
		if !ok || t.Array == nil || !t.comparable() {
			mismatch(c, args, expected)
		}
		return coerce(args[0], t, c.Pos), coerce(args[1], t, c.Pos)
	}
	// distinct keeps the first of equal elements and one NULL, in order; DuckDB's own loses both.
	distinct := func(x bound) string {
		return b.let(x, func(x string) string {
			p, i := b.co.param(), b.co.param()
			return "list_filter(" + x + ", lambda " + p + ", " + i + ": list_position(" + x + ", " + p + ") = " + i + ")"
		})
	}
	contains := func(list, x string) string { return "(list_position(" + list + ", " + x + ") IS NOT NULL)" }
	// search is the array and the value to look for in their common type.
	search := func(c *tssql.Call, args []bound) (bound, bound) {
		expected := name + "(array(E), E)"
		elem := array(c, args, 2, expected)
		t, ok := comparison(bound{typ: elem}, args[1])
		if !ok {
			mismatch(c, args, expected)
		}
		return coerce(args[0], Type{Array: &t}, c.Pos), coerce(args[1], t, c.Pos)
	}
	switch name {
	case "cardinality":
		return func(c *tssql.Call, args []bound) bound {
			array(c, args, 1, "cardinality(array(E))")
			return bound{sql: "len(" + args[0].sql + ")", typ: ScalarOf(Bigint)}
		}
	case "element_at":
		return func(c *tssql.Call, args []bound) bound {
			const expected = "element_at(array(E), bigint)"
			elem := array(c, args, 2, expected)
			if !coercible(args[1].typ, ScalarOf(Bigint)) {
				mismatch(c, args, expected)
			}
			i := coerce(args[1], ScalarOf(Bigint), c.Pos)
			if v, ok := i.k.(int64); ok && v == 0 {
				fail(c.Args[1].Position(), "SQL array indices start at 1")
			}
			sql := "list_extract(" + args[0].sql + ", " + i.sql + ")"
			if i.k == nil {
				sql = "(CASE WHEN " + i.sql + " = 0 THEN " + b.raise("SQL array indices start at 1") + " ELSE " + sql + " END)"
			}
			return bound{sql: sql, typ: elem}
		}
	case "array_distinct":
		return func(c *tssql.Call, args []bound) bound {
			array(c, args, 1, "array_distinct(array(E))")
			return bound{sql: distinct(args[0]), typ: args[0].typ}
		}
	case "array_union":
		return func(c *tssql.Call, args []bound) bound {
			l, r := both(c, args)
			return bound{sql: distinct(bound{sql: "(" + l.sql + " || " + r.sql + ")", typ: l.typ}), typ: l.typ}
		}
	case "array_intersect", "array_except":
		return func(c *tssql.Call, args []bound) bound {
			l, r := both(c, args)
			p := b.co.param()
			cond := contains(r.sql, p)
			if name == "array_except" {
				cond = "NOT " + cond
			}
			kept := bound{sql: "(CASE WHEN " + r.sql + " IS NOT NULL THEN list_filter(" + l.sql + ", lambda " + p + ": " + cond + ") END)", typ: l.typ}
			return bound{sql: distinct(kept), typ: l.typ}
		}
	case "arrays_overlap":
		return func(c *tssql.Call, args []bound) bound {
			l, r := both(c, args)
			// NULLs have nothing in common with anything, but might have.
			return bound{sql: b.let(l, func(l string) string {
				return b.let(r, func(r string) string {
					return "(CASE WHEN list_has_any(" + l + ", " + r + ") THEN TRUE WHEN list_count(" + l + ") < len(" + l + ") AND len(" + r + ") > 0 OR list_count(" + r + ") < len(" + r +
						") AND len(" + l + ") > 0 THEN NULL ELSE list_has_any(" + l + ", " + r + ") END)"
				})
			}), typ: ScalarOf(Boolean)}
		}
	case "array_sort":
		return func(c *tssql.Call, args []bound) bound {
			if elem := array(c, args, 1, "array_sort(array(E))"); !elem.comparable() {
				mismatch(c, args, "array_sort(array(E))")
			}
			return bound{sql: "list_sort(" + args[0].sql + ", 'ASC', 'NULLS LAST')", typ: args[0].typ}
		}
	case "shuffle":
		return func(c *tssql.Call, args []bound) bound {
			array(c, args, 1, "shuffle(array(E))")
			p := b.co.param()
			drawn := "list_transform(" + args[0].sql + ", lambda " + p + ": {'r': random(), 'x': " + p + "})"
			return bound{sql: "list_transform(list_sort(" + drawn + "), lambda " + p + ": " + p + ".x)", typ: args[0].typ}
		}
	case "array_max", "array_min":
		return func(c *tssql.Call, args []bound) bound {
			elem := array(c, args, 1, name+"(array(E))")
			// A NULL among the elements makes the result NULL.
			return bound{sql: b.let(args[0], func(x string) string {
				found := "list_" + name[len("array_"):] + "(" + x + ")"
				if name == "array_max" && elem.isScalar(Double) {
					p := b.co.param() // NaN is the answer only where there is nothing else
					found = "coalesce(list_max(list_filter(" + x + ", lambda " + p + ": NOT isnan(" + p + "))), " + found + ")"
				}
				return "(CASE WHEN list_count(" + x + ") = len(" + x + ") THEN " + found + " END)"
			}), typ: elem}
		}
	case "array_position":
		return func(c *tssql.Call, args []bound) bound {
			x, e := search(c, args)
			found := "list_position(" + x.sql + ", " + e.sql + ")"
			if mayBeNaN(e) {
				found = "(CASE WHEN NOT isnan(" + e.sql + ") THEN " + found + " END)" // which equals nothing
			}
			return bound{sql: "(CASE WHEN " + x.sql + " IS NOT NULL AND " + e.sql + " IS NOT NULL THEN CAST(coalesce(" + found + ", 0) AS BIGINT) END)", typ: ScalarOf(Bigint)}
		}
	case "array_remove":
		return func(c *tssql.Call, args []bound) bound {
			x, e := search(c, args)
			p := b.co.param()
			return bound{sql: "(CASE WHEN " + e.sql + " IS NOT NULL THEN list_filter(" + x.sql + ", lambda " + p + ": " + p + " IS NULL OR " + compare("<>", bound{sql: p, typ: e.typ}, e).sql + ") END)", typ: x.typ}
		}
	case "array_join":
		return func(c *tssql.Call, args []bound) bound {
			const expected = "array_join(array(T), varchar), array_join(array(T), varchar, varchar)"
			nulls(args[:min(1, len(args))])
			if len(args) < 2 || len(args) > 3 || args[0].typ.Array == nil || !textual(args[1]) || (len(args) == 3 && !textual(args[2])) {
				mismatch(c, args, expected)
			}
			p := b.co.param()
			given := args[0].sql + " IS NOT NULL AND " + args[1].sql + " IS NOT NULL"
			elem := b.castTo(bound{sql: p, typ: *args[0].typ.Array}, ScalarOf(Varchar), c.Pos, false).sql
			if len(args) == 3 {
				elem = "coalesce(" + elem + ", " + args[2].sql + ")"
				given += " AND " + args[2].sql + " IS NOT NULL"
			}
			texts := "list_transform(" + args[0].sql + ", lambda " + p + ": " + elem + ")"
			return bound{sql: "(CASE WHEN " + given + " THEN coalesce(" + b.joinTexts(texts, args[1]) + ", '') END)", typ: ScalarOf(Varchar)}
		}
	case "slice":
		return func(c *tssql.Call, args []bound) bound {
			const expected = "slice(array(E), bigint, bigint)"
			array(c, args, 3, expected)
			if !coercible(args[1].typ, ScalarOf(Bigint)) || !coercible(args[2].typ, ScalarOf(Bigint)) {
				mismatch(c, args, expected)
			}
			from, n := coerce(args[1], ScalarOf(Bigint), c.Pos), coerce(args[2], ScalarOf(Bigint), c.Pos)
			sql := b.let(args[0], func(x string) string {
				begin := "(CASE WHEN " + from.sql + " < 0 THEN len(" + x + ") + " + from.sql + " + 1 ELSE " + from.sql + " END)"
				return "(CASE WHEN " + from.sql + " = 0 THEN " + b.raise("SQL array indices start at 1") + " WHEN " + n.sql + " < 0 THEN " +
					b.raise("length must be greater than or equal to 0") + " WHEN " + begin + " < 1 OR " + n.sql + " = 0 THEN " + x + "[2:1] ELSE list_slice(" +
					x + ", " + begin + ", " + begin + " + " + n.sql + " - 1) END)"
			})
			return bound{sql: sql, typ: args[0].typ}
		}
	case "repeat":
		return func(c *tssql.Call, args []bound) bound {
			if len(args) != 2 || !coercible(args[1].typ, ScalarOf(Bigint)) {
				mismatch(c, args, "repeat(T, bigint)")
			}
			elem := args[0].typ
			n := coerce(args[1], ScalarOf(Bigint), c.Pos)
			p := b.co.param()
			sql := "(CASE WHEN " + n.sql + " > " + itoa(maxSequence) + " THEN " + b.raise("count argument of repeat function must be less than or equal to 10000") +
				" WHEN " + n.sql + " < 0 THEN " + b.raise("count argument of repeat function must be greater than or equal to 0") +
				" ELSE list_transform(range(0, " + n.sql + "), lambda " + p + ": " + args[0].sql + ") END)"
			return bound{sql: sql, typ: Type{Array: &elem}}
		}
	case "zip":
		return func(c *tssql.Call, args []bound) bound {
			if len(args) < 2 || len(args) > 5 {
				mismatch(c, args, "zip(array(T1), array(T2), ...)")
			}
			t := Type{}
			p := b.co.param()
			nulls(args)
			var lists, fields, given []string
			for i, a := range args {
				if a.typ.Array == nil {
					mismatch(c, args, "zip(array(T1), array(T2), ...)")
				}
				t.Row = append(t.Row, Field{Type: *a.typ.Array})
				lists = append(lists, a.sql)
				given = append(given, a.sql+" IS NOT NULL")
				fields = append(fields, "'"+fieldKey(t, i)+"': "+p+"["+itoa(i+1)+"]")
			}
			return bound{sql: "(CASE WHEN " + strings.Join(given, " AND ") + " THEN list_transform(list_zip(" + strings.Join(lists, ", ") + "), lambda " + p + ": {" + strings.Join(fields, ", ") + "}) END)", typ: Type{Array: &t}}
		}
	case "sequence":
		return b.sequence
	}
	return nil
}

// sequence is sequence(start, stop[, step]) over whole numbers or timestamps, both ends included. Without a step numbers go by 1 or
// -1 towards the end, timestamps by a day.
func (b *binder) sequence(c *tssql.Call, args []bound) bound {
	const expected = "sequence(bigint, bigint), sequence(bigint, bigint, bigint), sequence(timestamp, timestamp), sequence(timestamp, timestamp, interval day to second), sequence(timestamp, timestamp, interval year to month)"
	if len(args) < 2 || len(args) > 3 {
		mismatch(c, args, expected)
	}
	fits := func(t Scalar) bool { return coercible(args[0].typ, ScalarOf(t)) && coercible(args[1].typ, ScalarOf(t)) }
	var t Type
	var step bound
	switch {
	case fits(Bigint) && (len(args) == 2 || coercible(args[2].typ, ScalarOf(Bigint))):
		t = ScalarOf(Bigint)
		if len(args) == 3 {
			step = coerce(args[2], t, c.Pos)
		}
	case fits(Timestamp) && (len(args) == 2 || args[2].typ.isScalar(DayTime) || args[2].typ.isScalar(YearMonth)):
		t = ScalarOf(Timestamp)
		step = constant(DayTime, nsDay)
		if len(args) == 3 {
			step = args[2]
		}
	default:
		mismatch(c, args, expected)
	}
	from, to := coerce(args[0], t, c.Args[0].Position()), coerce(args[1], t, c.Args[1].Position())
	if step.sql == "" {
		step.sql = "(CASE WHEN " + from.sql + " <= " + to.sql + " THEN 1 ELSE -1 END)"
	}
	if v, ok := step.k.(int64); ok && v == 0 {
		fail(c.Args[2].Position(), "step must not be zero")
	}
	unit, series := step.sql, "generate_series("+from.sql+", "+to.sql+", "+step.sql+")"
	if step.typ.isScalar(YearMonth) {
		// No month is shorter than 28 days, so this makes enough of them; those past the end are left out.
		i, at := b.co.param(), b.co.param()
		unit = "(CAST(" + step.sql + " AS HUGEINT) * " + itoa(28*24*3600) + "000000000)"
		quiet := *b // one of those past the end may lie before 1970: it is NULL, and left out
		quiet.trying = true
		moved := quiet.shift(c.Pos, "+", from, bound{sql: "CAST(" + i + " * " + step.sql + " AS INTEGER)", typ: step.typ})
		series = "list_filter(list_transform(range(0, CAST((CAST(" + to.sql + " AS HUGEINT) - " + from.sql + ") // " + unit + " AS BIGINT) + 1), lambda " + i + ": " + moved.sql + "), lambda " + at +
			": CASE WHEN " + step.sql + " > 0 THEN " + at + " <= " + to.sql + " ELSE " + at + " >= " + to.sql + " END)"
	}
	length := "(CAST(" + to.sql + " AS HUGEINT) - " + from.sql + ") // " + unit
	sql := "(CASE WHEN " + step.sql + " = 0 THEN " + b.raise("step must not be zero") +
		" WHEN " + length + " < 0 OR (" + to.sql + " < " + from.sql + ") <> (" + step.sql + " < 0) AND " + to.sql + " <> " + from.sql +
		" THEN " + b.raise("sequence stop value should be greater than or equal to start value if step is greater than zero otherwise stop should be less than or equal to start") +
		" WHEN " + length + " >= " + itoa(maxSequence) + " THEN " + b.raise("result of sequence function must not have more than 10000 entries") +
		" ELSE " + series + " END)"
	return bound{sql: sql, typ: Type{Array: &t}}
}
