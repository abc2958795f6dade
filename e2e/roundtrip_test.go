// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// rules are recorded beside what is scraped. Prometheus allows any UTF-8 name that is not empty.
const rules = `
groups:
  - name: recorded
    interval: 500ms
    rules:
      - record: job:target_requests:rate2s
        expr: sum by (job, status) (rate(target_requests_total[2s]))
      - record: instance:target_value:count
        expr: count by (instance) (target_value)
      - record: job--target-plain--max
        expr: max by (job) (target_plain)
      - record: job:target--plain:max
        expr: max by (job) (target_plain)
      - record: job-target:plain-max
        expr: max by (job) (target_plain)
        labels:
          "label.with.dots": "yes"
      - record: recorded:nan
        expr: target_plain * NaN
      - alert: TargetIsUp
        expr: up{job="target"} == 1
        for: 1s
        labels:
          severity: "none at all"
`

// remoteWrite is a configuration that only writes; message may be empty.
func remoteWrite(url, message string) string {
	config := "global:\n  scrape_interval: 500ms\n  evaluation_interval: 500ms\nremote_write:\n  - url: " + url + "\n"
	if message != "" {
		config += "    protobuf_message: " + message + "\n"
	}
	// Batches leave at once instead of after five seconds, and waits after an error stay short.
	return config + "    queue_config: {batch_send_deadline: 500ms, max_samples_per_send: 500, max_backoff: 1s}\n"
}

// scrape is a configuration that also scrapes, each job one target.
func scrape(write string, jobs map[string]string) string {
	config := write + "scrape_configs:\n"
	for job, host := range jobs {
		config += fmt.Sprintf("  - job_name: %s\n    static_configs: [{targets: [%q]}]\n", job, host)
	}
	return config
}

// idle is a configuration with these jobs and nothing to scrape for them.
func idle(write string, jobs ...string) string {
	config := write + "scrape_configs:\n"
	for _, job := range jobs {
		config += fmt.Sprintf("  - job_name: %s\n    static_configs: [{targets: []}]\n", job)
	}
	return config
}

const messageV2 = "io.prometheus.write.v2.Request"

// TestRoundTrip is the main job: what a real Prometheus scrapes and records comes back, bit for bit, through the gateway
// and through a second Prometheus that has nothing but the gateway to read from, and both answer PromQL alike.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, message string }{
		{"remote write 1.0", ""},
		{"remote write 2.0", messageV2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := system.Start(t, system.Options{})
			target := newTarget(t)
			write := remoteWrite(s.WriteURL(), c.message)
			first := promtest.Start(t, write, map[string]string{"rules.yml": rules})
			first.Reload(t, "rule_files: [rules.yml]\n"+scrape(write, map[string]string{"prometheus": first.Host(), "target": target.Host}))
			if err := first.Wait(t.Context(), func() error { return target.Scraped(3 * vanishAfter) }, 3*time.Minute); err != nil {
				t.Fatal(err)
			}
			own := first.Settle(t, idle(write, "prometheus", "target"), 3*time.Minute)
			checkVariety(t, own)

			direct, err := promtest.Read(t.Context(), s.ReadURL(), everything(own))
			if err != nil {
				t.Fatal(err)
			}
			checkSorted(t, direct[0].Timeseries)
			if c := promtest.Compare(own, direct[0].Timeseries); !c.OK() {
				t.Errorf("through the gateway: %v", c)
			}

			second := promtest.Start(t, "remote_read:\n  - url: "+s.ReadURL()+"\n    read_recent: true\n", nil)
			through, err := promtest.Read(t.Context(), second.ReadURL(), everything(own))
			if err != nil {
				t.Fatal(err)
			}
			if c := promtest.Compare(own, through[0].Timeseries); !c.OK() {
				t.Errorf("through the second Prometheus: %v", c)
			}
			instants := instant
			if c.message == "" {
				instants = nil // the samples are there to the bit; once is enough
			}
			compareAnswers(t, first, second, own, instants)

			if failed, _, err := first.Metric(t.Context(), "prometheus_remote_storage_samples_failed_total"); err != nil || failed > 0 {
				t.Errorf("%v samples failed to be sent (%v)", failed, err)
			}
			if found, _, err := second.Metric(t.Context(), "prometheus_tsdb_head_series"); err != nil || found != 0 {
				t.Errorf("the second Prometheus has %v series of its own (%v)", found, err)
			}
		})
	}
}

