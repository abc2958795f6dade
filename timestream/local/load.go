// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/metering"
)

// The catalogue's tables. Times are nanoseconds since 1970. Every Timestream table with number N has
//
//	tN_series    sid, m (measure name), d1, d2, … (one column per dimension, in cat_columns)
//	tN_<kind>_pK sid, t, ver, v: the parts of each kind of single-measure record that was written, in cat_parts
//	tN_multi_pK  sid, t, ver, a1, a2, … (one column per attribute, in cat_columns)
//	tN_<kind>_pK_marks  sid, t, first: the newest and the oldest time of each series in a run
//	tN_<kind>_all, tN_multi_all  views over the parts
const catalogueSQL = `
CREATE TABLE IF NOT EXISTS cat_meta (k VARCHAR, v VARCHAR);
CREATE TABLE IF NOT EXISTS cat_databases (name VARCHAR, kms VARCHAR, created BIGINT, updated BIGINT);
CREATE TABLE IF NOT EXISTS cat_tables (id BIGINT, db VARCHAR, name VARCHAR, created BIGINT, updated BIGINT,
	memory_hours BIGINT, magnetic_days BIGINT, magnetic_writes BOOLEAN, rejected_to VARCHAR, partition_key VARCHAR);
CREATE TABLE IF NOT EXISTS cat_tags (db VARCHAR, tbl VARCHAR, k VARCHAR, v VARCHAR);
CREATE TABLE IF NOT EXISTS cat_columns (table_id BIGINT, role VARCHAR, ord INTEGER, name VARCHAR, type VARCHAR);
CREATE TABLE IF NOT EXISTS cat_measures (table_id BIGINT, ord INTEGER, name VARCHAR, type VARCHAR);
CREATE TABLE IF NOT EXISTS cat_dimensions (table_id BIGINT, measure BIGINT, low BIGINT, high BIGINT);
CREATE TABLE IF NOT EXISTS cat_parts (table_id BIGINT, kind VARCHAR, id BIGINT, state VARCHAR, columns BIGINT, unit BIGINT,
	n BIGINT, first BIGINT, last BIGINT, floor BIGINT);
CREATE TABLE IF NOT EXISTS cat_hidden (table_id BIGINT, sid BIGINT, t BIGINT, until BIGINT);
` + meterSQL + scheduledSQL

// newTables are those of these tables that files of the same format may lack.
var newTables = [...]string{"cat_dimensions", "cat_scheduled"}

// each calls f for every row of a query on the writer's connection.
func (db *DB) each(ctx context.Context, sql string, f func(cols []duck.Column, i int) error) error {
	rows, err := db.writer.conn.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		for i := range rows.Size() {
			if err := f(rows.Columns(), i); err != nil {
				return err
			}
		}
	}
	return rows.Err()
}

// load reads the catalogue, the series and their marks. It runs before the writer starts.
func (db *DB) load(ctx context.Context) error {
	meta, err := db.meta(ctx)
	if err != nil {
		return err
	}
	v := meta["format"]
	whole := true
	for _, name := range newTables {
		there, err := db.hasTable(ctx, name)
		if err != nil {
			return err
		}
		whole = whole && there
	}
	if v != formatVersion || meta["meters"] != metersSaved || !whole {
		// The file is of a time when there were fewer of these tables.
		if err := db.writer.conn.Exec(catalogueSQL); err != nil {
			return err
		}
	}
	if err := db.loadCatalogue(ctx); err != nil {
		return err
	}
	if err := db.loadHidden(ctx); err != nil {
		return err
	}
	if err := db.loadAccount(meta[accountKey]); err != nil {
		return err
	}
	if err := db.loadTasks(meta); err != nil {
		return err
	}
	if err := db.loadScheduled(ctx); err != nil {
		return err
	}
	if err := db.loadTags(ctx); err != nil {
		return err
	}
	if err := db.loadParts(ctx, v == formatWithoutParts); err != nil {
		return err
	}
	for _, d := range db.cat.databases {
		for _, t := range d.tables {
			if err := db.loadTable(ctx, t); err != nil {
				return fmt.Errorf("table %s.%s: %w", t.database, t.name, err)
			}
		}
	}
	if err := db.loadMeters(ctx, meta["meters"]); err != nil {
		return fmt.Errorf("what was metered: %w", err)
	}
	return nil
}

// hasTable tells whether the file has a table.
func (db *DB) hasTable(ctx context.Context, name string) (has bool, err error) {
	err = db.each(ctx, "SELECT 1 FROM duckdb_tables() WHERE NOT internal AND table_name = '"+name+"'", func([]duck.Column, int) error {
		has = true
		return nil
	})
	return has, err
}

