// SPDX-License-Identifier: Apache-2.0

package scheduled

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

var noon = time.Date(2024, 5, 4, 12, 0, 0, 0, time.UTC)

func TestState(t *testing.T) {
	s := State{Enabled: true, From: noon}
	var want []time.Time
	for i := range 7 {
		r := Run{Invocation: noon.Add(time.Duration(i+1) * time.Minute), Failure: fmt.Sprint("failure ", i)}
		if i == 3 {
			r.Failure = ""
		} else {
			want = append([]time.Time{r.Invocation}, want...)
		}
		s = s.Finished(r, false)
		if !s.From.Equal(r.Invocation) || !s.Previous.Equal(r.Invocation) || !s.Enabled || s.Last.Failure != r.Failure {
			t.Errorf("after run %d: %+v", i, s)
		}
	}
	var got []time.Time
	for _, r := range s.Failed {
		got = append(got, r.Invocation)
	}
	if !reflect.DeepEqual(got, want[:5]) {
		t.Errorf("failed runs %v, want the last five, the newest first: %v", got, want[:5])
	}

	// A manual run is no invocation of the schedule.
	from := s.From
	s = s.Finished(Run{Invocation: noon.Add(time.Hour), Manual: true}, false)
	if !s.From.Equal(from) || !s.Previous.Equal(noon.Add(time.Hour)) {
		t.Errorf("after a manual run: %+v", s)
	}
	if s = s.Finished(Run{Invocation: noon.Add(time.Hour), Failure: "x"}, true); s.Enabled {
		t.Error("still enabled")
	}
	later := noon.Add(48 * time.Hour)
	if s = s.Switched(true, later); !s.Enabled || !s.From.Equal(later) {
		t.Errorf("enabled again: %+v", s)
	}
	if s = s.Switched(true, later.Add(time.Hour)); !s.From.Equal(later) {
		t.Errorf("enabled twice: %+v", s)
	}
	if s = s.Switched(false, later.Add(time.Hour)); s.Enabled || !s.From.Equal(later) {
		t.Errorf("disabled: %+v", s)
	}

	// Versions grow also when the clock does not.
	a := s.Triggered(noon)
	b := a.Triggered(noon)
	if c := b.Triggered(noon.Add(time.Second)); a.Version != noon.UnixMilli() || b.Version != a.Version+1 || c.Version != noon.UnixMilli()+1000 {
		t.Errorf("versions %d, %d, %d", a.Version, b.Version, c.Version)
	}

	b1, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back State
	if err := json.Unmarshal(b1, &back); err != nil || !reflect.DeepEqual(back, s) {
		t.Errorf("read back %+v, want %+v, %v", back, s, err)
	}
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		run  Run
		want qtypes.ScheduledQueryRunStatus
	}{
		{Run{}, "AUTO_TRIGGER_SUCCESS"}, {Run{Failure: "x"}, "AUTO_TRIGGER_FAILURE"},
		{Run{Manual: true}, "MANUAL_TRIGGER_SUCCESS"}, {Run{Manual: true, Failure: "x"}, "MANUAL_TRIGGER_FAILURE"},
	} {
		if got := tt.run.Status(); got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.run, got, tt.want)
		}
	}
}

func TestReport(t *testing.T) {
	var p Report
	p.Record("too old", &record.Record{
		Dimensions: []record.Dimension{{Name: "dim0", Value: "d0_1"}}, MeasureName: "m", MeasureValue: "3.14", MeasureValueType: "DOUBLE",
		Time: "1637166175635000000", TimeUnit: "NANOSECONDS", Has: record.MeasureName | record.MeasureValue | record.MeasureValueType | record.Time | record.TimeUnit,
	})
	p.Record("too wide", &record.Record{Attributes: []record.Attribute{{Name: "a", Value: "1", Type: "BIGINT"}}, Version: 7, Has: record.Version})
	p.Row("no time", []string{"eu", "", `a"b`})
	p.General("no idea")
	var got struct {
		ReportID string `json:"reportId"`
		Errors   []any
	}
	if err := json.Unmarshal(p.JSON(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.ReportID) != 32 || strings.ToUpper(got.ReportID) != got.ReportID {
		t.Errorf("id %q", got.ReportID)
	}
	var want []any
	err := json.Unmarshal([]byte(`[
		{"reason":"too old","records":[{"dimensions":[{"name":"dim0","value":"d0_1","dimensionValueType":null}],"measureName":"m","measureValue":"3.14",
			"measureValues":null,"measureValueType":"DOUBLE","time":"1637166175635000000","timeUnit":"NANOSECONDS","version":null}]},
		{"reason":"too wide","records":[{"dimensions":[],"measureName":null,"measureValue":null,"measureValues":[{"name":"a","value":"1","type":"BIGINT"}],
			"measureValueType":null,"time":null,"timeUnit":null,"version":7}]},
		{"reason":"no time","rawLine":"eu,,a\"b"},
		{"reason":"no idea"}]`), &want)
	if err != nil || !reflect.DeepEqual(got.Errors, want) {
		t.Errorf("got %v\nwant %v, %v", got.Errors, want, err)
	}
	if p.Len() != 4 || p.First() != "too old" {
		t.Errorf("%d errors, the first %q", p.Len(), p.First())
	}
}

// However much goes wrong, a report stays small and says how much it leaves out.
func TestReportBounds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		reason string
		n      int
		want   string
	}{
		{"many", "x", 2500, "1500 more errors are not in this report."},
		{"long", strings.Repeat("<", 100_000), 50, "more errors are not in this report."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p Report
			for range tt.n {
				p.General(tt.reason)
			}
			b := p.JSON()
			if len(b) > MaxReportBytes || p.Len() != tt.n || !strings.Contains(string(b), tt.want) || !json.Valid(b) {
				t.Errorf("%d bytes of %d errors, valid: %t", len(b), p.Len(), json.Valid(b))
			}
		})
	}
}

func TestReportKey(t *testing.T) {
	prefix := "errors/"
	d := Definition{ID: "q-1", Report: qtypes.S3Configuration{ObjectKeyPrefix: &prefix}}
	r := Run{Invocation: noon, Trigger: noon.Add(1500 * time.Millisecond)}
	if got := d.ReportKey(&r); got != "errors/q-1/1714824000/Auto/1714824001500" {
		t.Error(got)
	}
	d.Report.ObjectKeyPrefix, r.Manual = nil, true
	if got := d.ReportKey(&r); got != "q-1/1714824000/Manual/1714824001500" {
		t.Error(got)
	}
}