// everything is a query for all series over the time that they span, to the millisecond.
func everything(series []*prompb.TimeSeries) *prompb.Query {
	from, to := span(series)
	return &prompb.Query{StartTimestampMs: from, EndTimestampMs: to, Matchers: []*prompb.LabelMatcher{{Type: prompb.LabelMatcher_RE, Name: "__name__", Value: ".+"}}}
}

func span(series []*prompb.TimeSeries) (fromMs, toMs int64) {
	fromMs, toMs = math.MaxInt64, math.MinInt64
	for _, s := range series {
		for _, p := range s.Samples {
			fromMs, toMs = min(fromMs, p.Timestamp), max(toMs, p.Timestamp)
		}
	}
	return fromMs, toMs
}

// checkVariety fails when the first Prometheus has not got what this test is about.
func checkVariety(t *testing.T, series []*prompb.TimeSeries) {
	t.Helper()
	kinds := map[string]func(float64) bool{
		"staleness markers": value.IsStaleNaN,
		"NaN":               func(v float64) bool { return math.IsNaN(v) && !value.IsStaleNaN(v) },
		"+Inf":              func(v float64) bool { return math.IsInf(v, 1) },
		"-Inf":              func(v float64) bool { return math.IsInf(v, -1) },
		"denormals":         func(v float64) bool { return v != 0 && math.Abs(v) < 0x1p-1022 },
		"the largest":       func(v float64) bool { return v == math.MaxFloat64 },
		"0.1+0.2":           func(v float64) bool { return v == 0.30000000000000004 },
	}
	names, labelNames := map[string]bool{}, map[string]bool{}
	for _, s := range series {
		for _, l := range s.Labels {
			labelNames[l.Name] = true
			if l.Name == "__name__" {
				names[l.Value] = true
			}
		}
		for _, p := range s.Samples {
			for kind, is := range kinds {
				if is(p.Value) {
					delete(kinds, kind)
				}
			}
		}
	}
	for kind := range kinds {
		t.Errorf("Prometheus has no %s", kind)
	}
	for _, name := range []string{
		"up", "prometheus_build_info", "target_vanishes", "job:target_requests:rate2s", "job--target-plain--max", "job-target:plain-max", "ALERTS",
		"ALERTS_FOR_STATE", "name.with.dots", "名前", "new\nline", "__tributary_1_s_00", "target_" + strings.Repeat("long_", 60), "recorded:nan",
	} {
		if !names[name] {
			t.Errorf("Prometheus has no metric %q", name)
		}
	}
	for _, name := range []string{"time", "measure_value", "ts_x", "exported_job", "with.dot", "☃", `quo"te`, strings.Repeat("n", 300), "Mixed", "mixed", "__tributary_x", "many_39", "alertstate"} {
		if !labelNames[name] {
			t.Errorf("Prometheus has no label %q", name)
		}
	}
}

// checkSorted fails unless series come in the order of their labels, as readers of remote read rely on.
func checkSorted(t *testing.T, series []*prompb.TimeSeries) {
	t.Helper()
	var last labels.Labels
	for n, s := range series {
		b := labels.NewScratchBuilder(len(s.Labels))
		for _, l := range s.Labels {
			b.Add(l.Name, l.Value)
		}
		ls := b.Labels()
		if n > 0 && labels.Compare(last, ls) >= 0 {
			t.Errorf("series %d, %s, comes after %s", n, ls, last)
			return
		}
		last = ls
	}
}

