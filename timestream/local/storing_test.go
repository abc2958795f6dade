// SPDX-License-Identifier: Apache-2.0

package local

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/tributary-project/tributary/timestream/local/internal/record"
	"github.com/tributary-project/tributary/timestream/local/internal/storing"
)

// What is wrong with one record costs no other, whatever class of error a request with it would have; the bytes are those that are metered.
func TestStoring(t *testing.T) {
	m := openMetered(t, t.TempDir(), meterNoon)
	var refused []string
	s := storing.Writer{Target: inside{m.DB}, Database: "db1", Table: "tab", Refused: func(r *record.Record, reason string) {
		refused = append(refused, r.MeasureValue+": "+reason)
	}}
	one := func(i int, value string) record.Record {
		return record.Record{
			Dimensions: []record.Dimension{{Name: "n", Value: strconv.Itoa(i)}}, MeasureName: "m", MeasureValue: value, MeasureValueType: "DOUBLE",
			Time: strconv.FormatInt(meterNoon.UnixNano(), 10), TimeUnit: "NANOSECONDS",
			Has: record.MeasureName | record.MeasureValue | record.MeasureValueType | record.Time | record.TimeUnit,
		}
	}
	var records []record.Record
	for i := range 250 {
		records = append(records, one(i, "1"))
	}
	records[7] = one(7, "NaN")
	records[130] = one(130, "")
	records[131] = one(131, "Infinity")
	if err := s.Write(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"NaN: Invalid value NaN for double measure value type.",
		": 1 validation error detected: Value '' at 'records.1.member.measureValue' failed to satisfy constraint: Member must have length greater than or equal to 1",
		"Infinity: Invalid value Infinity for double measure value type.",
	}
	if s.Records != 247 || !slices.Equal(refused, want) {
		t.Errorf("got %d records, refused %q", s.Records, refused)
	}
	usage := m.table(t).meter.Usage(m.now)
	if usage.Written.Records != 247 || s.Bytes != 1024*usage.Written.Units[m.cfg.Cost.Rule] {
		t.Errorf("got %d bytes, metered %+v", s.Bytes, usage.Written)
	}

	// Another value without a version is rejected, with one it takes the place of the first.
	refused = nil
	if err := s.Write(t.Context(), []record.Record{one(0, "2"), one(1, "1")}); err != nil || s.Records != 248 || len(refused) != 1 {
		t.Errorf("got %d records, refused %q, %v", s.Records, refused, err)
	}
	s.Version, refused = 7, nil
	if err := s.Write(t.Context(), []record.Record{one(0, "2")}); err != nil || s.Records != 249 || len(refused) != 0 {
		t.Errorf("got %d records, refused %q, %v", s.Records, refused, err)
	}
	s.Table = "none"
	if err := s.Write(t.Context(), records); err == nil || fmt.Sprintf("%T", err) != "*types.ResourceNotFoundException" {
		t.Errorf("got %v", err)
	}
}
