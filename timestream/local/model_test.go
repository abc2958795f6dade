// SPDX-License-Identifier: Apache-2.0

package local

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/meter"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
	"github.com/tributary-project/tributary/timestream/result"
)

var (
	modelSeed  = flag.Uint64("model.seed", 1, "the first seed of TestStoreModel")
	modelSeeds = flag.Int("model.seeds", 2, "how many seeds TestStoreModel runs")
	modelOps   = flag.Int("model.ops", 80, "how many operations TestStoreModel makes of each seed")
)

// TestStoreModel makes random operations (requests alone and in groups, of all kinds and units of time, late, repeated, conflicting and
// updated; failing transactions; parts sealed, rewritten and merged, stopped between two pieces; retention that shrinks and grows; tables
// dropped and made again; hidden records; results held open; crashes, clean ends) and compares every way to read with a map.
func TestStoreModel(t *testing.T) {
	for i := range *modelSeeds {
		seed := *modelSeed + uint64(i)
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { newStoreModel(t, seed).run(*modelOps) })
	}
}

type storeModel struct {
	*testing.T
	rng    *rand.Rand
	db     *DB
	dir    string
	now    atomic.Int64
	opened atomic.Pointer[DB]
	// gate lets the rewrite go on between two pieces; open lets it always.
	gate   chan struct{}
	open   atomic.Bool
	tables map[string]*modelTable
	// grain is the finest unit of times that are made.
	grain int
	// seal, piece and fanIn are how parts grow and are rewritten.
	seal, piece int64
	fanIn       int
	log         []string
}

type modelTable struct {
	dims, attrs []string
	kinds       []kind
	measures    map[string]*modelMeasure
	recs        map[string]*modelRecord
	memory      int64
	days        int64
	// expired is the latest time before which records had expired at some moment.
	expired int64
}

type modelMeasure struct{ kind kind }

type modelRecord struct {
	measure string
	dims    [][2]string
	time    int64
	ver     int64
	vals    map[string]string
	until   int64
}

func (r *modelRecord) key() string { return fmt.Sprint(r.series(), " @", r.time) }
func (r *modelRecord) series() string {
	d := slices.Clone(r.dims)
	slices.SortFunc(d, func(a, b [2]string) int { return cmp.Compare(a[0], b[0]) })
	return fmt.Sprintf("%s %q", r.measure, d)
}

func newStoreModel(t *testing.T, seed uint64) *storeModel {
	m := &storeModel{T: t, rng: rand.New(rand.NewPCG(seed, 99)), dir: t.TempDir(), gate: make(chan struct{}), tables: map[string]*modelTable{}}
	m.now.Store(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).UnixNano())
	m.seal, m.piece, m.fanIn = 10+m.rng.Int64N(60), 5+m.rng.Int64N(30), 2+m.rng.IntN(3)
	m.openDB(m.dir)
	t.Cleanup(func() {
		m.open.Store(true)
		if err := m.opened.Load().Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log("parts of", m.seal, "pieces of", m.piece, "merged by", m.fanIn, "\n", strings.Join(m.log[max(0, len(m.log)-8):], "\n"))
		}
	})
	m.createTable("tab1")
	m.createTable("tab2")
	return m
}

func (m *storeModel) clock() time.Time { return time.Unix(0, m.now.Load()).UTC() }

func (m *storeModel) config(dir string) Config {
	cfg := DefaultConfig()
	cfg.Dir, cfg.DefaultDatabase, cfg.DefaultTable = dir, "db1", "other"
	cfg.Now = m.clock
	cfg.Logger = slog.New(slog.NewTextHandler(m.Output(), &slog.HandlerOptions{Level: slog.LevelError + 4}))
	cfg.CheckpointLogSize = 64 << 10
	cfg.SmallParts(m.seal, m.piece, m.fanIn, nil)
	cfg.rewrite.retry = 10 * time.Millisecond
	return cfg
}

func (m *storeModel) openDB(dir string) {
	m.Helper()
	cfg := m.config(dir)
	cfg.rewrite.between = func() {
		for !m.open.Load() {
			db := m.opened.Load()
			if db == nil {
				return
			}
			select {
			case <-m.gate:
				return
			case <-db.background.Done():
				return
			case <-time.After(time.Millisecond):
			}
		}
	}
	m.opened.Store(nil)
	db, err := Open(context.Background(), cfg)
	if err != nil {
		m.Fatal(err)
	}
	m.opened.Store(db)
	m.db, m.dir = db, dir
}

func (m *storeModel) note(format string, a ...any) { m.log = append(m.log, fmt.Sprintf(format, a...)) }