// instant and ranges are asked of both servers. None of them adds floats of several series: the order of addition is the
// storage's, and rounding depends on it.
var instant = []string{
	`up`,
	`up == 1`,
	`up{job=~"tar.*"}`,
	`up{job=~"targe"}`, // matchers are anchored
	`up{job!="target"}`,
	`up{job!~"target|x"}`,
	`up{nothing=""}`,
	`up{nothing!=""}`,
	`up{nothing=~".*"}`,
	`up{nothing=~".+"}`,
	`up{nothing!~".+"}`,
	`target_text{empty=""}`,
	`target_text{text=""}`,
	`target_text{text!=""}`,
	"target_text{text=\"two\\nlines\"}",
	"target_text{text=~\"two.lines\"}", // Prometheus' dot matches newlines
	`target_text{text="it's"}`,
	`target_text{text="\"quoted\""}`,
	`target_text{text=~"\"quoted\"|it's|--|%_"}`,
	`target_text{text="back\\slash"}`,
	`target_text{text=~".*\\\\.*"}`,
	`target_text{text=~"(?i)PLAIN"}`,
	`target_text{text=~"Ünïcödé.*"}`,
	`target_text{text=~".*🌊.*",job="target"}`,
	`target_text{text=~"/\\* SQL \\*/ ' OR 1=1 --"}`,
	`target_label{time!=""}`,
	`target_label{measure_value=~"v.*"}`,
	`target_label{Mixed!=""}`,
	`target_label{mixed!=""}`,
	`target_label{exported_job!=""}`,
	`target_label{kind="utf8"}`,
	`target_label{"with.dot"="v"}`,
	`target_label{"☃"=~"v|w"}`,
	`target_label{"with space"="",kind="utf8"}`,
	`target_label{__tributary_x!=""}`,
	`{"name.with.dots"}`,
	`{"名前",target="name"}`,
	`{__name__=~"name.*"}`,
	`{__name__=~"job:.*|job-.*"}`,
	`{__name__=~"job.*",job="target"}`,
	`{__name__!~"prometheus_.*|go_.*|process_.*|net_.*|scrape_.*",target!="name",job="target"}`,
	`{target="name"}`,
	`{__name__="time"}`,
	`{__name__="__tributary_1_s_00"}`,
	`job:target--plain:max`,
	`{"job--target-plain--max"}`,
	`{"job-target:plain-max"}`,
	`recorded:by:somebody`,
	`target_value`,
	`target_value > 0`,
	`target_value{n=~"[0-4]"}`,
	`target_any_value`,
	`target_vanishes`,
	`target_flaps`,
	`absent(target_vanishes)`,
	`absent(target_plain)`,
	`target_any_value[10s]`,
	`target_flaps[10s]`,
	`target_comes_and_goes_as_nan[1m]`,
	`target_vanishes[1m]`,
	`count_over_time(target_vanishes[1m])`,
	`rate(target_requests_total{status="200"}[3s])`,
	`increase(target_resets_total[4s])`,
	`resets(target_resets_total[10s])`,
	`changes(up[10s])`,
	`histogram_quantile(0.9, rate(target_duration_seconds_bucket[3s]))`,
	`count by (__name__) ({job="target"})`,
	`count({__name__=~".+"})`,
	`count by (job) ({__name__=~".+"})`,
	`sort_desc(target_plain)`,
	`topk(2, target_requests_total)`,
	`target_requests_total offset 2s`,
	`max_over_time(target_plain[5s:1s])`,
	`label_replace(target_plain, "copy", "$1", "job", "(.*)")`,
	`target_requests_total / on (path) group_left target_requests_total{status="200"}`,
	`ALERTS`,
	`ALERTS_FOR_STATE - time()`,
	`prometheus_build_info`,
	`prometheus_http_requests_total{handler=~"/api/.*|/-/ready"}`,
	`timestamp(target_plain)`,
}

var ranges = []string{
	`up`,
	`target_plain`,
	`target_any_value`,
	`target_flaps`,
	`target_vanishes`,
	`target_comes_and_goes_as_nan`,
	`target_value{n=~"1?[0-9]"}`,
	`{__name__=~"job.*"}`,
	`recorded:nan`,
	`rate(target_requests_total[2s])`,
	`absent(target_flaps)`,
	`histogram_quantile(0.5, rate(target_duration_seconds_bucket[2s]))`,
	`count({job="prometheus"})`,
	`ALERTS{alertstate=~"pending|firing"}`,
	`target_text{text!~".*long.*"}`,
	`max by (job) (scrape_duration_seconds)`,
}

