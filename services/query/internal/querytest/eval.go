// SPDX-License-Identifier: Apache-2.0

package querytest

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// instant is a timestamp in nanoseconds since 1970.
type instant int64

// String writes it as results do.
func (i instant) String() string {
	return time.Unix(0, int64(i)).UTC().Format("2006-01-02 15:04:05.000000000")
}

// interval is a stretch of time in nanoseconds.
type interval int64

// env resolves the columns of one record; nil is NULL.
type env map[string]any

// environment returns the columns of a record and checks nothing: see checkColumns.
func environment(r Record) env {
	e := env{"measure_name": r.Measure, "time": instant(r.TimeNs)}
	for _, d := range r.Dimensions {
		e[d.Name] = d.Value
	}
	for k, v := range r.Values {
		e[k] = v
	}
	return e
}

// relation is what a FROM item offers.
type relation struct {
	info []types.ColumnInfo
	rows []env
}

// selectRows runs a query.
func (b *Backend) selectRows(q *tssql.Query) (*result, error) {
	found, metered, err := b.query(q)
	if err != nil {
		return nil, err
	}
	r := &result{info: found.info, metered: metered}
	for _, e := range found.rows {
		values := make([]any, len(r.info))
		for i, c := range r.info {
			values[i] = e[aws.ToString(c.Name)]
		}
		r.rows = append(r.rows, row(values...))
	}
	limit := b.MaxRowBytes
	if limit == 0 {
		limit = 1 << 20
	}
	for i, row := range r.rows {
		if rowBytes(row) > limit {
			// The service finds out when it gets there.
			r.rows, r.tooLarge = r.rows[:i], true
			break
		}
	}
	return r, nil
}

// rowTooLarge is the error of a row that is larger than a page.
func rowTooLarge() error {
	return Validation("Query aborted as max page response size has been exceeded by the output result row")
}