func (m *storeModel) createTable(name string) {
	m.Helper()
	hours, days := int64(1+m.rng.IntN(3)), int64(1+m.rng.IntN(2))
	_, err := m.db.CreateTable(context.Background(), &timestreamwrite.CreateTableInput{DatabaseName: aws.String("db1"), TableName: &name,
		RetentionProperties:          &wtypes.RetentionProperties{MemoryStoreRetentionPeriodInHours: &hours, MagneticStoreRetentionPeriodInDays: &days},
		MagneticStoreWriteProperties: &wtypes.MagneticStoreWriteProperties{EnableMagneticStoreWrites: aws.Bool(true)}})
	if err != nil {
		m.Fatal(err)
	}
	m.tables[name] = &modelTable{measures: map[string]*modelMeasure{}, recs: map[string]*modelRecord{}, memory: hours, days: days}
}

func (mt *modelTable) oldest(now int64) int64 {
	return now - mt.memory*int64(time.Hour) - mt.days*24*int64(time.Hour)
}

var modelDoubles = []string{"0.0", "-0.0", "1", "-1", "0.1", "0.3", "2.675", "1.005", "123456.789", "-0.000001", "1e-7", "4.9e-324", "2.2250738585072014e-308", "1.7976931348623157e308", "-1.7976931348623157e308",
	"9007199254740993", "9007199254740992", "9007199254740991", "-9007199254740993", "9223372036854775807", "9223372036854774784", "9223372036854775808", "-9223372036854775808", "1e18", "9.2e18", "9.3e15", "9.2e15", "9.3e12", "1e19", "0.1234567", "0.333333", "3.3333333333333335", "1e15", "1000000000000000.5",
	"4503599627370497.5", "9007199254740.993", "9223372036854775.807", "9223372036854.775807", "0.001", "0.0005", "0.0000005", "1e22", "1e23", "-5e-324"}

// value makes a value of a kind and what reading it has to give.
func (m *storeModel) value(k kind, unit int64) (text, canonical string) {
	r := m.rng
	switch k {
	case kindDouble:
		switch r.IntN(4) {
		case 0:
			text = modelDoubles[r.IntN(len(modelDoubles))]
		case 1:
			text = strconv.FormatFloat(float64(r.IntN(2000)-1000)/math.Pow10(r.IntN(9)), 'g', -1, 64)
		case 2:
			f := math.Float64frombits(r.Uint64())
			if math.IsNaN(f) || math.IsInf(f, 0) {
				f = 5
			}
			text = strconv.FormatFloat(f, 'g', -1, 64)
		default:
			text = strconv.FormatInt(r.Int64N(4)*r.Int64N(1<<50), 10)
		}
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			m.Fatal(err)
		}
		return text, fmt.Sprintf("%x", math.Float64bits(f))
	case kindBigint:
		text = strconv.FormatInt([]int64{0, 1, -1, math.MaxInt64, math.MinInt64, 1 << 53, 1<<53 + 1, r.Int64()}[r.IntN(8)], 10)
		return text, text
	case kindBoolean:
		text = strconv.FormatBool(r.IntN(2) == 0)
		return text, text
	case kindTimestamp:
		n := r.Int64N(1 << 30)
		return strconv.FormatInt(n, 10), time.Unix(0, n*unit).UTC().Format(modelTime)
	}
	text = []string{"x", "it's", "ä\"ö", "NULL", "0", " ", "a;DROP", strconv.Itoa(r.IntN(9)), strings.Repeat("long", 1+r.IntN(20))}[r.IntN(9)]
	return text, text
}

const modelTime = "2006-01-02 15:04:05.000000000"

var modelUnits = []struct {
	unit  wtypes.TimeUnit
	nanos int64
}{{wtypes.TimeUnitSeconds, 1e9}, {wtypes.TimeUnitMilliseconds, 1e6}, {wtypes.TimeUnitMicroseconds, 1e3}, {wtypes.TimeUnitNanoseconds, 1}}

