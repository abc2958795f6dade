// SPDX-License-Identifier: Apache-2.0

package local

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
	"github.com/tributary-project/tributary/timestream/local/internal/shape"
	"github.com/tributary-project/tributary/timestream/metering"
)

// checkShape checks what the service's front door checks: the constraints of the API model. A violation fails the whole
// request (API reference, WriteRecords).
func checkShape(r *record.Request) error {
	c := shapeCheck{missing: r.Missing}
	if r.Database == "" {
		c.Null(memberDatabase)
	}
	if r.Table == "" {
		c.Null(memberTable)
	}
	switch n := len(r.Records); {
	case n == 0 && slices.Contains(r.Missing, record.MissingRecords):
		c.Null("records")
	case n > timestream.MaxRecordsPerWrite:
		// What is wrong with the records themselves nobody will fix one by one.
		c.Length(n, 1, timestream.MaxRecordsPerWrite, "", "records")
		return c.AsWrite()
	default:
		c.Length(n, 1, timestream.MaxRecordsPerWrite, "[]", "records")
	}
	c.record(&r.Common, func() string { return "commonAttributes" })
	for i := range r.Records {
		c.record(&r.Records[i], func() string { return "records." + strconv.Itoa(i+1) + ".member" })
	}
	return c.AsWrite()
}

// shapeCheck checks records; missing are the paths of required members that are not there.
type shapeCheck struct {
	shape.Violations
	missing []string
}

// record checks one record; path names it, in the words of the service, when something is wrong.
func (c *shapeCheck) record(r *record.Record, path func() string) {
	if n := len(r.Dimensions); n > timestream.MaxDimensionsPerTable {
		c.Length(n, 0, timestream.MaxDimensionsPerTable, "", path()+".dimensions")
		return
	}
	for i := range r.Dimensions {
		d := &r.Dimensions[i]
		member := func(name string) string { return path() + ".dimensions." + strconv.Itoa(i+1) + ".member." + name }
		if d.Name == "" {
			c.empty(member("name"))
		}
		if d.Value == "" {
			c.absent(member("value"))
		}
		if d.Type != "" && d.Type != string(wtypes.DimensionValueTypeVarchar) {
			c.Add(d.Type, member("dimensionValueType"), "satisfy enum value set: [VARCHAR]")
		}
	}
	if r.Has&record.MeasureName != 0 && r.MeasureName == "" {
		c.empty(path() + ".measureName")
	}
	if r.Has&record.MeasureValue != 0 {
		c.value(r.MeasureValue, func() string { return path() + ".measureValue" })
	}
	if r.Has&record.MeasureValueType != 0 {
		if _, ok := parseKind(r.MeasureValueType); !ok {
			c.Add(r.MeasureValueType, path()+".measureValueType", valueTypes)
		}
	}
	if r.Has&record.TimeUnit != 0 {
		if _, ok := unitNanos(r.TimeUnit); !ok {
			c.Add(r.TimeUnit, path()+".timeUnit", "satisfy enum value set: [MICROSECONDS, NANOSECONDS, SECONDS, MILLISECONDS]")
		}
	}
	if n := len(r.Time); r.Has&record.Time != 0 && (n == 0 || n > maxTimeText) {
		c.Length(n, 1, maxTimeText, r.Time, path()+".time")
	}
	for i := range r.Attributes {
		a := &r.Attributes[i]
		member := func(name string) string {
			return path() + ".measureValues." + strconv.Itoa(i+1) + ".member." + name
		}
		if a.Name == "" {
			c.empty(member("name"))
		}
		c.value(a.Value, func() string { return member("value") })
		if a.Type == "" && c.absent(member("type")) {
			continue
		}
		if _, ok := parseKind(a.Type); !ok {
			c.Add(a.Type, member("type"), valueTypes)
		}
	}
}

