// SPDX-License-Identifier: Apache-2.0

package scheduled

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// Report collects what went wrong with the rows and records of a run, as an error report has it (Developer Guide,
// scheduledqueries-errorreport). Its memory is bounded: what does not fit is counted.
type Report struct {
	errors [][]byte
	size   int
	left   int
	first  string
}

const (
	// MaxReportBytes bounds a report, maxReportErrors the errors in it. The service names no bound.
	MaxReportBytes  = 1 << 20
	maxReportErrors = 1000
)

// Record notes a record that was not written.
func (p *Report) Record(reason string, r *record.Record) {
	p.add(reason, "records", []any{recordJSON(r)})
}

// Row notes a row that became no record.
func (p *Report) Row(reason string, cells []string) {
	p.add(reason, "rawLine", strings.Join(cells, ","))
}

// General notes what is about no row in particular.
func (p *Report) General(reason string) { p.add(reason, "", nil) }

func (p *Report) add(reason, member string, value any) {
	if p.first == "" {
		p.first = reason
	}
	if len(p.errors) == maxReportErrors {
		p.left++
		return
	}
	e := map[string]any{"reason": reason}
	if member != "" {
		e[member] = value
	}
	b, err := json.Marshal(e)
	if err != nil || p.size+len(b) > MaxReportBytes-reportRoom {
		p.left++
		return
	}
	p.errors, p.size = append(p.errors, b), p.size+len(b)+1
}

// reportRoom is what is kept free for what stands around the errors.
const reportRoom = 1024

// Len is how many errors there were, First the reason of the first.
func (p *Report) Len() int { return len(p.errors) + p.left }

// First is the reason of the first error.
func (p *Report) First() string { return p.first }

// JSON writes the report under an id of its own.
func (p *Report) JSON() []byte {
	var id [16]byte
	rand.Read(id[:])
	errors := p.errors
	if p.left > 0 {
		more, _ := json.Marshal(map[string]string{"reason": fmt.Sprintf("%d more errors are not in this report.", p.left)})
		errors = append(errors[:len(errors):len(errors)], more)
	}
	var out bytes.Buffer
	out.WriteString(`{"reportId":"` + strings.ToUpper(hex.EncodeToString(id[:])) + `","errors":[`)
	out.Write(bytes.Join(errors, []byte{','}))
	out.WriteString("]}")
	return out.Bytes()
}

// recordJSON is how a report writes a record: the members of the API in camel case, null for what it does not have.
func recordJSON(r *record.Record) any {
	has := func(f record.Field, s string) any {
		if r.Has&f == 0 {
			return nil
		}
		return s
	}
	dimensions := make([]any, len(r.Dimensions))
	for i, d := range r.Dimensions {
		dimensions[i] = map[string]any{"name": d.Name, "value": d.Value, "dimensionValueType": nil}
	}
	var values []any
	for _, a := range r.Attributes {
		values = append(values, map[string]any{"name": a.Name, "value": a.Value, "type": a.Type})
	}
	out := map[string]any{
		"dimensions": dimensions, "measureName": has(record.MeasureName, r.MeasureName), "measureValue": has(record.MeasureValue, r.MeasureValue),
		"measureValueType": has(record.MeasureValueType, r.MeasureValueType), "measureValues": values,
		"time": has(record.Time, r.Time), "timeUnit": has(record.TimeUnit, r.TimeUnit), "version": nil,
	}
	if r.Has&record.Version != 0 {
		out["version"] = r.Version
	}
	return out
}

// ReportKey is where the report of a run goes in the bucket of its definition (Developer Guide, scheduledqueries-errorreport). That the times are
// epoch seconds and milliseconds, as in notifications, is our guess.
func (d *Definition) ReportKey(r *Run) string {
	how := "Auto"
	if r.Manual {
		how = "Manual"
	}
	key := d.ID + "/" + strconv.FormatInt(r.Invocation.Unix(), 10) + "/" + how + "/" + strconv.FormatInt(r.Trigger.UnixMilli(), 10)
	if p := d.Report.ObjectKeyPrefix; p != nil {
		key = strings.TrimSuffix(*p, "/") + "/" + key
	}
	return key
}
