// SPDX-License-Identifier: Apache-2.0

package local

import (
	"strconv"
	"strings"

	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/local/internal/meter"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// tableTx is what one transaction does to one table. The decisions are taken in memory first (decide), then the rows are
// written, then the records that are not newer than their series' mark are looked up and decided (late).
type tableTx struct {
	t *table
	// before is the schema to go back to, oldMarks the number of series there were.
	before   schema
	oldMarks int
	oldSid   int64
	newKeys  []seriesKey
	// newDims are the dimensions that measures had not been seen with.
	newDims       []measureDimension
	undo          []markUndo
	schemaChanged bool

	series []newSeries
	rows   [sampleKinds][]row
	late   []lateRow
	hidden []hiddenRow
	// pending holds the records of this transaction that replace stored ones, and the late ones already decided.
	pending map[recordKey]*pendingRow
	// weight is what the transaction does to the table's meter.
	weight meter.Delta
	// replaced are the keys whose stored records are deleted.
	replaced [sampleKinds][]recordKey
}

type markUndo struct {
	slot uint32
	mark mark
}

type measureDimension struct {
	m         *measure
	dimension int
}

type newSeries struct {
	sid int64
	rec *prepared
}

type row struct {
	sid int64
	rec *prepared
}

// lateRow waits for the look-up: which record of which request.
type lateRow struct {
	job  *writeJob
	i    int
	slot uint32
}

// recordKey is the identity of a record within a table: a series has one kind.
type recordKey struct{ sid, time int64 }

// pendingRow is a record that has been looked up or decided in this transaction.
type pendingRow struct {
	kind kind
	// stored tells that the table holds a row for the key, write that rec has to be written.
	stored, write bool
	known         bool
	ver           int64
	bits          uint64
	// weight is that of the value.
	weight weight
	rec    *prepared
}

func (w *writer) tx(t *table) *tableTx {
	tx := w.tables[t]
	if tx == nil {
		if tx = t.own.spare; tx == nil {
			tx = &tableTx{}
		}
		t.own.spare = nil
		tx.t, tx.before, tx.oldMarks, tx.oldSid = t, t.own.schema, len(t.own.marks), t.own.nextSid
		w.tables[t] = tx
	}
	return tx
}

func (tx *tableTx) dirty() bool {
	if tx.schemaChanged || len(tx.series) > 0 || len(tx.late) > 0 {
		return true
	}
	for _, r := range tx.rows {
		if len(r) > 0 {
			return true
		}
	}
	for _, p := range tx.pending {
		if p.write {
			return true
		}
	}
	return false
}

// rollback makes memory what it was before the transaction.
func (tx *tableTx) rollback() {
	own := &tx.t.own
	for i := len(tx.undo) - 1; i >= 0; i-- {
		own.marks[tx.undo[i].slot] = tx.undo[i].mark
	}
	own.marks = own.marks[:tx.oldMarks]
	for _, k := range tx.newKeys {
		delete(own.series, k)
	}
	own.nextSid = tx.oldSid
	for _, name := range own.schema.dims[len(tx.before.dims):] {
		delete(own.dims, name)
	}
	for _, d := range tx.newDims {
		d.m.forgetDimension(d.dimension)
	}
	for _, a := range own.schema.attrs[len(tx.before.attrs):] {
		delete(own.attrs, a.name)
	}
	for _, m := range own.schema.measures[len(tx.before.measures):] {
		delete(own.measures, m.name)
	}
	for _, k := range own.schema.kinds[len(tx.before.kinds):] {
		own.live[k] = nil
	}
	if p := own.live[kindMulti]; p != nil {
		p.columns = len(tx.before.attrs)
	}
	own.schema = tx.before
}

// end lets go of the requests' memory and keeps the transaction's own for the table's next one.
func (tx *tableTx) end() {
	tx.weight.Reset()
	clean := tableTx{newKeys: tx.newKeys[:0], newDims: tx.newDims[:0], undo: tx.undo[:0], weight: tx.weight}
	clear(tx.series)
	clear(tx.late)
	clean.series, clean.late, clean.hidden = tx.series[:0], tx.late[:0], tx.hidden[:0]
	for k := range tx.rows {
		clear(tx.rows[k])
		clean.rows[k] = tx.rows[k][:0]
	}
	t := tx.t
	*tx = clean
	t.own.spare = tx
	t.countSeries()
}

// decide takes one request's records in order. Nothing is written yet.
func (w *writer) decide(j *writeJob) {
	if j.table.dropped.Load() {
		j.err = notFound("The table %s does not exist.", j.table.name)
		return
	}
	tx := w.tx(j.table)
	own := &j.table.own
	newDims := 0
	var names map[string]bool
	for i := range j.recs {
		p := &j.recs[i]
		if p.reason != "" {
			continue
		}
		p.slot = -1
		if slot, ok := own.series[p.key]; ok {
			p.slot = int64(slot)
			continue
		}
		for _, dims := range [2][]record.Dimension{p.common, p.own} {
			for k := range dims {
				name := dims[k].Name
				if _, ok := own.dims[name]; ok || names[name] {
					continue
				}
				if names == nil {
					names = map[string]bool{}
				}
				names[name] = true
				newDims++
			}
		}
	}
	if len(own.schema.dims)+newDims > timestream.MaxDimensionsPerTable {
		// What the service answers to the 129th dimension is not known; that the whole call fails is.
		j.err = writeInvalid("The request would give the table more than %d dimensions.", timestream.MaxDimensionsPerTable)
		return
	}
	for i := range j.recs {
		tx.decideRecord(j, i)
	}
}

func (tx *tableTx) decideRecord(j *writeJob, i int) {
	p := &j.recs[i]
	if p.reason != "" {
		j.reject(i, p.reason, 0)
		return
	}
	own := &tx.t.own
	slot := uint32(p.slot)
	if p.slot < 0 {
		if known, ok := own.series[p.key]; ok { // created by an earlier record of the group
			slot = known
		} else {
			var reason string
			if slot, reason = tx.createSeries(p); reason != "" {
				j.reject(i, reason, 0)
				return
			}
		}
	}
	m := &own.marks[slot]
	if m.kind != p.kind {
		j.reject(i, typeBound(p.measure, m.kind), 0)
		return
	}
	if p.kind == kindMulti {
		if reason := tx.bindAttributes(p); reason != "" {
			j.reject(i, reason, 0)
			return
		}
	}
	switch {
	case p.time > m.time:
		tx.undo = append(tx.undo, markUndo{slot, *m})
		if m.time == noTime {
			m.first = p.time
		}
		m.time, m.ver, m.bits, m.known = p.time, p.ver, p.bits, true
		tx.rows[p.kind] = append(tx.rows[p.kind], row{m.sid, p})
		tx.hide(j, m.sid, p)
		tx.weight.Store(p.time, p.measure, m.size(p.value))
		j.stored(p)
	case p.time == m.time && m.known && !tx.looksUp(p, m):
		j.settle(i, m.ver, m.bits, func() {
			tx.undo = append(tx.undo, markUndo{slot, *m})
			m.ver, m.bits = p.ver, p.bits
			tx.replace(recordKey{m.sid, p.time}, p)
		})
	default:
		if p.time < m.first {
			tx.undo = append(tx.undo, markUndo{slot, *m})
			m.first = p.time
		}
		key := recordKey{m.sid, p.time}
		if have := tx.pending[key]; have != nil && have.known {
			tx.settleLate(j, i, slot, have)
			return
		}
		if tx.pending == nil {
			tx.pending = map[recordKey]*pendingRow{}
		}
		if tx.pending[key] == nil {
			tx.pending[key] = &pendingRow{kind: p.kind}
		}
		tx.late = append(tx.late, lateRow{j, i, slot})
	}
}

// looksUp tells that what a record may take the place of has to be looked up, although its series' mark knows it: because its weight is
// not known, or because another record of the transaction does so.
func (tx *tableTx) looksUp(p *prepared, m *mark) bool {
	if fixedWeight(p.kind) {
		return false
	}
	if p.ver > m.ver {
		return true
	}
	if len(tx.pending) == 0 {
		return false
	}
	_, waits := tx.pending[recordKey{m.sid, p.time}]
	return waits
}

// replace notes that p takes the place of the record with the same key, stored or about to be.
func (tx *tableTx) replace(key recordKey, p *prepared) {
	if tx.pending == nil {
		tx.pending = map[recordKey]*pendingRow{}
	}
	tx.pending[key] = &pendingRow{kind: p.kind, stored: true, write: true, known: true, ver: p.ver, bits: p.bits, weight: p.value, rec: p}
}

// settleLate decides a record for whose key it is known what is there.
func (tx *tableTx) settleLate(j *writeJob, i int, slot uint32, have *pendingRow) {
	p := &j.recs[i]
	write := func() {
		m := &tx.t.own.marks[slot]
		if have.stored || have.write {
			tx.weight.Replace(p.time, m.size(have.weight), m.size(p.value))
		} else {
			tx.weight.Store(p.time, p.measure, m.size(p.value))
		}
		have.write, have.ver, have.bits, have.weight, have.rec = true, p.ver, p.bits, p.value, p
		if m.time == p.time {
			tx.undo = append(tx.undo, markUndo{slot, *m})
			m.ver, m.bits, m.known = p.ver, p.bits, true
		}
	}
	if !have.stored && !have.write {
		write()
		tx.hide(j, tx.t.own.marks[slot].sid, p)
		j.stored(p)
		return
	}
	j.settle(i, have.ver, have.bits, write)
}

// settle decides a record against the one with the same key by versions (Developer Guide, writes; API reference,
// RejectedRecord). A lower version is rejected also when the value is the same, as data-modeling says. The magnetic
// store reports no conflicts in its answers: the record is counted as taken, and dropped.
func (j *writeJob) settle(i int, ver int64, bits uint64, replace func()) {
	p := &j.recs[i]
	switch {
	case p.ver > ver:
		replace()
		j.accept(p)
		j.counts.updated++
	case p.ver == ver && p.bits == bits:
		j.accept(p)
		j.counts.duplicate++
	case p.late:
		j.accept(p)
		j.counts.hiddenConflict++
	case p.ver == ver:
		j.reject(i, textSameVersion, 0)
	default:
		j.reject(i, lowerVersion(p.ver, ver), ver)
	}
}

func (j *writeJob) stored(p *prepared) {
	j.accept(p)
	j.counts.stored++
}

func (j *writeJob) accept(p *prepared) {
	if p.late {
		j.magnetic++
	} else {
		j.memory++
	}
}

func (j *writeJob) reject(i int, reason string, existing int64) {
	r := wtypes.RejectedRecord{RecordIndex: int32(i), Reason: &reason}
	if existing > 0 {
		r.ExistingVersion = &existing
	}
	j.rejected = append(j.rejected, r)
	j.counts.rejected++
}

// The texts of the rejections below are our own: what the service says is not known.

func typeBound(name string, k kind) string {
	return "The measure name '" + name + "' already has the type " + kindInfo[k].api + " in the table."
}

// createSeries adds a series, and with it the dimensions and the measure name that are new to the table.
func (tx *tableTx) createSeries(p *prepared) (uint32, string) {
	own := &tx.t.own
	mi, ok := own.measures[p.measure]
	if ok {
		if m := own.schema.measures[mi]; m.kind != p.kind {
			return 0, typeBound(p.measure, m.kind)
		}
	} else if len(own.schema.measures) >= timestream.MaxMeasureNamesPerTable {
		return 0, "The table has the maximum of " + strconv.Itoa(timestream.MaxMeasureNamesPerTable) + " measure names."
	}
	if own.nextSid > maxSeries {
		return 0, "The table has had the maximum of " + strconv.Itoa(maxSeries) + " series."
	}
	for _, dims := range [2][]record.Dimension{p.common, p.own} {
		for i := range dims {
			if _, ok := own.attrs[dims[i].Name]; ok {
				return 0, "The dimension '" + dims[i].Name + "' has the name of a multi-measure attribute of the table."
			}
		}
	}
	if p.kind == kindMulti {
		// Checked before anything is added, so that a rejected record leaves no trace.
		if reason := tx.checkAttributes(p); reason != "" {
			return 0, reason
		}
	}
	if !ok {
		mi = len(own.schema.measures)
		m := &measure{name: strings.Clone(p.measure), kind: p.kind}
		own.schema.measures = append(own.schema.measures, m)
		own.measures[m.name] = mi
		tx.schemaChanged = true
	}
	if !own.schema.hasKind(p.kind) {
		own.schema.kinds = append(own.schema.kinds, p.kind)
		tx.schemaChanged = true
	}
	for _, dims := range [2][]record.Dimension{p.common, p.own} {
		for i := range dims {
			di, ok := own.dims[dims[i].Name]
			if !ok {
				di = len(own.schema.dims)
				name := strings.Clone(dims[i].Name)
				own.schema.dims = append(own.schema.dims, name)
				own.dims[name] = di
				tx.schemaChanged = true
			}
			if m := own.schema.measures[mi]; !m.hasDimension(di) {
				m.dimensionSeen(di)
				tx.newDims = append(tx.newDims, measureDimension{m, di})
			}
		}
	}
	slot := uint32(len(own.marks))
	names, values := p.seriesWeight()
	own.marks = append(own.marks, mark{sid: seriesID(mi, own.nextSid), time: noTime, kind: p.kind, names: names, values: values})
	own.nextSid++
	own.series[p.key] = slot
	tx.newKeys = append(tx.newKeys, p.key)
	tx.series = append(tx.series, newSeries{own.marks[slot].sid, p})
	return slot, ""
}

// checkAttributes tells why a record's attributes do not fit the table.
func (tx *tableTx) checkAttributes(p *prepared) string {
	own := &tx.t.own
	added := 0
	for i := range p.values {
		v := &p.values[i]
		if ai, ok := own.attrs[v.name]; ok {
			if k := own.schema.attrs[ai].kind; k != v.kind {
				return "The attribute '" + v.name + "' already has the type " + kindInfo[k].api + " in the table."
			}
			continue
		}
		if _, ok := own.dims[v.name]; ok || hasDimension(p.own, v.name) || hasDimension(p.common, v.name) {
			return "The attribute '" + v.name + "' has the name of a dimension of the table."
		}
		added++
	}
	if added > 0 && len(own.schema.attrs)+added > timestream.MaxAttributesPerTable {
		return "The record would give the table more than " + strconv.Itoa(timestream.MaxAttributesPerTable) + " multi-measure attributes."
	}
	return ""
}

// bindAttributes finds the columns of a record's attributes and adds those that are new.
func (tx *tableTx) bindAttributes(p *prepared) string {
	if reason := tx.checkAttributes(p); reason != "" {
		return reason
	}
	own := &tx.t.own
	for i := range p.values {
		v := &p.values[i]
		ai, ok := own.attrs[v.name]
		if !ok {
			ai = len(own.schema.attrs)
			name := strings.Clone(v.name)
			own.schema.attrs = append(own.schema.attrs, attribute{name, v.kind})
			own.attrs[name] = ai
			tx.schemaChanged = true
		}
		v.column = ai
	}
	return ""
}