const (
	valueTypes  = "satisfy enum value set: [BIGINT, BOOLEAN, TIMESTAMP, VARCHAR, DOUBLE, MULTI]"
	maxTimeText = 256
)

// absent notes that a required member is not there, if so.
func (c *shapeCheck) absent(path string) bool {
	if !slices.Contains(c.missing, path) {
		return false
	}
	c.Null(path)
	return true
}

// empty notes that a required text is empty or not there.
func (c *shapeCheck) empty(path string) {
	if !c.absent(path) {
		c.Length(0, 1, 1, "", path)
	}
}

func (c *shapeCheck) value(v string, path func() string) {
	switch {
	case v == "":
		c.empty(path())
	case len(v) > timestream.MaxValueBytes && utf8.RuneCountInString(v) > timestream.MaxValueBytes:
		c.Length(utf8.RuneCountInString(v), 1, timestream.MaxValueBytes, "", path())
	}
}

// unitNanos returns the nanoseconds of a TimeUnit.
func unitNanos(unit string) (int64, bool) {
	switch unit {
	case "MILLISECONDS":
		return 1e6, true
	case "SECONDS":
		return 1e9, true
	case "MICROSECONDS":
		return 1e3, true
	case "NANOSECONDS":
		return 1, true
	}
	return 0, false
}

// window is the range of times that a table takes at some moment, in nanoseconds: [start, end). Records older than memory go
// to the magnetic store.
type window struct {
	start, end, memory int64
	magneticWrites     bool
}

// window follows the Developer Guide, data-ingest, and the ranges that the service prints in rejections: they are 40
// minutes wider than the retention. How those 40 minutes are split is not known (15 of them are the documented future
// allowance).
func (db *DB) window(p *properties, now time.Time) window {
	w := window{
		memory:         now.Add(-p.memory() - db.cfg.PastGrace).UnixNano(),
		end:            now.Add(db.cfg.FutureGrace).UnixNano(),
		magneticWrites: p.magneticWrites,
	}
	w.start = w.memory
	if p.magneticWrites {
		w.start -= int64(p.magnetic())
	}
	return w
}

// reason is the text of a rejection.
func (w *window) reason() string {
	layout := func(ns int64) string { return time.Unix(0, ns).UTC().Format(timeLayoutWindow) }
	store := "memory store."
	if w.magneticWrites {
		store = "data ingestion window."
	}
	return "The record timestamp is outside the time range [" + layout(w.start) + ", " + layout(w.end) + ") of the " + store
}

// preparer turns records into prepared ones. Its slices are used again for the next request.
type preparer struct {
	db      *DB
	limits  Limits
	window  window
	key     *wtypes.PartitionKey
	common  *record.Record
	recs    []prepared
	values  []attrValue
	buf     []byte
	sum     seriesKey
	bytes   int
	badPair string
	// sent is the weight of the request, repeats the dimensions it has had.
	sent    metering.Request
	repeats hashSet
}

// prepare reads the values of a request whose shape is right. An error fails the whole request; what fails a single
// record is noted in it (Developer Guide, writes; API reference, RejectedRecord).
func (p *preparer) prepare(r *record.Request) error {
	p.common = &r.Common
	p.recs, p.values = p.recs[:0], p.values[:0]
	if err := p.commonDimensions(); err != nil {
		return err
	}
	p.weighCommon(r)
	for i := range r.Records {
		p.recs = append(p.recs, prepared{})
		if err := p.record(&r.Records[i], &p.recs[i]); err != nil {
			return err
		}
		p.weigh(&r.Records[i], &p.recs[i])
	}
	return nil
}

func (p *preparer) commonDimensions() error {
	p.sum, p.bytes, p.badPair = seriesKey{}, 0, ""
	for i := range p.common.Dimensions {
		d := &p.common.Dimensions[i]
		if err := p.dimension(d, p.common.Dimensions[:i], nil); err != nil {
			return err
		}
		var k seriesKey
		k, p.buf = p.db.hash.sum(p.buf, tagDimension, d.Name, d.Value)
		p.sum.add(k)
		p.bytes += len(d.Name) + len(d.Value)
		if p.badPair == "" {
			p.badPair = badPair(d)
		}
	}
	return nil
}