// query evaluates a query; names of columns must differ.
func (b *Backend) query(q *tssql.Query) (relation, int64, error) {
	sel := q.Body.(*tssql.Select)
	var from relation
	var metered int64
	switch f := sel.From.(type) {
	case *tssql.TableRef:
		t, err := b.lookup(f.Table)
		if err != nil {
			return relation{}, 0, err
		}
		if err := checkColumns(t, sel); err != nil {
			return relation{}, 0, err
		}
		from = t.relation()
	case *tssql.Subquery:
		var err error
		if from, metered, err = b.query(f.Query); err != nil {
			return relation{}, 0, err
		}
	}
	var found []env
	for _, e := range from.rows {
		if sel.Where != nil {
			ok, err := eval(sel.Where, e)
			if err != nil {
				return relation{}, 0, err
			}
			if ok != true {
				continue
			}
		}
		found = append(found, e)
	}
	metered += int64(len(found)) * 100
	if sel.Items[0].Star {
		if len(found) > 0 {
			return relation{}, 0, fmt.Errorf("querytest: SELECT * reads records")
		}
		return relation{info: from.info}, metered, nil
	}
	var out relation
	for i, it := range sel.Items {
		name := it.Alias
		if c, ok := it.Expr.(*tssql.Column); ok && name == "" {
			name = c.Name
		}
		if name == "" {
			name = fmt.Sprintf("_col%d", i)
		}
		out.info = append(out.info, varchar(name))
	}
	groups := [][]env{}
	grouped := len(sel.GroupBy) > 0 || slices.ContainsFunc(sel.Items, func(it tssql.Item) bool { return isAggregate(it.Expr) })
	if grouped {
		var err error
		if groups, err = group(sel, found); err != nil {
			return relation{}, 0, err
		}
	} else {
		for _, e := range found {
			groups = append(groups, []env{e})
		}
	}
	printed := make([]string, len(sel.GroupBy))
	for i, g := range sel.GroupBy {
		printed[i] = tssql.PrintExpr(g)
	}
	type sorted struct {
		row  env
		keys []any
	}
	var rows []sorted
	seen := map[string]bool{}
	for _, members := range groups {
		e := env{}
		for i, it := range sel.Items {
			var v any
			var err error
			switch {
			case isAggregate(it.Expr):
				v, err = aggregate(it.Expr.(*tssql.Call), members)
			case grouped && !slices.Contains(printed, tssql.PrintExpr(it.Expr)):
				err = Validation("line 1:8: '%s' must be an aggregate expression or appear in GROUP BY clause", tssql.PrintExpr(it.Expr))
			default:
				v, err = eval(it.Expr, members[0])
			}
			if err != nil {
				return relation{}, 0, err
			}
			e[aws.ToString(out.info[i].Name)] = v
		}
		if key := fmt.Sprintf("%#v", e); sel.Distinct && seen[key] {
			continue
		} else {
			seen[key] = true
		}
		x := sorted{row: e}
		if len(q.OrderBy) > 0 {
			scope := env{}
			for k, v := range members[0] {
				scope[k] = v
			}
			for k, v := range e {
				scope[k] = v
			}
			for _, o := range q.OrderBy {
				v, err := eval(o.Expr, scope)
				if err != nil {
					return relation{}, 0, err
				}
				x.keys = append(x.keys, v)
			}
		}
		rows = append(rows, x)
	}
	slices.SortStableFunc(rows, func(x, y sorted) int {
		for i, o := range q.OrderBy {
			c := compare(x.keys[i], y.keys[i])
			if o.Desc {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
	if q.Limit != nil && int64(len(rows)) > *q.Limit {
		rows = rows[:*q.Limit]
	}
	for _, x := range rows {
		out.rows = append(out.rows, x.row)
	}
	return out, metered, nil
}

// compare orders values; NULL comes last.
func compare(x, y any) int {
	switch {
	case x == nil && y == nil:
		return 0
	case x == nil:
		return 1
	case y == nil:
		return -1
	}
	switch x := x.(type) {
	case string:
		return strings.Compare(x, y.(string))
	case int64:
		return order(x, y.(int64))
	case instant:
		return order(int64(x), int64(y.(instant)))
	case float64:
		return order(x, y.(float64))
	case bool:
		if x == y.(bool) {
			return 0
		} else if x {
			return 1
		}
		return -1
	}
	panic(fmt.Sprintf("querytest: no order of %T", x))
}

// relation returns the records of a table.
func (t *tableData) relation() relation {
	var r relation
	for _, d := range t.dimensions {
		r.info = append(r.info, varchar(d))
	}
	r.info = append(r.info, varchar("measure_name"), scalarInfo("time", "timestamp"))
	for _, v := range t.values {
		r.info = append(r.info, scalarInfo(v, t.types[v]))
	}
	for _, rec := range t.records {
		r.rows = append(r.rows, environment(rec))
	}
	return r
}

// rowBytes is about what a row takes as JSON.
func rowBytes(r types.Row) int {
	n := 0
	for _, d := range r.Data {
		n += 20 + len(aws.ToString(d.ScalarValue)) + 90*len(d.TimeSeriesValue)
	}
	return n
}

func isAggregate(e tssql.Expr) bool {
	c, ok := e.(*tssql.Call)
	return ok && slices.Contains([]string{"CREATE_TIME_SERIES", "max", "max_by", "count"}, c.Name)
}

// aggregate evaluates an aggregate over a group.
func aggregate(c *tssql.Call, members []env) (any, error) {
	if c.Name == "CREATE_TIME_SERIES" {
		return timeSeries(c, members)
	}
	var best, by any
	n := int64(0)
	for _, e := range members {
		var values []any
		for _, a := range c.Args {
			v, err := eval(a, e)
			if err != nil {
				return nil, err
			}
			values = append(values, v)
		}
		if len(values) > 0 && values[len(values)-1] == nil {
			continue
		}
		if n++; c.Name == "count" {
			continue
		}
		if key := values[len(values)-1]; by == nil || compare(key, by) > 0 {
			best, by = values[0], key
		}
	}
	if c.Name == "count" {
		return n, nil
	}
	return best, nil
}

// group returns the groups of rows, in the order in which they begin.
func group(sel *tssql.Select, found []env) ([][]env, error) {
	var keys []string
	groups := map[string][]env{}
	for _, e := range found {
		values := make([]any, len(sel.GroupBy))
		for i, g := range sel.GroupBy {
			v, err := eval(g, e)
			if err != nil {
				return nil, err
			}
			values[i] = v
		}
		key := fmt.Sprintf("%#v", values)
		if groups[key] == nil {
			keys = append(keys, key)
		}
		groups[key] = append(groups[key], e)
	}
	if len(sel.GroupBy) == 0 && len(keys) == 0 {
		keys = []string{""} // an aggregate over nothing is one row
	}
	out := make([][]env, len(keys))
	for i, key := range keys {
		out[i] = groups[key]
	}
	return out, nil
}

func timeSeries(c *tssql.Call, group []env) (any, error) {
	if len(group) == 0 {
		return nil, nil
	}
	type point struct {
		at instant
		v  any
	}
	var points []point
	for _, e := range group {
		at, err := eval(c.Args[0], e)
		if err != nil {
			return nil, err
		}
		v, err := eval(c.Args[1], e)
		if err != nil {
			return nil, err
		}
		if v == nil {
			return nil, Validation("CREATE_TIME_SERIES: value must not be null")
		}
		points = append(points, point{at.(instant), v})
	}
	sort.SliceStable(points, func(i, j int) bool { return points[i].at < points[j].at })
	d := types.Datum{}
	for _, p := range points {
		v := datum(p.v)
		d.TimeSeriesValue = append(d.TimeSeriesValue, types.TimeSeriesDataPoint{Time: aws.String(p.at.String()), Value: &v})
	}
	return d, nil
}

// checkColumns answers a column that the table does not have as the service does.
func checkColumns(t *tableData, sel *tssql.Select) error {
	var missing string
	check := func(c *tssql.Column) {
		if c.Name != "measure_name" && c.Name != "time" && !slices.Contains(t.dimensions, c.Name) && !slices.Contains(t.values, c.Name) {
			missing = c.Name
		}
	}
	walk(reflect.ValueOf(sel), check)
	if missing != "" {
		return Validation("line 1:8: Column '%s' does not exist", missing)
	}
	return nil
}

// walk calls f with every column reference under v.
func walk(v reflect.Value, f func(*tssql.Column)) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return
		}
		if c, ok := v.Interface().(*tssql.Column); ok {
			f(c)
			return
		}
		walk(v.Elem(), f)
	case reflect.Struct:
		for i := range v.NumField() {
			walk(v.Field(i), f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walk(v.Index(i), f)
		}
	}
}

// Eval evaluates an expression over the columns of one row with SQL's three-valued logic: nil is NULL.
func Eval(e tssql.Expr, columns map[string]any) (any, error) { return eval(e, columns) }

// eval is Eval.
func eval(e tssql.Expr, row env) (any, error) {
	switch e := e.(type) {
	case *tssql.Column:
		return row[e.Name], nil
	case *tssql.String:
		return e.Value, nil
	case *tssql.Int:
		return e.Value, nil
	case *tssql.Interval:
		unit := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour}[e.Unit]
		return interval(time.Duration(e.Count) * unit), nil
	case *tssql.Unary:
		x, err := eval(e.X, row)
		if err != nil || x == nil {
			return nil, err
		}
		return !x.(bool), nil
	case *tssql.Binary:
		return evalBinary(e, row)
	case *tssql.IsNull:
		x, err := eval(e.X, row)
		return (x == nil) != e.Not, err
	case *tssql.Case:
		for _, w := range e.Whens {
			ok, err := eval(w.Cond, row)
			if err != nil {
				return nil, err
			}
			if ok == true {
				return eval(w.Then, row)
			}
		}
		if e.Else == nil {
			return nil, nil
		}
		return eval(e.Else, row)
	case *tssql.In:
		return evalIn(e, row)
	case *tssql.Like:
		x, err := eval(e.X, row)
		if err != nil || x == nil {
			return nil, err
		}
		escape := ""
		if e.Escape != nil {
			escape = e.Escape.(*tssql.String).Value
		}
		return like(x.(string), e.Pattern.(*tssql.String).Value, escape) != e.Not, nil
	case *tssql.Call:
		return evalCall(e, row)
	}
	return nil, fmt.Errorf("querytest: no evaluation of %T", e)
}

func evalBinary(e *tssql.Binary, row env) (any, error) {
	l, err := eval(e.L, row)
	if err != nil {
		return nil, err
	}
	if e.Op == "AND" && l == false || e.Op == "OR" && l == true {
		return l, nil
	}
	r, err := eval(e.R, row)
	if err != nil {
		return nil, err
	}
	switch e.Op {
	case "AND":
		if r == false {
			return false, nil
		}
	case "OR":
		if r == true {
			return true, nil
		}
	}
	if l == nil || r == nil {
		return nil, nil
	}
	switch e.Op {
	case "AND":
		return true, nil
	case "OR":
		return false, nil
	case "||":
		return l.(string) + r.(string), nil
	case "+":
		return l.(instant) + instant(r.(interval)), nil
	}
	if reflect.TypeOf(l) != reflect.TypeOf(r) {
		return nil, Validation("line 1:1: '%s' cannot be applied to %T, %T", e.Op, l, r)
	}
	c := 0
	switch x := l.(type) {
	case string:
		c = strings.Compare(x, r.(string))
	case int64:
		c = order(x, r.(int64))
	case instant:
		c = order(int64(x), int64(r.(instant)))
	case float64:
		c = order(x, r.(float64))
	}
	switch e.Op {
	case "=":
		return c == 0, nil
	case "<>":
		return c != 0, nil
	case "<":
		return c < 0, nil
	case "<=":
		return c <= 0, nil
	case ">":
		return c > 0, nil
	case ">=":
		return c >= 0, nil
	}
	return nil, fmt.Errorf("querytest: no operator %s", e.Op)
}

func order[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func evalIn(e *tssql.In, row env) (any, error) {
	x, err := eval(e.X, row)
	if err != nil || x == nil {
		return nil, err
	}
	for _, o := range e.List {
		v, err := eval(o, row)
		if err != nil {
			return nil, err
		}
		if v == x {
			return !e.Not, nil
		}
	}
	return e.Not, nil
}

func evalCall(e *tssql.Call, row env) (any, error) {
	args := make([]any, len(e.Args))
	for i, a := range e.Args {
		v, err := eval(a, row)
		if err != nil {
			return nil, err
		}
		if v == nil && e.Name != "coalesce" {
			return nil, nil
		}
		args[i] = v
	}
	switch e.Name {
	case "coalesce":
		for _, a := range args {
			if a != nil {
				return a, nil
			}
		}
		return nil, nil
	case "chr":
		return string(rune(args[0].(int64))), nil
	case "strpos":
		return int64(strings.Index(args[0].(string), args[1].(string)) + 1), nil
	case "replace":
		return strings.ReplaceAll(args[0].(string), args[1].(string), args[2].(string)), nil
	case "regexp_like":
		re, err := regexp.Compile(args[1].(string))
		if err != nil {
			return nil, Validation("Invalid regular expression: %s", err)
		}
		return re.MatchString(args[0].(string)), nil
	case "from_milliseconds":
		ms := args[0].(int64)
		if ms > 9_223_372_036_854 {
			return nil, Validation("Numeric overflow in from_milliseconds")
		}
		return instant(ms * 1e6), nil
	case "bin":
		at, w := int64(args[0].(instant)), int64(args[1].(interval))
		return instant(at - at%w), nil
	case "ago":
		return instant(time.Now().UnixNano() - int64(args[0].(interval))), nil
	}
	return nil, Validation("line 1:1: Function %s not registered", e.Name)
}

// like matches a LIKE pattern.
func like(s, pattern, escape string) bool {
	var re strings.Builder
	re.WriteString(`\A(?s:`)
	escaped := false
	for _, r := range pattern {
		switch {
		case escaped:
			re.WriteString(regexp.QuoteMeta(string(r)))
			escaped = false
		case string(r) == escape:
			escaped = true
		case r == '%':
			re.WriteString(`.*`)
		case r == '_':
			re.WriteString(`.`)
		default:
			re.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	re.WriteString(`)\z`)
	return regexp.MustCompile(re.String()).MatchString(s)
}