// meta reads what the file says about itself. A file of another program, or of another version, is refused before anything is
// written to it.
func (db *DB) meta(ctx context.Context) (map[string]string, error) {
	meta := map[string]string{}
	ours, err := db.hasTable(ctx, "cat_meta")
	if err != nil {
		return nil, err
	}
	if !ours {
		return nil, fmt.Errorf("%w: the file %s is a DuckDB database, but not one of timestream-local", errDamaged, fileName)
	}
	err = db.each(ctx, "SELECT k, v FROM cat_meta", func(c []duck.Column, i int) error {
		meta[c[0].String(i)] = c[1].String(i)
		return nil
	})
	if v := meta["format"]; err == nil && v != formatVersion && v != formatWithoutParts {
		return nil, fmt.Errorf("the file has format %q, this program reads %s: it was written by another version of timestream-local, so use that one; nothing was changed", v, formatVersion)
	}
	return meta, err
}

func (db *DB) loadCatalogue(ctx context.Context) error {
	db.cat.databases = map[string]*database{}
	err := db.each(ctx, "SELECT name, kms, created, updated FROM cat_databases", func(c []duck.Column, i int) error {
		d := &database{
			name: c[0].String(i), kmsKey: c[1].String(i),
			created: time.Unix(0, c[2].Int64(i)), updated: time.Unix(0, c[3].Int64(i)),
			tables: map[string]*table{},
		}
		db.cat.databases[d.name] = d
		return nil
	})
	if err != nil {
		return err
	}
	byID := map[int64]*table{}
	err = db.each(ctx, "SELECT id, db, name, created, updated, memory_hours, magnetic_days, magnetic_writes, rejected_to, partition_key FROM cat_tables", func(c []duck.Column, i int) error {
		t := newTable(c[0].Int64(i), c[1].String(i), c[2].String(i), time.Unix(0, c[3].Int64(i)))
		p := &properties{
			updated: time.Unix(0, c[4].Int64(i)), memoryHours: c[5].Int64(i), magneticDays: c[6].Int64(i), magneticWrites: c[7].Bool(i),
		}
		if !c[8].IsNull(i) {
			p.rejectedTo = &wtypes.MagneticStoreRejectedDataLocation{}
			if err := json.Unmarshal(c[8].Bytes(i), p.rejectedTo); err != nil {
				return err
			}
		}
		if err := json.Unmarshal(c[9].Bytes(i), &p.partitionKey); err != nil {
			return err
		}
		t.props.Store(p)
		byID[t.id] = t
		db.cat.databases[t.database].tables[t.name] = t
		db.cat.nextID = max(db.cat.nextID, t.id)
		return nil
	})
	if err != nil {
		return err
	}
	err = db.each(ctx, "SELECT table_id, role, name, type FROM cat_columns ORDER BY table_id, role, ord", func(c []duck.Column, i int) error {
		own, name := &byID[c[0].Int64(i)].own, c[2].String(i)
		k, ok := kindFromLower(c[3].String(i))
		if !ok {
			return fmt.Errorf("column %q has the unknown type %s", name, c[3].String(i))
		}
		switch role := c[1].String(i); role {
		case "dimension":
			own.dims[name] = len(own.schema.dims)
			own.schema.dims = append(own.schema.dims, name)
		case "attribute":
			own.attrs[name] = len(own.schema.attrs)
			own.schema.attrs = append(own.schema.attrs, attribute{name, k})
		case "kind":
			own.schema.kinds = append(own.schema.kinds, k)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = db.each(ctx, "SELECT table_id, name, type FROM cat_measures ORDER BY table_id, ord", func(c []duck.Column, i int) error {
		own := &byID[c[0].Int64(i)].own
		k, ok := kindFromLower(c[2].String(i))
		if !ok {
			return fmt.Errorf("measure %q has the unknown type %s", c[1].String(i), c[2].String(i))
		}
		m := &measure{name: c[1].String(i), kind: k}
		own.measures[m.name] = len(own.schema.measures)
		own.schema.measures = append(own.schema.measures, m)
		return nil
	})
	if err != nil {
		return err
	}
	return db.each(ctx, "SELECT table_id, measure, low, high FROM cat_dimensions", func(c []duck.Column, i int) error {
		measures, at := byID[c[0].Int64(i)].own.schema.measures, c[1].Int64(i)
		if at >= int64(len(measures)) {
			return fmt.Errorf("dimensions of the unknown measure %d", at)
		}
		for word := range measures[at].dims {
			set := uint64(c[2+word].Int64(i))
			measures[at].dims[word].Or(set)
			measures[at].kept[word] |= set
		}
		return nil
	})
}

// loadTable reads a table's series and marks.
func (db *DB) loadTable(ctx context.Context, t *table) error {
	own := &t.own
	slots := map[int64]uint32{}
	dims := len(own.schema.dims)
	var buf []byte
	err := db.each(ctx, "SELECT * FROM "+t.seriesTable()+" ORDER BY sid", func(c []duck.Column, i int) error {
		sid, name := c[0].Int64(i), c[1].String(i)
		mi, ok := own.measures[name]
		if !ok {
			return fmt.Errorf("series %d has the unknown measure %q", sid, name)
		}
		m := own.schema.measures[mi]
		var key, part seriesKey
		key, buf = db.hash.sum(buf, tagMeasure, name, "")
		names, values := len(name), metering.TimeBytes
		for d := range dims {
			if col := &c[2+d]; !col.IsNull(i) {
				value := col.String(i)
				part, buf = db.hash.sum(buf, tagDimension, own.schema.dims[d], value)
				key.add(part)
				names += len(own.schema.dims[d])
				values += len(value)
				m.dimensionSeen(d)
			}
		}
		slot := uint32(len(own.marks))
		slots[sid] = slot
		own.series[key] = slot
		own.marks = append(own.marks, mark{sid: sid, time: noTime, kind: m.kind, names: uint16(names), values: uint32(values)})
		own.nextSid = max(own.nextSid, seriesNumber(sid)+1)
		return nil
	})
	if err != nil {
		return err
	}
	err = db.scanMarks(ctx, t, slots)
	t.publish()
	t.countSeries()
	t.spans.reset(t)
	return err
}

// scanMarks finds every series' newest record: the times of runs are written down, other parts are read, which are as many
// records as come in a short while. The value of a newest record in a run is not known.
func (db *DB) scanMarks(ctx context.Context, t *table, slots map[int64]uint32) error {
	find := func(sid int64) (*mark, error) {
		slot, ok := slots[sid]
		if !ok {
			return nil, fmt.Errorf("samples of the unknown series %d", sid)
		}
		m := &t.own.marks[slot]
		if m.time == noTime {
			m.first = math.MaxInt64
		}
		return m, nil
	}
	for _, k := range t.own.schema.kinds {
		for _, p := range t.own.settled[k] {
			if p.state != partRun {
				continue
			}
			err := db.each(ctx, "SELECT sid, t, first FROM "+t.partMarks(p), func(c []duck.Column, i int) error {
				// All records of a series that is not there any more have expired. Another must not have its number as long as
				// they are in the run.
				own := &t.own
				own.nextSid = max(own.nextSid, seriesNumber(c[0].Int64(i))+1)
				if _, ok := slots[c[0].Int64(i)]; !ok {
					return nil
				}
				m, err := find(c[0].Int64(i))
				if err != nil {
					return err
				}
				m.time, m.first = max(m.time, c[1].Int64(i)), min(m.first, c[2].Int64(i))
				return nil
			})
			if err != nil {
				return err
			}
		}
		// A record that took the place of the newest one of a run is in one of these.
		for _, p := range t.own.parts(k) {
			if p.state == partRun {
				continue
			}
			value := ""
			if bitsLast(k) {
				value = ", arg_max(v, t)"
			}
			sql := fmt.Sprintf("SELECT sid, max(t), arg_max(ver, t), min(t), count(*)%s FROM %s GROUP BY sid", value, t.partTable(p))
			var n int64
			err := db.each(ctx, sql, func(c []duck.Column, i int) error {
				m, err := find(c[0].Int64(i))
				if err != nil {
					return err
				}
				last, first := c[1].Int64(i), c[3].Int64(i)
				n += c[4].Int64(i)
				p.first, p.last = min(p.first, first), max(p.last, last)
				m.first = min(m.first, first)
				if last < m.time {
					return nil
				}
				m.time, m.ver, m.known = last, c[2].Int64(i), false
				if bitsLast(k) {
					m.bits, m.known = db.storedBits(&c[5], k, i), true
				}
				return nil
			})
			if err != nil {
				return err
			}
			if p.state == partLive {
				p.rows = n
			}
		}
	}
	return nil
}

// bitsLast tells whether a mark's bits are the value itself, and so outlive the process.
func bitsLast(k kind) bool { return k == kindDouble || k == kindBigint || k == kindBoolean }