// record makes a record and what it is in the model.
func (m *storeModel) record(mt *modelTable) (wtypes.Record, *modelRecord) {
	r := m.rng
	u := modelUnits[r.IntN(m.grain+1)]
	// A grid of few times, so that they meet, around now or long ago, and fine offsets that fall between.
	at := m.now.Load()/int64(time.Minute)*int64(time.Minute) - int64(r.IntN(25))*int64(time.Minute)
	switch r.IntN(12) {
	case 0:
		at -= int64(r.IntN(60)) * int64(time.Hour)
	case 1:
		at += int64(r.IntN(14)) * int64(time.Minute)
	}
	at += int64(r.IntN(3)) * u.nanos
	if start := m.now.Load() - mt.memory*int64(time.Hour) - int64(25*time.Minute) - mt.days*24*int64(time.Hour); at < start {
		at = (start/u.nanos + 1) * u.nanos
	}
	measures := []struct {
		name string
		kind kind
	}{{"d", kindDouble}, {"d", kindDouble}, {"d2", kindDouble}, {"n", kindBigint}, {"s", kindVarchar}, {"b", kindBoolean}, {"m", kindMulti}, {"m", kindMulti}, {"m2", kindMulti}}
	x := measures[r.IntN(len(measures))]
	mr := &modelRecord{measure: x.name, time: at, vals: map[string]string{}, ver: int64(1 + r.IntN(10)/7*r.IntN(4))}
	mr.dims = append(mr.dims, [2]string{"host", strconv.Itoa(r.IntN(3))})
	if r.IntN(4) == 0 {
		mr.dims = append(mr.dims, [2]string{"zone", "z'" + strconv.Itoa(r.IntN(2))})
	}
	if r.IntN(40) == 0 {
		mr.dims = append(mr.dims, [2]string{"dim" + strconv.Itoa(r.IntN(4)), "v"})
	}
	rec := wtypes.Record{MeasureName: &mr.measure, Time: aws.String(strconv.FormatInt(at/u.nanos, 10)), TimeUnit: u.unit, Version: &mr.ver, MeasureValueType: wtypes.MeasureValueType(kindInfo[x.kind].api)}
	for _, d := range mr.dims {
		rec.Dimensions = append(rec.Dimensions, dimension(d[0], d[1]))
	}
	if x.kind != kindMulti {
		text, want := m.value(x.kind, u.nanos)
		rec.MeasureValue = &text
		mr.vals["measure_value::"+kindInfo[x.kind].lower] = want
		return rec, mr
	}
	pool := []struct {
		name string
		kind kind
	}{{"ad", kindDouble}, {"an", kindBigint}, {"as", kindVarchar}, {"ab", kindBoolean}, {"at", kindTimestamp}}
	n := 1 + r.IntN(3)
	if r.IntN(20) == 0 {
		k := r.IntN(12)
		pool = append(pool, struct {
			name string
			kind kind
		}{"late" + strconv.Itoa(k), []kind{kindDouble, kindBigint, kindVarchar, kindBoolean}[k%4]})
		n = len(pool)
	}
	for _, i := range r.Perm(len(pool))[:n] {
		text, want := m.value(pool[i].kind, u.nanos)
		rec.MeasureValues = append(rec.MeasureValues, wtypes.MeasureValue{Name: &pool[i].name, Value: &text, Type: wtypes.MeasureValueType(kindInfo[pool[i].kind].api)})
		mr.vals[pool[i].name] = want
	}
	return rec, mr
}

// modelRequest is a request, before it is known what becomes of it.
type modelRequest struct {
	table string
	sdk   *timestreamwrite.WriteRecordsInput
	recs  []*modelRecord
	hide  time.Duration
	done  chan error
}

func (m *storeModel) request(table string) *modelRequest {
	mt := m.tables[table]
	q := &modelRequest{table: table, done: make(chan error, 1), sdk: &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("db1"), TableName: &table}}
	var again []string
	if m.rng.IntN(3) == 0 {
		again = slices.Sorted(maps.Keys(mt.recs))
	}
	for range 1 + m.rng.IntN(30) {
		rec, mr := m.record(mt)
		if len(again) > 0 && m.rng.IntN(2) == 0 { // at a key that is stored
			old := mt.recs[again[m.rng.IntN(len(again))]]
			if old.measure == mr.measure && old.time >= m.now.Load()-mt.memory*int64(time.Hour)-mt.days*24*int64(time.Hour) {
				// its series and time, at nanoseconds
				mr.dims, mr.time = old.dims, old.time
				rec.Dimensions = nil
				for _, d := range mr.dims {
					rec.Dimensions = append(rec.Dimensions, dimension(d[0], d[1]))
				}
				if _, ok := mr.vals["at"]; !ok {
					rec.Time, rec.TimeUnit = aws.String(strconv.FormatInt(old.time, 10)), wtypes.TimeUnitNanoseconds
					mr.ver = old.ver + int64(m.rng.IntN(3)) - 1
					mr.ver = max(mr.ver, 1)
				} else {
					continue
				}
			}
		}
		q.sdk.Records = append(q.sdk.Records, rec)
		q.recs = append(q.recs, mr)
	}
	if len(q.recs) == 0 {
		return m.request(table)
	}
	if m.rng.IntN(12) == 0 {
		q.hide = time.Duration(1+m.rng.IntN(40)) * time.Minute
	}
	return q
}

func (m *storeModel) send(q *modelRequest) {
	req := record.FromSDK(q.sdk)
	req.Hide = q.hide
	_, err := m.db.Write(context.Background(), req)
	q.done <- err
}