// dimension checks a dimension's name, and that it is not among those before it.
func (p *preparer) dimension(d *record.Dimension, before, before2 []record.Dimension) error {
	if !validDimension(d.Name) {
		return writeInvalid("The dimension name '%s' is invalid: it must have 1 to %d bytes, must not be reserved, and must not contain : or \" or control characters.", d.Name, timestream.MaxDimensionNameBytes)
	}
	if hasDimension(before, d.Name) || hasDimension(before2, d.Name) {
		return writeInvalid("Dimensions must have unique names: '%s' appears more than once.", d.Name)
	}
	return nil
}

func hasDimension(dims []record.Dimension, name string) bool {
	for i := range dims {
		if dims[i].Name == name {
			return true
		}
	}
	return false
}

// validDimension is timestream.ValidDimensionName, quick for the names that are usual.
func validDimension(name string) bool {
	if len(name) == 0 || len(name) > timestream.MaxDimensionNameBytes {
		return false
	}
	return usualName(name) || timestream.ValidDimensionName(name)
}

func validMeasure(name string) bool {
	if len(name) == 0 || len(name) > timestream.MaxMeasureNameBytes {
		return false
	}
	return usualName(name) || timestream.ValidMeasureName(name)
}

// usualName tells that a name holds only characters that are allowed anywhere, and begins unlike any reserved name.
func usualName(name string) bool {
	if strings.HasPrefix(name, "t") || strings.HasPrefix(name, "measure_") {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// badPair returns why a record with this dimension is rejected. That a value must not be empty was the rule of the
// first API; the present one does not say.
func badPair(d *record.Dimension) string {
	if d.Value == "" {
		return record.TextEmptyDimension(d.Name)
	}
	if len(d.Name)+len(d.Value) > timestream.MaxPairBytes {
		return record.TextLongDimension(d.Name)
	}
	return ""
}

// record merges one record with the common attributes and reads it. A member of the record wins over the common one; the
// service's order is not known.
func (p *preparer) record(r *record.Record, out *prepared) error {
	c := p.common
	pick := func(f record.Field, own, common, absent string) string {
		switch {
		case r.Has&f != 0:
			return own
		case c.Has&f != 0:
			return common
		}
		return absent
	}
	if err := p.dimensions(r, out); err != nil {
		return err
	}
	if err := p.measureName(pick(record.MeasureName, r.MeasureName, c.MeasureName, ""), out); err != nil {
		return err
	}
	unit, _ := unitNanos(pick(record.TimeUnit, r.TimeUnit, c.TimeUnit, "MILLISECONDS"))
	t, ok := parseTime(pick(record.Time, r.Time, c.Time, ""), unit)
	if !ok {
		return writeInvalid(record.TextBadTime)
	}
	out.time = t
	out.ver = 1
	if r.Has&record.Version != 0 {
		out.ver = r.Version
	} else if c.Has&record.Version != 0 {
		out.ver = c.Version
	}
	if out.ver < 1 {
		return writeInvalid("The record version %d is invalid: it must be at least 1.", out.ver)
	}
	out.kind, _ = parseKind(pick(record.MeasureValueType, r.MeasureValueType, c.MeasureValueType, "DOUBLE"))
	if err := p.value(r, out, unit, pick(record.MeasureValue, r.MeasureValue, c.MeasureValue, "")); err != nil {
		return err
	}
	p.window.check(out)
	return nil
}

func (w *window) check(out *prepared) {
	out.late = out.time < w.memory
	if out.time < w.start || out.time >= w.end {
		out.reason = w.reason()
	}
}

func (p *preparer) dimensions(r *record.Record, out *prepared) error {
	out.common, out.own = p.common.Dimensions, r.Dimensions
	if len(out.common)+len(out.own) == 0 {
		return writeInvalid(textNoDimension)
	}
	out.key = p.sum
	out.reason = p.badPair
	bytes := p.bytes
	for i := range out.own {
		d := &out.own[i]
		if err := p.dimension(d, out.own[:i], out.common); err != nil {
			return err
		}
		var k seriesKey
		k, p.buf = p.db.hash.sum(p.buf, tagDimension, d.Name, d.Value)
		out.key.add(k)
		bytes += len(d.Name) + len(d.Value)
		if p.repeats.add(k[0]) {
			out.repeated += uint32(len(d.Value))
		}
		if out.reason == "" {
			out.reason = badPair(d)
		}
	}
	if out.reason == "" && p.limits == LimitsStrict && bytes > timestream.MaxPairBytes {
		out.reason = "The dimension names and values of the record sum to " + strconv.Itoa(bytes) + " bytes, which exceeds the limit of 2048."
	}
	if k := p.key; k != nil && !hasDimension(out.own, *k.Name) && !hasDimension(out.common, *k.Name) {
		return writeInvalid("The record lacks the dimension '%s', which the table's partition key requires.", *k.Name)
	}
	return nil
}

func (p *preparer) measureName(name string, out *prepared) error {
	if name == "" {
		return writeInvalid("A measure name is required for a record.")
	}
	if !validMeasure(name) {
		return writeInvalid("The measure name '%s' is invalid: it must have 1 to %d bytes, must not be reserved, and must not contain : or control characters.", name, timestream.MaxMeasureNameBytes)
	}
	out.measure = name
	var k seriesKey
	k, p.buf = p.db.hash.sum(p.buf, tagMeasure, name, "")
	out.key.add(k)
	return nil
}

func (p *preparer) value(r *record.Record, out *prepared, unit int64, value string) error {
	attrs := r.Attributes
	if len(attrs) == 0 {
		attrs = p.common.Attributes
	}
	if out.kind == kindMulti {
		if value != "" {
			return writeInvalid("MeasureValue is not allowed in a record of type MULTI.")
		}
		return p.multi(attrs, unit, out)
	}
	if out.kind == kindTimestamp {
		return writeInvalid(textBadTimestamp)
	}
	if len(attrs) > 0 {
		return writeInvalid("MeasureValues are allowed only in a record of type MULTI.")
	}
	if value == "" {
		return writeInvalid("A measure value is required for a record.")
	}
	bits, ok := parseValue(out.kind, value, unit)
	if !ok {
		return badValue(out.kind, value)
	}
	out.bits = bits
	if out.kind == kindVarchar {
		out.str = value
		var k seriesKey
		k, p.buf = p.db.hash.sum(p.buf, tagAttribute, "", value)
		out.bits = k[0]
		if len(value) > timestream.MaxValueBytes && out.reason == "" {
			out.reason = record.TextLongValue
		}
	}
	return nil
}

func badValue(k kind, value string) error {
	return writeInvalid("%s", record.TextBadValue(value, kindInfo[k].lower))
}

func (p *preparer) multi(attrs []record.Attribute, unit int64, out *prepared) error {
	if len(attrs) == 0 {
		return writeInvalid("A record of type MULTI requires MeasureValues.")
	}
	start, bytes := len(p.values), 0
	var sum seriesKey
	for i := range attrs {
		a := &attrs[i]
		if !validMeasure(a.Name) {
			return writeInvalid("The measure name '%s' is invalid: it must have 1 to %d bytes, must not be reserved, and must not contain : or control characters.", a.Name, timestream.MaxMeasureNameBytes)
		}
		for k := range i {
			if attrs[k].Name == a.Name {
				return writeInvalid("MeasureValues must have unique names: '%s' appears more than once.", a.Name)
			}
		}
		v := attrValue{name: a.Name}
		v.kind, _ = parseKind(a.Type)
		if v.kind == kindMulti {
			// The API model has one list of types for records and for their attributes; so this is not its front door's to refuse.
			return writeInvalid("MULTI is an invalid measure value type.")
		}
		var ok bool
		if v.bits, ok = parseValue(v.kind, a.Value, unit); !ok {
			return badValue(v.kind, a.Value)
		}
		if v.kind == kindVarchar {
			v.str = a.Value
			if len(a.Value) > timestream.MaxValueBytes && out.reason == "" {
				out.reason = record.TextLongValue
			}
		}
		bytes += v.size()
		p.buf = p.db.addValue(&sum, &v, p.buf)
		p.values = append(p.values, v)
	}
	out.bits = sum[0]
	out.values = p.values[start:len(p.values):len(p.values)]
	if out.reason == "" {
		switch {
		case len(attrs) > timestream.MaxAttributesPerRecord:
			out.reason = "The record has " + strconv.Itoa(len(attrs)) + " measure values, which exceeds the limit of 256."
		case p.limits == LimitsStrict && bytes > timestream.MaxValueBytes:
			out.reason = "The measure values of the record sum to " + strconv.Itoa(bytes) + " bytes, which exceeds the limit of 2048."
		}
	}
	return nil
}

// addValue adds one attribute to the hash of a multi-measure record.
func (db *DB) addValue(sum *seriesKey, v *attrValue, buf []byte) []byte {
	text := v.str
	if v.kind != kindVarchar {
		text = strconv.FormatUint(v.bits, 16)
	}
	k, buf := db.hash.sum(buf, tagAttribute, v.name, text)
	sum.add(k)
	return buf
}

// size is what a value weighs (Developer Guide, metering-and-pricing.writes).
func (v *attrValue) size() int {
	switch v.kind {
	case kindVarchar:
		return len(v.str)
	case kindBoolean:
		return 1
	}
	return 8
}

// parseTime reads a Time in units of unit nanoseconds: a decimal number, not negative, within 64 bits of nanoseconds.
func parseTime(s string, unit int64) (int64, bool) {
	if s == "" || len(s) > 19 {
		return 0, false
	}
	var v uint64
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		v = v*10 + uint64(c)
	}
	if v > uint64(math.MaxInt64/unit) {
		return 0, false
	}
	return int64(v) * unit, true
}

// parseValue reads a measure value. The service's grammars are taken to be those of Java's parseDouble without the
// values that are not finite (Developer Guide, writes: NaN and Infinity are not supported), of parseLong, and true or
// false in any case.
func parseValue(k kind, s string, unit int64) (uint64, bool) {
	switch k {
	case kindDouble:
		v, ok := parseDouble(s)
		return math.Float64bits(v), ok
	case kindBigint:
		v, err := strconv.ParseInt(s, 10, 64)
		return uint64(v), err == nil
	case kindBoolean:
		switch {
		case strings.EqualFold(s, "true"):
			return 1, true
		case strings.EqualFold(s, "false"):
			return 0, true
		}
		return 0, false
	case kindTimestamp:
		v, ok := parseTime(s, unit)
		return uint64(v), ok
	}
	return 0, true
}

func parseDouble(s string) (float64, bool) {
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		// An underscore passes only between the digits of a hexadecimal number, where Java has none.
		return v, !math.IsInf(v, 0) && !math.IsNaN(v) && !strings.Contains(s, "_")
	}
	t := strings.Trim(s, " \t\r\n")
	if n := len(t); n > 1 && strings.ContainsRune("dDfF", rune(t[n-1])) {
		t = t[:n-1]
	}
	if t == s || t == "" || strings.ContainsAny(t, "_nN") {
		return 0, false
	}
	v, err := strconv.ParseFloat(t, 64)
	return v, err == nil && !math.IsInf(v, 0) && !math.IsNaN(v)
}
