// SPDX-License-Identifier: Apache-2.0

package local

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/meter"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
)

// kind is the type of a measure or of one attribute.
type kind uint8

const (
	kindDouble kind = iota
	kindBigint
	kindVarchar
	kindBoolean
	kindMulti
	// kindTimestamp is a type of attributes only.
	kindTimestamp
	sampleKinds = kindTimestamp
)

// kindInfo is what each kind is called: by the API, by SHOW and DESCRIBE and our tables, and as a DuckDB column.
var kindInfo = [...]struct {
	api, lower, duck string
	scalar           sqlplan.Scalar
}{
	kindDouble:    {"DOUBLE", "double", "DOUBLE", sqlplan.Double},
	kindBigint:    {"BIGINT", "bigint", "BIGINT", sqlplan.Bigint},
	kindVarchar:   {"VARCHAR", "varchar", "VARCHAR", sqlplan.Varchar},
	kindBoolean:   {"BOOLEAN", "boolean", "BOOLEAN", sqlplan.Boolean},
	kindMulti:     {"MULTI", "multi", "", ""},
	kindTimestamp: {"TIMESTAMP", "timestamp", "BIGINT", sqlplan.Timestamp},
}

func parseKind(api string) (kind, bool) {
	for k := range kindInfo {
		if kindInfo[k].api == api {
			return kind(k), true
		}
	}
	return 0, false
}

func kindFromLower(s string) (kind, bool) {
	for k := range kindInfo {
		if kindInfo[k].lower == s {
			return kind(k), true
		}
	}
	return 0, false
}

// seriesKey identifies a series within a table: the sum of 128-bit hashes of its dimensions and its measure name, under
// seeds of this process. A sum needs no sorting, so what the dimensions of CommonAttributes add is worked out once per
// request. Two of a billion series meet by chance with a probability of 10^-21.
type seriesKey [2]uint64

func (k *seriesKey) add(o seriesKey) {
	k[0] += o[0]
	k[1] += o[1]
}

// hasher makes series keys.
type hasher struct{ a, b maphash.Seed }

func newHasher() hasher { return hasher{maphash.MakeSeed(), maphash.MakeSeed()} }

// sum hashes tag, x, NUL, y. Names hold no control characters, so that is unambiguous.
func (h *hasher) sum(buf []byte, tag byte, x, y string) (seriesKey, []byte) {
	buf = append(buf[:0], tag)
	buf = append(buf, x...)
	buf = append(buf, 0)
	buf = append(buf, y...)
	return seriesKey{maphash.Bytes(h.a, buf), maphash.Bytes(h.b, buf)}, buf
}

const (
	tagDimension = 'd'
	tagMeasure   = 'm'
	tagAttribute = 'a'
)

// A series' identity in the tables, its sid, is a number that is used once, below 2^32, and above it the place of its measure name
// among the table's. So samples sorted by sid have the series of one measure name together, which is what most statements ask for.
const (
	numberBits = 32
	maxSeries  = 1<<numberBits - 1
	// numberSQL is the number of the column sid.
	numberSQL = "(sid & 4294967295)"
)

func seriesID(measure int, number int64) int64 { return int64(measure)<<numberBits | number }

func seriesNumber(sid int64) int64 { return sid & maxSeries }

// mark is a series and its newest record, the high-water mark: what is newer is new without a look into the database.
type mark struct {
	sid  int64
	time int64
	// first is a time before which the series has no record.
	first int64
	ver   int64
	// bits are the value: a double's bits, a bigint, 0 or 1, and for texts and multi-measure records a hash under
	// seeds of this process, which is known only while the process lives.
	bits  uint64
	kind  kind
	known bool
	// names and values are what every record of the series weighs, but for its value.
	names  uint16
	values uint32
}

// noTime is the mark of a series without records.
const noTime = math.MinInt64

// schema is the shape of a table. Its slices only grow; a published schema sees a prefix of them.
type schema struct {
	dims     []string
	attrs    []attribute
	measures []*measure
	// kinds are the sample tables that exist, in order of appearance.
	kinds []kind
}

type attribute struct {
	name string
	kind kind
}

type measure struct {
	name string
	kind kind
	// dims has a bit for each dimension that was seen with the measure.
	dims [2]atomic.Uint64
	// kept are those that cat_dimensions has. They belong to the writer goroutine.
	kept [2]uint64
}

func (m *measure) dimensionSeen(i int)     { m.dims[i/64].Or(1 << (i % 64)) }
func (m *measure) forgetDimension(i int)   { m.dims[i/64].And(^(uint64(1) << (i % 64))) }
func (m *measure) hasDimension(i int) bool { return m.dims[i/64].Load()>>(i%64)&1 == 1 }

func (s *schema) hasKind(k kind) bool {
	for _, have := range s.kinds {
		if have == k {
			return true
		}
	}
	return false
}