// apply does to the model what the store has to have done, and compares the rejections.
func (m *storeModel) apply(q *modelRequest, err error) {
	m.Helper()
	var internal *wtypes.InternalServerException
	if errors.As(err, &internal) {
		return
	}
	mt, now := m.tables[q.table], m.now.Load()
	want := map[int32]string{}
	for i, r := range q.recs {
		mm := mt.measures[r.measure]
		if mm == nil {
			mm = &modelMeasure{kind: kindOf(r)}
			mt.measures[r.measure] = mm
		}
		for _, d := range r.dims {
			if !slices.Contains(mt.dims, d[0]) {
				mt.dims = append(mt.dims, d[0])
			}
		}
		if !slices.Contains(mt.kinds, mm.kind) {
			mt.kinds = append(mt.kinds, mm.kind)
		}
		if mm.kind == kindMulti {
			for _, v := range q.sdk.Records[i].MeasureValues {
				if !slices.Contains(mt.attrs, *v.Name) {
					mt.attrs = append(mt.attrs, *v.Name)
				}
			}
		}
		have := mt.recs[r.key()]
		late := r.time < now-mt.memory*int64(time.Hour)-int64(25*time.Minute)
		switch {
		case have == nil:
			n := *r
			if q.hide > 0 {
				n.until = now + int64(q.hide)
			}
			mt.recs[r.key()] = &n
		case r.ver > have.ver:
			n := *r
			n.until = have.until
			mt.recs[r.key()] = &n
		case r.ver == have.ver && maps.Equal(r.vals, have.vals), late:
		case r.ver == have.ver:
			want[int32(i)] = "same"
		default:
			want[int32(i)] = strconv.FormatInt(have.ver, 10)
		}
	}
	got := map[int32]string{}
	var rejected *wtypes.RejectedRecordsException
	if errors.As(err, &rejected) {
		for _, x := range rejected.RejectedRecords {
			got[x.RecordIndex] = "same"
			if x.ExistingVersion != nil {
				got[x.RecordIndex] = strconv.FormatInt(*x.ExistingVersion, 10)
			} else if *x.Reason != textSameVersion {
				got[x.RecordIndex] = *x.Reason
			}
		}
	} else if err != nil {
		m.Fatalf("write: %v", err)
	}
	if !maps.Equal(got, want) {
		for i := range q.recs {
			if got[int32(i)] != want[int32(i)] {
				m.Errorf("record %d, %v version %d %v: got %q, want %q", i, q.recs[i].key(), q.recs[i].ver, q.recs[i].vals, got[int32(i)], want[int32(i)])
			}
		}
		m.Fatal("rejections")
	}
}

func kindOf(r *modelRecord) kind {
	for k := range sampleKinds {
		if _, ok := r.vals["measure_value::"+kindInfo[k].lower]; ok {
			return k
		}
	}
	return kindMulti
}

// group sends requests that go into one transaction.
func (m *storeModel) group(n int) {
	entered, gate := make(chan struct{}), make(chan struct{})
	go func() {
		_ = m.db.writer.between(context.Background(), func() {
			close(entered)
			<-gate
		})
	}()
	<-entered
	// The rewrite has jobs in the queue, too.
	requests := func() (n int) {
		for range len(m.db.writer.queue) {
			job := <-m.db.writer.queue
			if _, ok := job.(*writeJob); ok {
				n++
			}
			m.db.writer.queue <- job
		}
		return n
	}
	var all []*modelRequest
	for range n {
		q := m.request(m.someTable())
		all = append(all, q)
		go m.send(q)
		waitFor(m.T, "a request in the queue", func() bool { return requests() == len(all) })
	}
	close(gate)
	for _, q := range all {
		m.apply(q, <-q.done)
	}
}

func (m *storeModel) someTable() string { return []string{"tab1", "tab1", "tab2"}[m.rng.IntN(3)] }

// letGo lets the rewrite do some pieces.
func (m *storeModel) letGo(n int) {
	for range n {
		select {
		case m.gate <- struct{}{}:
		case <-time.After(3 * time.Millisecond):
		}
	}
}

