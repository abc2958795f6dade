// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/wire"
)

// standstill is what the databases of these tests take for now.
var standstill = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// sample is a record as JSON; members are name, value, … and replace the usual ones, of which "" leaves one out.
func sample(members ...string) string {
	m := map[string]json.RawMessage{
		"Dimensions": json.RawMessage(`[{"Name":"h","Value":"a"}]`), "MeasureName": json.RawMessage(`"m"`), "MeasureValue": json.RawMessage(`"1"`),
		"Time": json.RawMessage(fmt.Sprintf(`"%d"`, standstill.UnixMilli())),
	}
	for i := 0; i < len(members); i += 2 {
		if members[i+1] == "" {
			delete(m, members[i])
		} else {
			m[members[i]] = json.RawMessage(members[i+1])
		}
	}
	b, _ := json.Marshal(m)
	return string(b)
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// dims are dimensions d<from> to d<to-1>; values attributes a<from> to a<to-1>.
func dims(from, to int) string {
	var list []string
	for i := from; i < to; i++ {
		list = append(list, fmt.Sprintf(`{"Name":"d%d","Value":"x"}`, i))
	}
	return "[" + strings.Join(list, ",") + "]"
}

func values(from, to int) string {
	var list []string
	for i := from; i < to; i++ {
		list = append(list, fmt.Sprintf(`{"Name":"a%d","Value":"true","Type":"BOOLEAN"}`, i))
	}
	return "[" + strings.Join(list, ",") + "]"
}

func multi(values string, members ...string) string {
	return sample(append([]string{"MeasureName", `"multi"`, "MeasureValue", "", "MeasureValueType", `"MULTI"`, "MeasureValues", values}, members...)...)
}

func at(offset time.Duration) string {
	return fmt.Sprintf(`"%d"`, standstill.Add(offset).UnixMilli())
}

// outcome is what one WriteRecords request is answered: "" for success, "[0] reason; [2] reason" for records that are rejected, anything else is
// the text of a ValidationException.
type outcome struct {
	name    string
	common  string
	records []string
	want    string
}

func checkOutcomes(t *testing.T, url string, outcomes []outcome) {
	t.Helper()
	for _, o := range outcomes {
		t.Run(o.name, func(t *testing.T) {
			body := fmt.Sprintf(`{"DatabaseName":%q,"TableName":%q,"Records":[%s]`, database, table, strings.Join(o.records, ","))
			if o.common != "" {
				body += `,"CommonAttributes":` + o.common
			}
			status, header, answer := post(t, url, prefix+"WriteRecords", body+"}")
			checkHeader(t, header)
			got, wantStatus := fmt.Sprint(answer["message"]), 400
			switch {
			case status == 200:
				got, wantStatus = "", 200
				if n := answer["RecordsIngested"].(map[string]any); n["Total"] != float64(len(o.records)) || n["Total"] != n["MemoryStore"].(float64)+n["MagneticStore"].(float64) {
					t.Errorf("got %v for %d records", n, len(o.records))
				}
			case status == 419:
				if answer["__type"] != serviceSpace+"RejectedRecordsException" || got != "One or more records have been rejected. See RejectedRecords for details." {
					t.Errorf("got %v", answer)
				}
				var reasons []string
				for _, r := range answer["RejectedRecords"].([]any) {
					r := r.(map[string]any)
					reason := fmt.Sprintf("[%v] %v", r["RecordIndex"], r["Reason"])
					if v, ok := r["ExistingVersion"]; ok {
						reason += fmt.Sprintf(" (existing %v)", v)
					}
					reasons = append(reasons, reason)
				}
				got, wantStatus = strings.Join(reasons, "; "), 419
			case answer["__type"] != serviceSpace+"ValidationException" && answer["__type"] != modelSpace+"ValidationException":
				t.Errorf("got %v", answer)
			}
			if got != o.want || status != wantStatus {
				t.Errorf("got  %d %s\nwant %s", status, got, o.want)
			}
		})
	}
}

// serveStill serves a database whose clock stands.
func serveStill(t *testing.T, limits local.Limits) string {
	t.Helper()
	return serve(t, func(c *local.Config) {
		c.Limits, c.Now = limits, func() time.Time { return standstill }
	}, wire.Options{}).URL
}

// TestConformanceLimits goes to every limit of a record, a request and a table and one beyond, in both readings of the size of a record
// (Developer Guide, ts-limits; what is known of crossing them comes from a public connector's tests against the service).
func TestConformanceLimits(t *testing.T) {
	x := func(n int) string { return quoted(strings.Repeat("x", n)) }
	pair := func(name, value int) string { return fmt.Sprintf(`[{"Name":%s,"Value":%s}]`, x(name), x(value)) }
	text := func(members ...string) string {
		return sample(append([]string{"MeasureName", `"text"`, "MeasureValueType", `"VARCHAR"`}, members...)...)
	}
	value := func(name, n int) string { return fmt.Sprintf(`{"Name":%s,"Value":%s,"Type":"VARCHAR"}`, x(name), x(n)) }
	const names = "is invalid: it must have 1 to"
	for _, limits := range []local.Limits{local.LimitsStrict, local.LimitsObserved} {
		t.Run(string(limits), func(t *testing.T) {
			strictly := func(want string) string {
				if limits == local.LimitsStrict {
					return want
				}
				return ""
			}
			url := serveStill(t, limits)
			hundred := make([]string, 100)
			for i := range hundred {
				hundred[i] = sample("Time", at(time.Duration(-i)*time.Second))
			}
			checkOutcomes(t, url, []outcome{
				{"100 records", "", hundred, ""},
				{"101 records", "", append(hundred[:100:100], sample()), invalid(must("...", "records", "have length less than or equal to 100"))},
				{"a dimension's name of 60 bytes", "", []string{sample("Dimensions", pair(60, 1))}, ""},
				{"a dimension's name of 61 bytes", "", []string{sample("Dimensions", pair(61, 1))}, "The dimension name '" + strings.Repeat("x", 61) + "' " + names + " 60 bytes, must not be reserved, and must not contain : or \" or control characters."},
				{"60 bytes in 30 characters", "", []string{sample("Dimensions", `[{"Name":"`+strings.Repeat("ä", 30)+`","Value":"a"}]`)}, ""},
				{"a measure's name of 256 bytes", "", []string{sample("MeasureName", x(256))}, ""},
				{"a measure's name of 257 bytes", "", []string{sample("MeasureName", x(257))}, "The measure name '" + strings.Repeat("x", 257) + "' " + names + " 256 bytes, must not be reserved, and must not contain : or control characters."},
				{"a pair of 2048 bytes", "", []string{sample("Dimensions", pair(60, 1988))}, ""},
				{"a pair of 2049 bytes", "", []string{sample(), sample("Dimensions", pair(60, 1989))}, "[1] The dimension '" + strings.Repeat("x", 60) + "' exceeds the limit of 2048 bytes for a dimension name and value pair."},
				{"dimensions of 2049 bytes", "", []string{sample("Dimensions", `[{"Name":"b","Value":`+x(2046)+`},{"Name":"c","Value":"y"}]`)}, strictly("[0] The dimension names and values of the record sum to 2049 bytes, which exceeds the limit of 2048.")},
				{"a text of 2048 bytes", "", []string{text("MeasureValue", x(2048))}, ""},
				{"a text of 2049 characters", "", []string{text("MeasureValue", x(2049))}, invalid(must("...", "records.1.member.measureValue", "have length less than or equal to 2048"))},
				{"a text of 2050 bytes in 1025 characters", "", []string{text("MeasureValue", quoted(strings.Repeat("ä", 1025)))}, "[0] A measure value of the record exceeds the limit of 2048 bytes."},
				{"an attribute with a long name and a long text", "", []string{multi("[" + value(256, 2048) + "]")}, ""},
				{"attributes of 2049 bytes", "", []string{multi("["+value(10, 2048)+`,{"Name":"flag","Value":"true","Type":"BOOLEAN"}]`, "Time", at(-time.Second))}, strictly("[0] The measure values of the record sum to 2049 bytes, which exceeds the limit of 2048.")},
				{"an attribute's name of 257 bytes", "", []string{multi("[" + value(257, 1) + "]")}, "The measure name '" + strings.Repeat("x", 257) + "' " + names + " 256 bytes, must not be reserved, and must not contain : or control characters."},
				{"256 attributes", "", []string{multi(values(0, 256), "Time", at(-2*time.Second))}, ""},
				{"257 attributes", "", []string{multi(values(0, 257), "Time", at(-3*time.Second))}, "[0] The record has 257 measure values, which exceeds the limit of 256."},
			})

			url = serveStill(t, limits)
			rows := []outcome{
				{"128 dimensions in a request", "", []string{sample("Dimensions", dims(0, 100)), sample("Dimensions", dims(100, 128))}, ""},
				{"the 129th", "", []string{sample("Dimensions", dims(0, 1)), sample("Dimensions", dims(128, 129))}, "The request would give the table more than 128 dimensions."},
				{"those that are there", "", []string{sample("Dimensions", dims(0, 128))}, ""},
				{"129 dimensions in a record", "", []string{sample("Dimensions", dims(0, 129))}, invalid(must("...", "records.1.member.dimensions", "have length less than or equal to 128"))},
				{"129 dimensions in a record, hoisted", `{"Dimensions":` + dims(0, 1) + `}`, []string{sample("Dimensions", dims(1, 129))}, "The request would give the table more than 128 dimensions."},
				{"1024 attributes", "", []string{
					multi(values(0, 256), "Dimensions", dims(0, 1), "Time", at(0)), multi(values(256, 512), "Dimensions", dims(0, 1), "Time", at(-1e6)),
					multi(values(512, 768), "Dimensions", dims(0, 1), "Time", at(-2e6)), multi(values(768, 1024), "Dimensions", dims(0, 1), "Time", at(-3e6))}, ""},
				{"the 1025th", "", []string{multi(values(1024, 1025), "Dimensions", dims(0, 1), "Time", at(-4e6))}, "[0] The record would give the table more than 1024 multi-measure attributes."},
			}
			// The names so far are m and multi.
			for from := 2; from < 8192; from += 90 {
				var recs []string
				for i := from; i < min(from+90, 8192); i++ {
					recs = append(recs, sample("Dimensions", dims(0, 1), "MeasureName", fmt.Sprintf(`"name%d"`, i)))
				}
				rows = append(rows, outcome{fmt.Sprintf("measure names to %d", from+90), "", recs, ""})
			}
			rows = append(rows, outcome{"the 8193rd measure name", "", []string{sample("Dimensions", dims(0, 1), "MeasureName", `"one_more"`), sample("Dimensions", dims(0, 1), "Time", at(-time.Minute))}, "[0] The table has the maximum of 8192 measure names."})
			checkOutcomes(t, url, rows)
		})
	}
}

// TestConformanceWriteRecords: merging, the order of validation, versions, the window, values (API reference, WriteRecords and RejectedRecord;
// texts from captures of the service).
func TestConformanceWriteRecords(t *testing.T) {
	const same = "A record already exists with the same time, dimensions, measure name, and record version. A higher record version must be specified in order to update the measure value. Specifying record version is supported by the latest SDKs."
	lower := func(incoming, stored int) string {
		return fmt.Sprintf("The record version %d is lower than the existing version %d. A higher version is required to update the measure value. (existing %d)", incoming, stored, stored)
	}
	value := func(v, typ string) string {
		return sample("MeasureName", quoted("value-"+typ), "MeasureValue", quoted(v), "MeasureValueType", quoted(typ))
	}
	bad := func(v, typ string) string { return "Invalid value " + v + " for " + typ + " measure value type." }
	version := func(name string, v int, value string) string {
		return sample("MeasureName", quoted(name), "Version", fmt.Sprint(v), "MeasureValue", quoted(value))
	}
	const window = "The record timestamp is outside the time range [2026-11-21T05:35:00.000Z, 2026-11-21T12:15:00.000Z) of the memory store."
	url := serveStill(t, local.LimitsStrict)
	checkOutcomes(t, url, []outcome{
		// Merging.
		{"only a measure value", `{"Dimensions":[{"Name":"h","Value":"a"}],"MeasureName":"merged","Time":` + at(0) + `}`, []string{`{"MeasureValue":"1"}`}, ""},
		{"only dimensions", `{"MeasureName":"merged","MeasureValue":"2","MeasureValueType":"BIGINT","TimeUnit":"SECONDS"}`, []string{`{"Dimensions":[{"Name":"h","Value":"b"}],"MeasureName":"whole","Time":"1795262400"}`}, ""},
		{"hoisted attributes", `{"MeasureValueType":"MULTI","MeasureValues":[{"Name":"v","Value":"1","Type":"DOUBLE"}]}`, []string{sample("MeasureName", `"several"`, "MeasureValue", "")}, ""},
		{"one dimension in both", `{"Dimensions":[{"Name":"h","Value":"a"}]}`, []string{sample()}, "Dimensions must have unique names: 'h' appears more than once."},
		{"one dimension twice", "", []string{sample("Dimensions", `[{"Name":"h","Value":"a"},{"Name":"h","Value":"a"}]`)}, "Dimensions must have unique names: 'h' appears more than once."},
		{"the record's own wins", `{"MeasureValue":"x","Time":"x"}`, []string{sample("MeasureName", `"own"`)}, ""},
		// Validation.
		{"no dimension", "", []string{sample("Dimensions", "")}, "At least one dimension is required for a record."},
		{"no time", "", []string{sample("Time", "")}, "Invalid time for record."},
		{"a fraction of time", "", []string{sample("Time", `"1.5"`)}, "Invalid time for record."},
		{"a negative time", "", []string{sample("Time", `"-1"`)}, "Invalid time for record."},
		{"a time beyond nanoseconds", "", []string{sample("Time", `"9223372036855"`)}, "Invalid time for record."},
		{"version 0", "", []string{sample("Version", "0")}, "The record version 0 is invalid: it must be at least 1."},
		{"a TIMESTAMP alone", "", []string{value("1", "TIMESTAMP")}, "TIMESTAMP is an invalid measure value type."},
		{"attributes without MULTI", "", []string{sample("MeasureValues", values(0, 1))}, "MeasureValues are allowed only in a record of type MULTI."},
		{"MULTI without attributes", "", []string{sample("MeasureValue", "", "MeasureValueType", `"MULTI"`)}, "A record of type MULTI requires MeasureValues."},
		{"MULTI within MULTI", "", []string{multi(`[{"Name":"v","Value":"1","Type":"MULTI"}]`)}, "MULTI is an invalid measure value type."},
		{"MULTI with a value", "", []string{sample("MeasureValueType", `"MULTI"`, "MeasureValues", values(0, 1))}, "MeasureValue is not allowed in a record of type MULTI."},
		{"no measure name", "", []string{sample("MeasureName", "")}, "A measure name is required for a record."},
		{"no measure value", "", []string{sample("MeasureValue", "")}, "A measure value is required for a record."},
		{"an unwritable value sinks all", "", []string{sample("MeasureName", `"sunk"`), value("NaN", "DOUBLE")}, bad("NaN", "double")},
		// Values.
		{"doubles", "", []string{value("35.0", "DOUBLE")}, ""},
		{"an exponent", "", []string{sample("MeasureName", `"e"`, "MeasureValue", `"1e-05"`)}, ""},
		{"Infinity", "", []string{value("-Infinity", "DOUBLE")}, bad("-Infinity", "double")},
		{"no bigint", "", []string{value("None", "BIGINT")}, bad("None", "bigint")},
		{"beyond 64 bits", "", []string{value("9223372036854775808", "BIGINT")}, bad("9223372036854775808", "bigint")},
		{"truths", "", []string{value("TRUE", "BOOLEAN")}, ""},
		{"one is no truth", "", []string{value("1", "BOOLEAN")}, bad("1", "boolean")},
		{"a timestamp among attributes", "", []string{multi(`[{"Name":"ts","Value":"1795262400000","Type":"TIMESTAMP"}]`, "MeasureName", `"stamps"`)}, ""},
		{"no timestamp", "", []string{multi(`[{"Name":"ts","Value":"2026-01-01","Type":"TIMESTAMP"}]`, "MeasureName", `"stamps"`)}, bad("2026-01-01", "timestamp")},
		{"an empty dimension", "", []string{sample(), sample("Dimensions", `[{"Name":"h","Value":""}]`)}, "[1] The value of dimension 'h' is empty."},
		// Versions.
		{"first", "", []string{version("v", 200, "1")}, ""},
		{"again", "", []string{version("v", 200, "1.0")}, ""},
		{"another value", "", []string{version("v", 200, "2")}, "[0] " + same},
		{"a lower version", "", []string{version("v", 2, "2"), version("w", 1, "1")}, "[0] " + lower(2, 200)},
		{"a lower version, the same value", "", []string{version("v", 2, "1")}, "[0] " + lower(2, 200)},
		{"a higher version, the same value", "", []string{version("v", 201, "1")}, ""},
		{"the version rose", "", []string{version("v", 200, "1")}, "[0] " + lower(200, 201)},
		{"a higher version", "", []string{version("v", 202, "2")}, ""},
		{"several in one request", "", []string{version("s", 1, "1"), version("s", 1, "2"), version("s", 2, "3"), version("s", 1, "1")}, "[1] " + same + "; [3] " + lower(1, 2)},
		// Types and names.
		{"a second type of a measure", "", []string{sample("MeasureName", `"v"`, "MeasureValueType", `"BIGINT"`, "Time", at(-time.Second))}, "[0] The measure name 'v' already has the type DOUBLE in the table."},
		{"a second type of an attribute", "", []string{multi(`[{"Name":"v","Value":"1","Type":"BIGINT"}]`)}, "[0] The attribute 'v' already has the type DOUBLE in the table."},
		{"an attribute like a dimension", "", []string{multi(`[{"Name":"h","Value":"1","Type":"DOUBLE"}]`)}, "[0] The attribute 'h' has the name of a dimension of the table."},
		{"a dimension like an attribute", "", []string{sample("Dimensions", `[{"Name":"v","Value":"1"}]`)}, "[0] The dimension 'v' has the name of a multi-measure attribute of the table."},
		{"names that contain a system identifier", "", []string{sample("Dimensions", `[{"Name":"runtime","Value":"a"}]`, "MeasureName", `"video_startup_time"`)}, ""},
		{"other scripts, digits only", "", []string{sample("Dimensions", `[{"Name":"地区","Value":"华北"}]`, "MeasureName", `"123"`)}, ""},
		// The window of a table without a memory store long enough.
		{"1970, with magnetic writes", "", []string{sample("MeasureName", `"old"`, "Time", `"3"`)}, ""},
	})
	for _, name := range []string{"time", "ts_x", "measure_name", "measure_value", "measure_values", "a:b", `a"b`, "a\nb", "a\u2028b"} {
		checkOutcomes(t, url, []outcome{
			{"dimension " + quoted(name), "", []string{sample("Dimensions", `[{"Name":`+quoted(name)+`,"Value":"a"}]`)}, "The dimension name '" + name + "' is invalid: it must have 1 to 60 bytes, must not be reserved, and must not contain : or \" or control characters."},
			{"measure " + quoted(name), "", []string{sample("MeasureName", quoted(name))}, "The measure name '" + name + "' is invalid: it must have 1 to 256 bytes, must not be reserved, and must not contain : or control characters."},
		})
	}
	converse(t, url, []exchange{
		{"no database", "WriteRecords", `{"DatabaseName":"nosuch","TableName":"tab","Records":[{}]}`, serviceSpace + "ResourceNotFoundException", "The database nosuch does not exist."},
		{"no table", "WriteRecords", `{"DatabaseName":"` + database + `","TableName":"nosuch","Records":[{}]}`, serviceSpace + "ResourceNotFoundException", "The table nosuch does not exist."},
		{"shape before names", "WriteRecords", `{"DatabaseName":"nosuch","TableName":"tab","Records":[{"TimeUnit":"X"}]}`, modelSpace + "ValidationException", invalid(must("X", "records.1.member.timeUnit", "satisfy enum value set: [MICROSECONDS, NANOSECONDS, SECONDS, MILLISECONDS]"))},
		{"no magnetic writes", "UpdateTable", `{"DatabaseName":"` + database + `","TableName":"` + table + `","MagneticStoreWriteProperties":{"EnableMagneticStoreWrites":false}}`, "", `{}`},
	})
	checkOutcomes(t, url, []outcome{
		{"the oldest", "", []string{sample("MeasureName", `"edge"`, "Time", at(-6*time.Hour-25*time.Minute))}, ""},
		{"older", "", []string{sample(), sample("MeasureName", `"edge"`, "Time", at(-6*time.Hour-25*time.Minute-time.Millisecond))}, "[1] " + window},
		{"the newest", "", []string{sample("MeasureName", `"edge"`, "Time", at(15*time.Minute-time.Millisecond))}, ""},
		{"newer", "", []string{sample("MeasureName", `"edge"`, "Time", at(15*time.Minute))}, "[0] " + window},
	})
	converse(t, url, []exchange{
		{"the magnetic store for a day", "UpdateTable", `{"DatabaseName":"` + database + `","TableName":"` + table + `","RetentionProperties":{"MemoryStoreRetentionPeriodInHours":6,"MagneticStoreRetentionPeriodInDays":1},"MagneticStoreWriteProperties":{"EnableMagneticStoreWrites":true}}`, "", `{}`},
		{"both stores", "WriteRecords", `{"DatabaseName":"` + database + `","TableName":"` + table + `","Records":[` + sample("MeasureName", `"both"`) + "," + sample("MeasureName", `"both"`, "Time", at(-30*time.Hour)) + `]}`, "", `{"RecordsIngested":{"Total":2,"MemoryStore":1,"MagneticStore":1}}`},
		{"a conflict in the magnetic store is silent", "WriteRecords", `{"DatabaseName":"` + database + `","TableName":"` + table + `","Records":[` + sample("MeasureName", `"both"`, "MeasureValue", `"7"`, "Time", at(-30*time.Hour)) + `]}`, "", `{"RecordsIngested":{"Total":1,"MagneticStore":1}}`},
	})
	checkOutcomes(t, url, []outcome{
		{"older than both", "", []string{sample("MeasureName", `"edge"`, "Time", at(-30*time.Hour-25*time.Minute-time.Millisecond))}, "[0] The record timestamp is outside the time range [2026-11-20T05:35:00.000Z, 2026-11-21T12:15:00.000Z) of the data ingestion window."},
	})
}