// properties are a table's settings; a change makes a new value.
type properties struct {
	updated        time.Time
	memoryHours    int64
	magneticDays   int64
	magneticWrites bool
	rejectedTo     *wtypes.MagneticStoreRejectedDataLocation
	partitionKey   wtypes.PartitionKey
}

// retention is how long a row is kept: the two are added (Developer Guide, storage).
func (p *properties) memory() time.Duration   { return time.Duration(p.memoryHours) * time.Hour }
func (p *properties) magnetic() time.Duration { return time.Duration(p.magneticDays) * 24 * time.Hour }

// oldest is the time, in nanoseconds, before which rows are expired.
func (p *properties) oldest(now time.Time) int64 {
	return max(0, now.UnixNano()-int64(p.memory())-int64(p.magnetic()))
}

// table is one Timestream table. What the writer goroutine alone may touch is behind own.
type table struct {
	id             int64
	database, name string
	created        time.Time

	props   atomic.Pointer[properties]
	schema  atomic.Pointer[schema]
	dropped atomic.Bool
	// tags are guarded by catalogue.mu; a change makes a new map.
	tags map[string]string
	// spans are what readers know of the series' times.
	spans spans
	// hidden tells until when some records are not seen.
	hidden hiddenUntil
	// series is the number of series, for the metrics.
	series atomic.Int64
	// meter keeps count of what the table would cost.
	meter *meter.Table

	own tableState
}

// tableState is the writer's view of a table, which runs ahead of the published one by the transaction in hand.
type tableState struct {
	schema   schema
	dims     map[string]int
	attrs    map[string]int
	measures map[string]int
	// series finds a series' place in marks.
	series map[seriesKey]uint32
	marks  []mark
	// nextSid is the number of the next series.
	nextSid int64
	// unlogged is what cat_cost does not have yet.
	unlogged meter.Delta
	// meterRows is the number of rows of cat_cost that are the table's.
	// summed is that number once the transaction that sums them up has ended well.
	meterRows, summed int
	// live is the part that new records of a kind go to, nil while there are none; settled are the other parts that readers
	// see. The lists and what they point to are not changed, but replaced.
	live    [sampleKinds]*part
	settled [sampleKinds][]*part
	// building is the run that is being made of some of them.
	building *rewriteJob
	nextPart int64
	// spare is the last transaction, whose memory the next one uses.
	spare *tableTx
}

func newTable(id int64, database, name string, created time.Time) *table {
	t := &table{id: id, database: database, name: name, created: created, meter: meter.NewTable(created)}
	t.own = tableState{
		dims:     map[string]int{},
		attrs:    map[string]int{},
		measures: map[string]int{},
		series:   map[seriesKey]uint32{},
		nextSid:  1,
		nextPart: 1,
	}
	t.publish()
	return t
}

// publish shows the writer's schema to readers.
func (t *table) publish() {
	s := t.own.schema
	t.schema.Store(&s)
}

func (t *table) countSeries() { t.series.Store(int64(len(t.own.marks))) }

// database is one Timestream database; its fields are guarded by catalogue.mu.
type database struct {
	name, kmsKey     string
	created, updated time.Time
	tables           map[string]*table
	tags             map[string]string
}

// catalogue is all databases. The writer goroutine changes it, under mu.
type catalogue struct {
	mu        sync.RWMutex
	databases map[string]*database
	nextID    int64
	// scheduled are the tags of scheduled queries by id.
	scheduled map[string]*tagged
}

func (c *catalogue) database(name string) *database {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.databases[name]
}

// table returns a table; the second result tells whether its database exists.
func (c *catalogue) table(db, name string) (*table, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	d := c.databases[db]
	if d == nil {
		return nil, false
	}
	return d.tables[name], true
}

// series returns the number of series in all tables.
func (c *catalogue) series() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var n int64
	for _, d := range c.databases {
		for _, t := range d.tables {
			n += t.series.Load()
		}
	}
	return n
}

// prepared is a valid record with its values read, on its way to the writer.
type prepared struct {
	key  seriesKey
	slot int64
	time int64
	ver  int64
	bits uint64
	kind kind
	// sent is what the record adds to its request's weight, value what its measure's value weighs, with the attributes' names.
	sent, value weight
	// repeated are the values of its dimensions that an earlier record of the request has too.
	repeated uint32
	// late tells that the record belongs in the magnetic store.
	late    bool
	measure string
	// common and own are the dimensions.
	common, own []record.Dimension
	// str is a VARCHAR value.
	str string
	// values are those of a multi-measure record.
	values []attrValue
	// reason is why the record is rejected before it reaches the writer.
	reason string
}

// attrValue is one value of a multi-measure record.
type attrValue struct {
	name string
	kind kind
	bits uint64
	str  string
	// column is the attribute's place in the schema, set by the writer.
	column int
}