func (m *storeModel) run(ops int) {
	var held *heldResult
	for i := range ops {
		m.grain = i * 4 / ops
		if i%10 == 0 {
			m.open.Store(m.rng.IntN(3) == 0)
		}
		for _, mt := range m.tables {
			mt.expired = max(mt.expired, mt.oldest(m.now.Load()))
		}
		op := m.rng.IntN(40)
		m.note("%d: op %d at %v", i, op, m.clock())
		switch {
		case op < 12:
			q := m.request(m.someTable())
			m.send(q)
			m.apply(q, <-q.done)
		case op < 17:
			m.group(2 + m.rng.IntN(5))
		case op < 18:
			onWriter(m.T, m.db, func() {
				real, failures := m.db.writer.commitTx, 1+m.rng.IntN(3)
				m.db.writer.commitTx = func() error {
					if failures--; failures >= 0 {
						return &duck.Error{Text: "IO Error: no space"}
					}
					m.db.writer.commitTx = real
					return real()
				}
			})
			m.group(1 + m.rng.IntN(4))
			onWriter(m.T, m.db, func() { m.db.writer.commitTx = m.db.writer.conn.Commit })
		case op < 21:
			held.close(m) // a token does not live long
			held = nil
			m.now.Add(int64(m.rng.IntN(20)) * int64(time.Minute))
		case op < 22:
			held.close(m)
			held = nil
			m.now.Add(int64(m.rng.IntN(20)) * int64(time.Hour))
		case op < 24:
			if err := m.db.DeleteExpired(context.Background()); err != nil {
				m.Fatal(err)
			}
			for _, mt := range m.tables {
				maps.DeleteFunc(mt.recs, func(_ string, r *modelRecord) bool { return r.time < mt.oldest(m.now.Load()) })
			}
		case op < 25:
			name := m.someTable()
			mt := m.tables[name]
			mt.memory, mt.days = int64(1+m.rng.IntN(5)), int64(1+m.rng.IntN(3))
			if _, err := m.db.UpdateTable(context.Background(), &timestreamwrite.UpdateTableInput{DatabaseName: aws.String("db1"), TableName: &name,
				RetentionProperties: &wtypes.RetentionProperties{MemoryStoreRetentionPeriodInHours: &mt.memory, MagneticStoreRetentionPeriodInDays: &mt.days}}); err != nil {
				m.Fatal(err)
			}
		case op < 27:
			m.db.SealAll(m.T)
		case op < 30:
			m.letGo(1 + m.rng.IntN(6))
		case op < 31:
			if held == nil { // or the change to a run waits for its pages
				m.open.Store(true)
				m.db.AwaitRewritten(m.T)
			}
		case op < 32:
			if i > ops/4 && m.rng.IntN(3) == 0 {
				name := m.someTable()
				if _, err := m.db.DeleteTable(context.Background(), &timestreamwrite.DeleteTableInput{DatabaseName: aws.String("db1"), TableName: &name}); err != nil {
					m.Fatal(err)
				}
				m.createTable(name)
			}
		case op < 34:
			held.close(m)
			held = nil
			m.crash()
		case op < 35:
			held.close(m)
			held = nil
			if err := m.db.Close(); err != nil {
				m.Fatal(err)
			}
			m.openDB(m.dir)
		case op < 36:
			if held == nil {
				held = m.hold()
			}
		case op < 37:
			if err := m.db.ForgetHidden(context.Background()); err != nil {
				m.Fatal(err)
			}
		default:
			held.close(m)
			held = nil
			m.check(m.db, "as it runs")
		}
		if m.Failed() {
			return
		}
	}
	held.close(m)
	m.check(m.db, "at the end")
	m.open.Store(true)
	m.db.SealAll(m.T)
	m.db.AwaitRewritten(m.T)
	m.check(m.db, "rewritten")
	m.crash()
	if err := m.db.Close(); err != nil {
		m.Fatal(err)
	}
	m.openDB(m.dir)
	m.check(m.db, "opened at last")
}