// compareAnswers asks both servers the same questions about the same past.
func compareAnswers(t *testing.T, first, second *promtest.Instance, own []*prompb.TimeSeries, instants []string) {
	t.Helper()
	from, to := span(own)
	ms := func(t int64) string { return strconv.FormatFloat(float64(t)/1000, 'f', 3, 64) }
	empty := 0
	ask := func(path string, params url.Values) {
		t.Helper()
		want, err := first.Query(t.Context(), path, params)
		if err != nil {
			t.Fatal(err)
		}
		got, err := second.Query(t.Context(), path, params)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			g, w := aroundDifference(fmt.Sprint(got), fmt.Sprint(want))
			t.Errorf("%s %s:\n got %s\nwant %s", path, params, g, w)
		}
		answer := want.(map[string]any)
		if answer["status"] != "success" {
			t.Errorf("%s %s: %v", path, params, want)
		}
		if data, ok := answer["data"].(map[string]any); ok && len(data["result"].([]any)) == 0 {
			empty++
		}
	}
	// While vanishing series are there, and after they have gone.
	for _, at := range []int64{from + (to-from)/4, from + (to-from)*2/3} {
		for _, q := range instants {
			ask("query", url.Values{"query": {q}, "time": {ms(at)}})
		}
	}
	if total := 2 * len(instants); empty > total/4 {
		t.Errorf("%d of %d instant queries found nothing", empty, total)
	}
	empty = 0
	for _, q := range ranges {
		ask("query_range", url.Values{"query": {q}, "start": {ms(from - 500)}, "end": {ms(to + 500)}, "step": {"0.25"}})
	}
	if empty > 0 {
		t.Errorf("%d of %d range queries found nothing", empty, len(ranges))
	}
}

// aroundDifference returns what is around the first place where two texts differ.
func aroundDifference(a, b string) (string, string) {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	cut := func(s string) string { return "…" + s[max(0, n-200):min(len(s), n+200)] + "…" }
	return cut(a), cut(b)
}

// TestEveryBitPattern writes what no scrape produces, NaNs of every sort and -0, and neighbours of the limits of the layout.
func TestEveryBitPattern(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	now := time.Now().UnixMilli()
	bits := []uint64{0, 1 << 63, 1, 1<<63 | 1, 0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000,
		0x7ff0000000000001, value.NormalNaN, value.StaleNaN, 0x7ff4000000000000, 0xfff8000000000000, 0xffffffffffffffff, 0x7fffffffffffffff,
		math.Float64bits(math.Pi), math.Float64bits(-1e-36), math.Float64bits(1e40), math.Float64bits(1e39), math.Float64bits(1<<53 + 2)}
	for exponent := uint64(0); exponent < 2048; exponent += 16 { // over all magnitudes
		bits = append(bits, exponent<<52|0x000123456789abcd, 1<<63|exponent<<52)
	}
	for _, p := range []rw.Protocol{rw.V1, rw.V2} {
		name := fmt.Sprintf("bits_v%d", p)
		series := rw.New("__name__", name, "job", "bits")
		want := &prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: name}, {Name: "job", Value: "bits"}}}
		for i, b := range bits {
			at, v := now-int64(len(bits)-i), math.Float64frombits(b)
			series = series.At(at, v)
			want.Samples = append(want.Samples, prompb.Sample{Timestamp: at, Value: v})
		}
		answer, err := rw.Write(t.Context(), s.WriteURL(), p, series)
		if err != nil || answer.Status != http.StatusNoContent {
			t.Fatalf("%v: %d %s %v", p, answer.Status, answer.Text, err)
		}
		got, err := promtest.ReadAll(t.Context(), s.ReadURL(), 0, math.MaxInt64, &prompb.LabelMatcher{Name: "__name__", Value: name})
		if err != nil {
			t.Fatal(err)
		}
		if c := promtest.Compare([]*prompb.TimeSeries{want}, got); !c.OK() {
			t.Errorf("%v: %v", p, c)
		}
	}
}
