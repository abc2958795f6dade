// SPDX-License-Identifier: Apache-2.0

package local

import (
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
)

// view is the catalogue as one statement sees it; rows older than the retention at now are not in it.
type view struct {
	db  *DB
	now time.Time
}

var _ sqlplan.Catalog = view{}

func (v view) Databases() []string { return v.db.Databases() }

func (v view) Tables(database string) ([]string, error) {
	if v.db.isCost(database, costTable) {
		return []string{costTable}, nil
	}
	return v.db.Tables(database)
}

// Tables returns the names of a database's tables in order; the error is sqlplan.ErrNoDatabase.
func (db *DB) Tables(database string) ([]string, error) {
	db.cat.mu.RLock()
	defer db.cat.mu.RUnlock()
	d := db.cat.databases[database]
	if d == nil {
		return nil, sqlplan.ErrNoDatabase
	}
	names := make([]string, 0, len(d.tables))
	for n := range d.tables {
		names = append(names, n)
	}
	sort.Strings(names)
	return names, nil
}

func (v view) table(database, name string) (*table, error) {
	t, ok := v.db.cat.table(database, name)
	switch {
	case !ok:
		return nil, sqlplan.ErrNoDatabase
	case t == nil:
		return nil, sqlplan.ErrNoTable
	}
	return t, nil
}

// Relation returns the flat relation that SQL sees: one branch per kind of record, joined with the series. A column that
// no record has filled does not exist (Developer Guide, data-modeling).
func (v view) Relation(database, name string) (*sqlplan.Relation, error) {
	if v.db.isCost(database, name) {
		return v.db.costRelation(v.now), nil
	}
	t, err := v.table(database, name)
	if err != nil {
		return nil, err
	}
	// What the schema says of series holds for those that were there before it was read.
	next := t.spans.bound()
	s := t.schema.Load()
	r := &sqlplan.Relation{Database: database, Table: name}
	add := func(name, attribute, sql string, scalar sqlplan.Scalar) {
		r.Columns = append(r.Columns, sqlplan.Column{Name: name, Type: sqlplan.ScalarOf(scalar), Attribute: attribute, SQL: sql})
	}
	for i, d := range s.dims {
		add(d, "DIMENSION", dimColumn(i), sqlplan.Varchar)
	}
	add("measure_name", "MEASURE_NAME", "m", sqlplan.Varchar)
	add("time", "TIMESTAMP", "t", sqlplan.Timestamp)
	for _, k := range s.kinds {
		if k != kindMulti {
			add("measure_value::"+kindInfo[k].lower, "MEASURE_VALUE", "v_"+kindInfo[k].lower, kindInfo[k].scalar)
		}
	}
	for i, a := range s.attrs {
		add(a.name, "MULTI", attrColumn(i), kindInfo[a.kind].scalar)
	}
	oldest := t.props.Load().oldest(v.now)
	hides := t.hides(v.now)
	r.SQL = relationSQL(t, s, oldest, hides)
	if hides == "" { // the halves know nothing of single records
		r.Halves = &halves{t: t, next: next, schema: s, oldest: oldest}
	}
	return r, nil
}

// relationSQL prints the FROM item; hides is a condition on the records, or empty. The names in it are generated, so nothing of a
// user's is in it.
func relationSQL(t *table, s *schema, oldest int64, hides string) string {
	var b strings.Builder
	b.WriteByte('(')
	if len(s.kinds) == 0 {
		b.WriteString("SELECT NULL::VARCHAR AS m, NULL::BIGINT AS t")
		for i := range s.dims {
			b.WriteString(", NULL::VARCHAR AS " + dimColumn(i))
		}
		b.WriteString(" WHERE false)")
		return b.String()
	}
	for n, k := range s.kinds {
		if n > 0 {
			b.WriteString(" UNION ALL ")
		}
		b.WriteString("SELECT s.m, x.t")
		for i := range s.dims {
			b.WriteString(", s." + dimColumn(i))
		}
		for _, other := range s.kinds {
			switch other {
			case kindMulti:
			case k:
				b.WriteString(", x.v AS v_" + kindInfo[k].lower)
			default:
				b.WriteString(", NULL::" + kindInfo[other].duck + " AS v_" + kindInfo[other].lower)
			}
		}
		for i, a := range s.attrs {
			if k == kindMulti {
				b.WriteString(", x." + attrColumn(i))
			} else {
				b.WriteString(", NULL::" + kindInfo[a.kind].duck + " AS " + attrColumn(i))
			}
		}
		b.WriteString(" FROM " + t.sampleView(k) + " x JOIN " + t.seriesTable() + " s ON s.sid = x.sid")
		where := " WHERE "
		if oldest > 0 {
			b.WriteString(where + "x.t >= " + strconv.FormatInt(oldest, 10))
			where = " AND "
		}
		if hides != "" {
			b.WriteString(where + hides)
		}
	}
	b.WriteByte(')')
	return b.String()
}

func (v view) Measures(database, name string) ([]sqlplan.Measure, error) {
	if v.db.isCost(database, name) {
		return nil, nil
	}
	t, err := v.table(database, name)
	if err != nil {
		return nil, err
	}
	s := t.schema.Load()
	out := make([]sqlplan.Measure, len(s.measures))
	for i, m := range s.measures {
		out[i] = sqlplan.Measure{Name: m.name, DataType: kindInfo[m.kind].lower, Dimensions: []string{}}
		for d, dim := range s.dims {
			if m.hasDimension(d) {
				out[i].Dimensions = append(out[i].Dimensions, dim)
			}
		}
	}
	sort.Slice(out, func(a, b int) bool { return out[a].Name < out[b].Name })
	return out, nil
}