// crash opens what a process finds that was killed now, between two transactions of the writer and two pieces of a rewrite.
func (m *storeModel) crash() {
	m.Helper()
	if err := m.db.keepMeters(context.Background()); err != nil {
		m.Fatal(err)
	}
	image := m.TempDir()
	meters := map[string]map[int64]meter.Stored{}
	state := func(db *DB) {
		for name, mt := range m.tables {
			tab, _ := db.cat.table("db1", name)
			tab.age(m.clock())
			got := map[int64]meter.Stored{}
			tab.meter.State(m.clock(), func(h, _ int64, s meter.Stored) {
				// Of the hour that is expiring a part is an estimate, and a longer retention brings back what rows of cat_cost have.
				if h > mt.expired/int64(time.Hour)+1 {
					got[h] = s
				}
			})
			if want, ok := meters[name]; ok && !maps.Equal(got, want) {
				m.Errorf("the meter of %s had %v before the crash, and %v after it", name, want, got)
			}
			meters[name] = got
		}
	}
	onWriter(m.T, m.db, func() {
		m.db.rewriter.piece.Lock()
		defer m.db.rewriter.piece.Unlock()
		files, err := filepath.Glob(filepath.Join(m.dir, fileName+"*"))
		if err != nil || len(files) == 0 {
			m.Error(files, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err == nil {
				err = os.WriteFile(filepath.Join(image, filepath.Base(f)), b, 0o600)
			}
			if err != nil {
				m.Error(err)
			}
		}
		state(m.db)
	})
	if m.rng.IntN(2) == 0 {
		cfg := m.config(image)
		db, err := Open(context.Background(), cfg)
		if err != nil {
			m.Fatal(err)
		}
		m.check(db, "after a crash")
		state(db)
		if err := db.Close(); err != nil {
			m.Error(err)
		}
		return
	}
	if err := m.db.Close(); err != nil {
		m.Fatal(err)
	}
	m.openDB(image)
	m.check(m.db, "after a crash, going on")
	onWriter(m.T, m.db, func() { state(m.db) })
}

// rows runs a statement without pages.
func (m *storeModel) rows(db *DB, sql string, kinds ...result.Kind) [][]string {
	m.Helper()
	out := [][]string{}
	_, err := db.QueryRows(context.Background(), sql, kinds, func(r result.Row) error {
		row := make([]string, len(r))
		for i, c := range r {
			switch {
			case c.Null:
				row[i] = "\x00"
			case c.Points != nil:
				p := make([]string, len(c.Points))
				for k := range p {
					p[k] = fmt.Sprintf("%d=%x", c.Points[k].T, math.Float64bits(c.Points[k].V))
				}
				sort.Strings(p)
				row[i] = strings.Join(p, " ")
			default:
				row[i] = string(c.Text)
			}
		}
		out = append(out, row)
		return nil
	})
	if err != nil {
		m.Fatalf("%s: %v", sql, err)
	}
	return out
}

func quoted(names ...string) string {
	for i := range names {
		names[i] = `"` + names[i] + `"`
	}
	return strings.Join(names, ", ")
}

// columns are those of the flat relation, in their order.
func (mt *modelTable) columns() (all []string) {
	all = append(all, mt.dims...)
	all = append(all, "measure_name", "time")
	for _, k := range mt.kinds {
		if k != kindMulti {
			all = append(all, "measure_value::"+kindInfo[k].lower)
		}
	}
	return append(all, mt.attrs...)
}

// flat is what SELECT * has to give, as texts of rows.
func (mt *modelTable) flat(now int64) []string {
	columns := mt.columns()
	var out []string
	for _, r := range mt.visible(now) {
		row := make([]string, len(columns))
		for i, c := range columns {
			v, ok := r.vals[c]
			switch {
			case c == "measure_name":
				v = r.measure
			case c == "time":
				v = time.Unix(0, r.time).UTC().Format(modelTime)
			case i < len(mt.dims):
				at := slices.IndexFunc(r.dims, func(d [2]string) bool { return d[0] == c })
				if at < 0 {
					v = "\x00"
				} else {
					v = r.dims[at][1]
				}
			case !ok:
				v = "\x00"
			}
			row[i] = v
		}
		out = append(out, strings.Join(row, "|"))
	}
	sort.Strings(out)
	return out
}

// visible are the records that a statement sees.
func (mt *modelTable) visible(now int64) []*modelRecord {
	var out []*modelRecord
	for _, r := range mt.recs {
		if r.time >= mt.oldest(now) && r.until <= now {
			out = append(out, r)
		}
	}
	return out
}

// texts makes rows comparable: doubles as their bits.
func (mt *modelTable) texts(rows [][]string) []string {
	columns := mt.columns()
	out := []string{}
	for _, row := range rows {
		for i, c := range columns {
			if row[i] != "\x00" && (c == "measure_value::double" || c == "ad" || strings.HasPrefix(c, "late") && mt.double(c)) {
				if f, err := strconv.ParseFloat(row[i], 64); err == nil {
					row[i] = fmt.Sprintf("%x", math.Float64bits(f))
				}
			}
		}
		out = append(out, strings.Join(row, "|"))
	}
	sort.Strings(out)
	return out
}

func (mt *modelTable) double(attr string) bool {
	k, _ := strconv.Atoi(strings.TrimPrefix(attr, "late"))
	return k%4 == 0
}

func (m *storeModel) same(when, what string, got, want []string) {
	m.Helper()
	if slices.Equal(got, want) {
		return
	}
	var b strings.Builder
	n := 0
	in := func(list []string) map[string]int {
		c := map[string]int{}
		for _, s := range list {
			c[s]++
		}
		return c
	}
	g, w := in(got), in(want)
	for _, s := range slices.Sorted(maps.Keys(g)) {
		if g[s] != w[s] && n < 10 {
			fmt.Fprintf(&b, "\n got %d times, want %d: %q", g[s], w[s], s)
			n++
		}
	}
	for _, s := range slices.Sorted(maps.Keys(w)) {
		if g[s] == 0 && n < 20 {
			fmt.Fprintf(&b, "\n missing: %q", s)
			n++
		}
	}
	if b.Len() == 0 {
		fmt.Fprintf(&b, "\n got %q\nwant %q", got, want)
	}
	m.Errorf("%s: %s: %d rows, want %d%s", when, what, len(got), len(want), &b)
}

func (m *storeModel) check(db *DB, when string) {
	m.Helper()
	for name, mt := range m.tables {
		m.checkTable(db, when+", "+name, `"db1"."`+name+`"`, mt)
	}
	checkStore(m.T, db, when)
}

func (m *storeModel) checkTable(db *DB, when, table string, mt *modelTable) {
	m.Helper()
	now := m.now.Load()
	var described []string
	for _, r := range m.rows(db, "DESCRIBE "+table, 0, 0, 0) {
		described = append(described, r[0])
	}
	want := mt.columns()
	if len(mt.dims) == 0 {
		want = described
	}
	m.same(when, "DESCRIBE", described, want)
	var shown, measures []string
	out, err := db.Query(context.Background(), &timestreamquery.QueryInput{QueryString: aws.String("SHOW MEASURES FROM " + table)})
	if err != nil {
		m.Fatal(err)
	}
	for _, r := range out.Rows {
		shown = append(shown, *r.Data[0].ScalarValue+" "+*r.Data[1].ScalarValue)
	}
	for n, x := range mt.measures {
		measures = append(measures, n+" "+kindInfo[x.kind].lower)
	}
	sort.Strings(measures)
	m.same(when, "SHOW MEASURES", shown, measures)
	if len(mt.dims) == 0 || m.Failed() {
		return
	}
	m.same(when, "SELECT *", mt.texts(m.rows(db, "SELECT * FROM "+table, make([]result.Kind, len(mt.columns()))...)), mt.flat(now))

	visible := mt.visible(now)
	counts := map[string][3]int64{}
	first, last := int64(math.MaxInt64), int64(0)
	for _, r := range visible {
		c, ok := counts[r.measure]
		if !ok {
			c = [3]int64{0, math.MaxInt64, 0}
		}
		counts[r.measure] = [3]int64{c[0] + 1, min(c[1], r.time), max(c[2], r.time)}
		first, last = min(first, r.time), max(last, r.time)
	}
	var list []string
	for n, c := range counts {
		list = append(list, fmt.Sprintf("%s|%d|%s|%s", n, c[0], time.Unix(0, c[1]).UTC().Format(modelTime), time.Unix(0, c[2]).UTC().Format(modelTime)))
	}
	sort.Strings(list)
	m.same(when, "counts", join(m.rows(db, "SELECT measure_name, count(*), min(time), max(time) FROM "+table+" GROUP BY measure_name", 0, 0, 0, 0)), list)

	from, to := now, now
	if len(visible) > 0 {
		from = first + m.rng.Int64N(last-first+1)
		to = from + m.rng.Int64N(last-from+1)
	}
	dims := append([]string{}, mt.dims...)
	listed := map[string]bool{}
	series := map[string]map[string]bool{}
	for _, r := range visible {
		id := r.measure
		for _, d := range mt.dims {
			v := "\x00"
			for _, x := range r.dims {
				if x[0] == d {
					v = x[1]
				}
			}
			id += "|" + v
		}
		if r.time >= from && r.time <= to {
			listed[id] = true
		}
		if bits, ok := r.vals["measure_value::double"]; ok && r.time >= from {
			if series[id] == nil {
				series[id] = map[string]bool{}
			}
			ms := r.time / 1e6
			for n := 0; ; n++ { // several points of one millisecond
				p := fmt.Sprintf("%d=%s #%d", ms, bits, n)
				if !series[id][p] {
					series[id][p] = true
					break
				}
			}
		}
	}
	names := quoted(append([]string{"measure_name"}, dims...)...)
	condition := fmt.Sprintf(" FROM %s WHERE time >= from_nanoseconds(%d)", table, from)
	m.same(when, "listing", join(m.rows(db, "SELECT DISTINCT "+names+condition+fmt.Sprintf(" AND time <= from_nanoseconds(%d)", to), make([]result.Kind, 1+len(dims))...)), slices.Sorted(maps.Keys(listed)))
	if slices.Contains(mt.kinds, kindDouble) {
		kinds := append(make([]result.Kind, 1+len(dims)), result.Doubles)
		got := m.rows(db, "SELECT "+names+", CREATE_TIME_SERIES(time, measure_value::double)"+condition+" AND measure_value::double IS NOT NULL GROUP BY "+names, kinds...)
		var want []string
		for id, points := range series {
			var p []string
			for x := range points {
				x, _, _ = strings.Cut(x, " #")
				p = append(p, x)
			}
			sort.Strings(p)
			want = append(want, id+"|"+strings.Join(p, " "))
		}
		sort.Strings(want)
		m.same(when, "series", join(got), want)
	}
}

func join(rows [][]string) []string {
	out := []string{}
	for _, r := range rows {
		out = append(out, strings.Join(r, "|"))
	}
	sort.Strings(out)
	return out
}

// heldResult is a result whose first page has been fetched.
type heldResult struct {
	table *modelTable
	sql   string
	token *string
	rows  [][]string
	want  []string
	// view is the table as it was.
	view modelTable
}

func (m *storeModel) hold() *heldResult {
	name := m.someTable()
	mt := m.tables[name]
	if len(mt.dims) == 0 {
		return nil
	}
	h := &heldResult{table: mt, sql: `SELECT * FROM "db1"."` + name + `"`, want: mt.flat(m.now.Load()), view: modelTable{dims: slices.Clone(mt.dims), attrs: slices.Clone(mt.attrs), kinds: slices.Clone(mt.kinds)}}
	h.page(m)
	return h
}

func (h *heldResult) page(m *storeModel) bool {
	out, err := m.db.Query(context.Background(), &timestreamquery.QueryInput{QueryString: &h.sql, NextToken: h.token, MaxRows: aws.Int32(9)})
	if err != nil {
		m.Fatal(err)
	}
	for _, r := range out.Rows {
		row := make([]string, len(r.Data))
		for i, d := range r.Data {
			if row[i] = "\x00"; d.ScalarValue != nil {
				row[i] = *d.ScalarValue
			}
		}
		h.rows = append(h.rows, row)
	}
	h.token = out.NextToken
	return h.token != nil
}

// close reads the rest of the pages: they are of the moment when the statement began.
func (h *heldResult) close(m *storeModel) {
	m.Helper()
	if h == nil {
		return
	}
	for h.token != nil && h.page(m) {
	}
	m.same("pages", h.sql, h.view.texts(h.rows), h.want)
}

// checkStore holds what the store relies on: keys are unique, marks are right, the catalogue lists the parts there are, and there is no
// table besides.
func checkStore(t *testing.T, db *DB, when string) {
	t.Helper()
	onWriter(t, db, func() {
		tables := map[string]bool{}
		parts := 0
		for _, d := range db.cat.databases {
			for _, tab := range d.tables {
				own := &tab.own
				tables[tab.seriesTable()] = true
				marks := map[int64]*mark{}
				for i := range own.marks {
					if marks[own.marks[i].sid] != nil {
						t.Errorf("%s: two series have the number %d", when, own.marks[i].sid)
					}
					marks[own.marks[i].sid] = &own.marks[i]
				}
				seen := map[int64]bool{}
				for _, k := range own.schema.kinds {
					all := own.parts(k)
					if own.building != nil && own.building.out.kind == k {
						all = append(all, own.building.out)
					}
					for _, p := range all {
						parts++
						tables[tab.partTable(p)] = true
						if p.encoded() || p.state == partRun || p.state == partBuilding {
							tables[tab.partMarks(p)] = true
						}
					}
					err := db.each(context.Background(), "SELECT sid, min(t), max(t), count(*), count(DISTINCT t) FROM "+tab.sampleView(k)+" GROUP BY sid", func(c []duck.Column, i int) error {
						sid := c[0].Int64(i)
						m := marks[sid]
						switch {
						case m == nil:
							t.Errorf("%s: %s has records of the unknown series %d", when, tab.name, sid)
							return nil
						case m.time != c[2].Int64(i) || m.first > c[1].Int64(i) || m.kind != k:
							t.Errorf("%s: %s: series %d has %d to %d, its mark says %d to %d", when, tab.name, sid, c[1].Int64(i), c[2].Int64(i), m.first, m.time)
						case c[3].Int64(i) != c[4].Int64(i):
							t.Errorf("%s: %s: series %d has %d records at %d times", when, tab.name, sid, c[3].Int64(i), c[4].Int64(i))
						}
						seen[sid] = true
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
				for sid, m := range marks {
					if !seen[sid] && m.time != noTime {
						t.Errorf("%s: %s: series %d has no records, but a mark at %d", when, tab.name, sid, m.time)
					}
				}
			}
		}
		err := db.each(context.Background(), "SELECT table_name FROM duckdb_tables() WHERE NOT temporary AND table_name NOT LIKE 'cat%'", func(c []duck.Column, i int) error {
			if name := c[0].String(i); !tables[name] {
				t.Errorf("%s: the table %s belongs to nothing", when, name)
			}
			delete(tables, c[0].String(i))
			return nil
		})
		if err != nil || len(tables) > 0 {
			t.Errorf("%s: missing %v, %v", when, tables, err)
		}
		n := 0
		err = db.each(context.Background(), "SELECT count(*) FROM cat_parts", func(c []duck.Column, i int) error {
			n = int(c[0].Int64(i))
			return nil
		})
		if err != nil || n != parts {
			t.Errorf("%s: the catalogue lists %d parts, there are %d: %v", when, n, parts, err)
		}
	})
}
