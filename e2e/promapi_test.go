// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	native "github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/allinone"
	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// promRequest is one request to Prometheus' API.
type promRequest struct {
	// method is GET when empty. give is the path and the parameters: $from, $mid and $to are moments of the data.
	method, give string
	// form sends the parameters in the body.
	form bool
	// header are pairs of name and value.
	header []string
	// differs is why the answer is another than Prometheus'. One that is equal then fails.
	differs string
}

// promRequests are asked of both. Where an answer has no order in Prometheus, it is sorted before it is compared.
func promRequests() []promRequest {
	const (
		lookback = "without bounds only --query.metadata-lookback is searched, and a warning says so"
		all      = "&start=$from&end=$to"
	)
	get := func(give string) promRequest { return promRequest{give: give} }
	return []promRequest{
		// Instant queries, every kind of value.
		get("query?query=requests_total&time=$mid"),
		{method: "POST", give: "query?query=requests_total&time=$mid"},
		{method: "POST", give: "query?query=requests_total&time=$mid", form: true},
		get("query?query=1.5&time=$mid"),
		get("query?query=1e30&time=$mid"),
		get("query?query=NaN&time=$mid"),
		get("query?query=-Inf&time=$mid"),
		get("query?query=time()&time=$mid"),
		get(`query?query="<a>\n&"&time=$mid`),
		get("query?query=requests_total[1m]&time=$mid"),
		get("query?query=special&time=$mid"),
		get("query?query=special[10m]&time=$to"),
		get("query?query=texts&time=$mid"),
		get("query?query=latency&time=$mid"),
		get("query?query=latency[1m]&time=$mid"),
		get("query?query=custom&time=$mid"),
		get("query?query=rate(latency[1m])&time=$mid"),
		get("query?query=histogram_quantile(0.9,rate(latency[1m]))&time=$mid"),
		get("query?query=sum(requests_total)by(code)&time=$mid"),
		get("query?query=rate(requests_total[1m])&time=$mid"),
		get("query?query=nothing&time=$mid"),
		get("query?query=nothing[5m]&time=$mid"),
		get(`query?query={"with.dots","☃"="snow"}&time=$mid`),
		get("query?query=topk(1,requests_total)&time=$mid"),
		get("query?query=sort_by_label(requests_total,'code')&time=$mid"),
		get("query?query=requests_total&time=$mid&limit=1"),
		get("query?query=requests_total[30s]&time=$mid&limit=2"),
		get("query?query=requests_total&time=$mid&lookback_delta=1ms"),
		get("query?query=requests_total&time=$mid&lookback_delta=1m&timeout=10s"),
		get("query?query=requests_total&time=2001-02-03T04:05:06.789Z"),
		get("query?query=requests_total&time=0"),
		get("query?query=requests_total&time=-1.5"),
		get("query?query=requests_total{code='200'}&time=$mid&stats=1"),
		get("query?query=rate(requests_total[1m])&time=$mid&stats=all"),
		// Warnings and infos.
		get("query?query=rate(temperature[1m])&time=$mid"),
		get("query?query=quantile_over_time(2,temperature[1m])&time=$mid"),
		get("query?query=histogram_quantile(0.5,requests_total)&time=$mid"),
		// Queries that fail.
		get("query"),
		get("query?query="),
		get("query?query=requests_total{&time=$mid"),
		get("query?query=requests_total+%2B&time=$mid"),
		get("query?query={}&time=$mid"),
		get("query?query=nonsense(1)&time=$mid"),
		get("query?query=%FF"),
		get("query?query='%FF'"),
		get("query?query=requests_total * on(job) requests_total&time=$mid"),
		get("query?query=requests_total&time=x"),
		get("query?query=requests_total&time=$mid&limit=x"),
		get("query?query=requests_total&time=$mid&limit=-1"),
		get("query?query=requests_total&time=$mid&timeout=x"),
		get("query?query=requests_total&time=$mid&lookback_delta=x"),
		get("query?query=label_replace(requests_total,'a','b','c','(')&time=$mid"),
		// Range queries.
		get("query_range?query=requests_total&start=$from&end=$to&step=15"),
		{method: "POST", give: "query_range?query=requests_total&start=$from&end=$to&step=1m", form: true},
		get("query_range?query=special&start=$from&end=$to&step=7.5"),
		get("query_range?query=latency&start=$from&end=$to&step=30s"),
		get("query_range?query=either&start=$from&end=$to&step=15s"),
		get("query_range?query=rate(requests_total[1m])&start=$from&end=$to&step=15&stats=true"),
		get("query_range?query=requests_total&start=$from&end=$to&step=15&stats=all"),
		get("query_range?query=requests_total&start=$from&end=$to&step=15&limit=1"),
		get("query_range?query=1&start=$mid&end=$mid&step=1"),
		get("query_range?query=time()&start=$from&end=$to&step=100"),
		get("query_range?query=nothing&start=$from&end=$to&step=15"),
		get("query_range?query=rate(temperature[1m])&start=$from&end=$to&step=60"),
		get("query_range?query=requests_total[1m]&start=$from&end=$to&step=60"),
		get("query_range?query='text'&start=$from&end=$to&step=60"),
		get("query_range?query=requests_total&start=$from&end=$to&step=0"),
		get("query_range?query=requests_total&start=$from&end=$to&step=-1"),
		get("query_range?query=requests_total&start=$from&end=$to&step=x"),
		get("query_range?query=requests_total&start=$to&end=$from&step=1"),
		get("query_range?query=requests_total&start=x&end=$to&step=1"),
		get("query_range?query=requests_total&end=$to&step=1"),
		get("query_range?query=requests_total&start=$from&step=1"),
		get("query_range?query=requests_total&start=0&end=11001&step=1"),
		get("query_range?query=requests_total&start=0&end=11000&step=1"),
		get("query_range?query=(&start=0&end=1&step=1"),
		// Listings.
		get("series?match[]=requests_total" + all),
		get("series?match[]=requests_total&match[]=texts" + all),
		{method: "POST", give: "series?match[]=requests_total" + all, form: true},
		get("series?match[]={__name__=~'.%2B'}" + all),
		get("series?match[]=nothing" + all),
		get("series?match[]=requests_total&limit=100" + all),
		{give: "series?match[]=requests_total", differs: lookback},
		get("series" + "?start=$from"),
		get("series?match[]={}" + all),
		get("series?match[]=x{" + all),
		get("series?match[]=requests_total&start=x"),
		get("series?match[]=requests_total&limit=x"),
		get("labels?x=1" + all),
		get("labels?match[]=requests_total" + all),
		get("labels?match[]=requests_total&match[]=texts" + all),
		{method: "POST", give: "labels?match[]=requests_total" + all, form: true},
		get("labels?match[]=nothing" + all),
		get("labels?limit=2" + all),
		get("labels?match[]={a='%FF'}" + all),
		{give: `labels?match[]={job="\xff"}` + all, differs: "a matcher whose value is not UTF-8 is refused: no label has such a value"},
		get("labels?match[]={}" + all),
		get("labels?match[]=x{" + all),
		{give: "labels", differs: lookback},
		get("label/job/values?x=1" + all),
		get("label/__name__/values?x=1" + all),
		get("label/__name__/values?match[]={job='a'}" + all),
		get("label/text/values?match[]=texts" + all),
		get("label/U__with_2e_dot/values?x=1" + all),
		get("label/U___2603_/values?x=1" + all),
		get("label/nothing/values?x=1" + all),
		get("label/job/values?limit=1" + all),
		get("label/job/values?match[]=x{" + all),
		get("label/job/values?end=x"),
		{give: "label/job/values", differs: lookback},
		get("query_exemplars?query=requests_total" + all),
		get("query_exemplars?query=sum(rate(requests_total[5m]))" + all),
		get("query_exemplars?query=nothing" + all),
		get("query_exemplars?query=1" + all),
		get("query_exemplars?query=(" + all),
		get("query_exemplars?query=requests_total&start=$to&end=$from"),
		get("metadata"),
		get("metadata?limit=x"),
		get("metadata?limit_per_metric=x"),
		// What does not touch data.
		get("format_query?query=sum(rate(x[5m]))by(a)"),
		get("format_query?query=a%2Bb*c<1"),
		get("format_query?query=limitk(2,x)"),
		get("format_query?query=x[5m%2B1m]"),
		get("format_query?query=("),
		get("format_query"),
		{method: "POST", give: "format_query?query=x{a!~'b'}", form: true},
		get("parse_query?query=sum by (a) (rate(x{b='c'}[5m] offset 1m)) / on (a) group_left (d) y @ 10 > bool 1"),
		get("parse_query?query=-max_over_time(x[5m:1m] @ end())[1h:]"),
		get("parse_query?query=count_values without (a) ('v', (x)) or y{z!~'.*'} unless ignoring(q) w"),
		get("parse_query?query=x[5m%2B1m] offset (2*1m)"),
		get("parse_query?query=('<s>')"),
		get("parse_query?query=x * fill(0) y"),
		get("parse_query?query=rate(x[5m] smoothed)"),
		get("parse_query?query=x anchored"),
		get("parse_query?query=1e-300"),
		get("parse_query?query=)"),
		get("rules"),
		get("alerts"),
		get("targets"),
		get("alertmanagers"),
		// Methods, paths and headers.
		{method: "HEAD", give: "query?query=1&time=1"},
		{method: "PUT", give: "query?query=1&time=1"},
		{method: "DELETE", give: "series?match[]=a"},
		{method: "POST", give: "label/job/values"},
		{method: "POST", give: "metadata"},
		{method: "OPTIONS", give: "query"},
		{method: "OPTIONS", give: "nothing/at/all", header: []string{"Origin", "https://a.example"}},
		get("nothing"),
		{give: "query?query=1&time=1", header: []string{"Origin", "https://a.example"}},
		{give: "query?query=1&time=x", header: []string{"Origin", "https://a.example", "Accept-Encoding", "gzip"}},
		{give: "query_range?query=requests_total&start=$from&end=$to&step=1", header: []string{"Accept-Encoding", "gzip"}},
		{give: "query_range?query=requests_total&start=$from&end=$to&step=1", header: []string{"Accept-Encoding", "x, deflate"}},
	}
}

// promData is what both have: every kind of sample, at intervals of 15 s.
func promData(t *testing.T, from time.Time, n int) []rw.Series {
	t.Helper()
	var out []rw.Series
	at := func(i int) int64 { return from.UnixMilli() + int64(i)*15_000 }
	add := func(name string, f func(i int) float64, pairs ...string) *rw.Series {
		s := rw.New(append([]string{"__name__", name}, pairs...)...)
		for i := range n {
			s = s.At(at(i), f(i))
		}
		out = append(out, s)
		return &out[len(out)-1]
	}
	for k, code := range []string{"200", "404", "500"} {
		for _, job := range []string{"a", "b"} {
			s := add("requests_total", func(i int) float64 { return float64(i*i + 7*k) }, "job", job, "instance", "h:1", "code", code)
			for i := 3; i < n; i += 9 {
				raw, err := (&prompb.Exemplar{Labels: []prompb.Label{{Name: "trace", Value: fmt.Sprint("<", k, job, i)}}, Value: float64(i) + 0.25, Timestamp: at(i)}).Marshal()
				if err != nil {
					t.Fatal(err)
				}
				s.Exemplars = append(s.Exemplars, raw)
			}
		}
	}
	add("temperature", func(i int) float64 { return 20 + math.Sin(float64(i)) }, "job", "a", "room", "kitchen")
	kinds := []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 5e-324, 1e21, 1e-7, math.MaxFloat64, 0.1}
	for k, v := range kinds {
		add("special", func(int) float64 { return v }, "kind", fmt.Sprint(k))
	}
	add("special", func(i int) float64 {
		if i > n/2+2 {
			return math.Float64frombits(value.StaleNaN)
		}
		return 1
	}, "kind", "stale")
	for _, text := range []string{`<b>&"quoted"\`, "two\nlines", "ünï ☃ 🌊", "\u2028"} {
		add("texts", func(i int) float64 { return float64(i) }, "text", text)
	}
	add("with.dots", func(i int) float64 { return float64(i) }, "with.dot", "x", "☃", "snow")
	histograms := func(name string, make func(i int) *native.FloatHistogram, from, to int) {
		s := rw.New("__name__", name, "job", "a")
		for i := from; i < to; i++ {
			h := prompb.FromFloatHistogram(at(i), make(i))
			raw, err := h.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			s.Histograms = append(s.Histograms, raw)
		}
		out = append(out, s)
	}
	exponential := func(i int) *native.FloatHistogram {
		f := float64(i)
		return &native.FloatHistogram{
			Schema: 1, ZeroThreshold: 0.001, ZeroCount: f, Count: 8*f + 10, Sum: f * 1.5,
			PositiveSpans: []native.Span{{Offset: -2, Length: 2}, {Offset: 3, Length: 1}}, PositiveBuckets: []float64{f, 2 * f, 10},
			NegativeSpans: []native.Span{{Offset: 1, Length: 2}}, NegativeBuckets: []float64{f, 3 * f},
		}
	}
	histograms("latency", exponential, 0, n)
	histograms("custom", func(i int) *native.FloatHistogram {
		return &native.FloatHistogram{
			Schema: native.CustomBucketsSchema, Count: float64(3 * i), Sum: float64(i), CustomValues: []float64{0.1, 1, 10},
			PositiveSpans: []native.Span{{Offset: 0, Length: 2}, {Offset: 1, Length: 1}}, PositiveBuckets: []float64{float64(i), float64(i), float64(i)},
		}
	}, 0, n)
	either := rw.New("__name__", "either", "job", "a")
	for i := range n / 2 {
		either = either.At(at(i), float64(i))
	}
	out = append(out, either)
	histograms("either", exponential, n/2, n)
	return out
}

// twins are a Prometheus and a Tributary that were sent the same, and what stands for moments of it in promRequests.
func twins(t *testing.T) (p *promtest.Instance, s *system.System, moments *strings.Replacer) {
	t.Helper()
	s = system.Start(t, system.Options{App: func(c *allinone.Config) {
		c.Query.EnableFeature = "promql-experimental-functions,promql-per-step-stats"
	}})
	p = promtest.Start(t, "", nil, "--web.enable-remote-write-receiver",
		"--enable-feature=promql-experimental-functions,promql-per-step-stats,exemplar-storage,promql-duration-expr,promql-extended-range-selectors,promql-binop-fill-modifiers")
	const n = 40
	from := time.Now().Add(-20 * time.Minute).Truncate(15 * time.Second)
	data := promData(t, from, n)
	send(t, s, rw.V1, data...)
	if answer, err := rw.Write(t.Context(), p.URL+"/api/v1/write", rw.V1, data...); err != nil || answer.Status != http.StatusNoContent {
		t.Fatalf("write to Prometheus: %d %s (%v)", answer.Status, answer.Text, err)
	}
	seconds := func(i int) string { return fmt.Sprint(from.Unix() + int64(i)*15) }
	return p, s, strings.NewReplacer("$from", seconds(0), "$mid", seconds(n/2), "$to", seconds(n-1))
}

// TestPrometheusAPI asks a Prometheus and the gateway the same, and compares status, headers and bytes.
func TestPrometheusAPI(t *testing.T) {
	t.Parallel()
	p, s, moments := twins(t)
	for _, r := range promRequests() {
		t.Run(strings.TrimSpace(r.method+" "+r.give+" "+strings.Join(r.header, " ")), func(t *testing.T) {
			r.give = moments.Replace(r.give)
			want, got := r.ask(t, p.URL), r.ask(t, s.URL)
			equal := got == want
			if equal && r.differs != "" {
				t.Errorf("both answer %s, although %q", got, r.differs)
			}
			if !equal && r.differs == "" {
				a, b := aroundDifference(got, want)
				t.Errorf("\n got %s\nwant %s", a, b)
			}
		})
	}
}

// timings are the figures of an answer that no two answers share.
var timings = regexp.MustCompile(`"timings":\{[^}]*\}`)

// ask returns all of an answer that is compared: status, headers and text, with timings and what has no order put away.
func (r promRequest) ask(t *testing.T, base string) string {
	t.Helper()
	path, params, _ := strings.Cut(r.give, "?")
	params = escapeParams(params)
	method, body, target := r.method, "", base+"/api/v1/"+path
	if method == "" {
		method = http.MethodGet
	}
	if r.form {
		body = params
	} else if params != "" {
		target += "?" + params
	}
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if r.form {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(r.header); i += 2 {
		req.Header.Set(r.header[i], r.header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var out strings.Builder
	fmt.Fprintln(&out, res.StatusCode)
	for _, h := range []string{"Content-Type", "Content-Encoding", "Allow", "Vary", "Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Expose-Headers"} {
		fmt.Fprintf(&out, "%s: %q\n", h, res.Header.Values(h))
	}
	text, err := io.ReadAll(decoded(t, res))
	if err != nil {
		t.Fatal(err)
	}
	out.WriteString(sortedAnswer(path, timings.ReplaceAllString(string(text), `"timings":{}`)))
	return out.String()
}

// escapeParams escapes what may not stand in a query, and leaves the escapes that are there.
func escapeParams(params string) string {
	var out strings.Builder
	for _, c := range []byte(params) {
		if strings.IndexByte("=&%+[]", c) >= 0 || c > ' ' && c < 0x7f && strings.IndexByte(`"<>{}|\^#`+"`", c) < 0 {
			out.WriteByte(c)
			continue
		}
		out.WriteString(strings.ReplaceAll(url.QueryEscape(string([]byte{c})), "+", "%20"))
	}
	return out.String()
}

// sortedAnswer sorts the elements of vectors and of listings of series, which Prometheus gives in the order of its storage.
func sortedAnswer(path, text string) string {
	var open string
	switch path {
	case "query":
		open = `{"status":"success","data":{"resultType":"vector","result":`
	case "series":
		open = `{"status":"success","data":`
	}
	rest, ok := strings.CutPrefix(text, open)
	if open == "" || !ok {
		return text
	}
	dec := json.NewDecoder(strings.NewReader(rest))
	var list []json.RawMessage
	if err := dec.Decode(&list); err != nil {
		return text
	}
	end := rest[dec.InputOffset():]
	slices.SortFunc(list, func(a, b json.RawMessage) int { return strings.Compare(string(a), string(b)) })
	var out strings.Builder
	out.WriteString(open)
	for _, e := range list {
		out.WriteString("\n" + string(e))
	}
	out.WriteString("\n" + end)
	return out.String()
}

// decoded returns the body of an answer without its coding.
func decoded(t *testing.T, res *http.Response) io.Reader {
	t.Helper()
	var (
		r   io.Reader = res.Body
		err error
	)
	switch res.Header.Get("Content-Encoding") {
	case "gzip":
		r, err = gzip.NewReader(res.Body)
	case "deflate":
		r, err = zlib.NewReader(res.Body)
	}
	if err != nil {
		if res.StatusCode == http.StatusNoContent {
			return strings.NewReader("")
		}
		t.Fatal(err)
	}
	return r
}

// TestPrometheusStatus compares the names and types of what both say about themselves.
func TestPrometheusStatus(t *testing.T) {
	t.Parallel()
	s, p := system.Start(t, system.Options{}), promtest.Start(t, "", nil)
	for path, more := range map[string][]string{
		"status/buildinfo":   {"application string", "applicationVersion string"},
		"status/runtimeinfo": nil,
		"status/config":      nil,
	} {
		shape := func(base string) []string {
			var answer struct{ Data json.RawMessage }
			if err := json.Unmarshal([]byte(fetch(t, base+"/api/v1/"+path)), &answer); err != nil {
				t.Fatal(err)
			}
			var out []string
			dec := json.NewDecoder(strings.NewReader(string(answer.Data)))
			_, _ = dec.Token() //nolint:errcheck // the next one fails too
			for dec.More() {
				name, err := dec.Token()
				if err != nil {
					t.Fatal(err)
				}
				v, err := dec.Token()
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, fmt.Sprintf("%v %T", name, v))
			}
			return out
		}
		if got, want := shape(s.URL), append(shape(p.URL), more...); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", path, got, want)
		}
	}
	var build, own struct{ Data struct{ Version string } }
	for base, into := range map[string]any{p.URL: &build, s.URL: &own} {
		if err := json.Unmarshal([]byte(fetch(t, base+"/api/v1/status/buildinfo")), into); err != nil {
			t.Fatal(err)
		}
	}
	// The binary of Prometheus was built without a version, or has that of its module.
	if v := build.Data.Version; v != "" && v != own.Data.Version {
		t.Errorf("got version %q, Prometheus is %q", own.Data.Version, v)
	}
}

// fetch returns the body of an answer that has to be a success.
func fetch(t *testing.T, target string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s (%v)", target, res.Status, text, err)
	}
	return string(text)
}

// TestPromtool lets Prometheus' own command line tool ask both.
func TestPromtool(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(filepath.Dir(promtest.Binary(t)), "promtool")
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("run `make bin/promtool`: %v", err)
	}
	p, s, moments := twins(t)
	for _, c := range []struct {
		give  []string // $url is the server
		lines int      // at least
	}{
		{[]string{"query", "instant", "--time=$mid", "$url", "requests_total"}, 6},
		{[]string{"query", "instant", "--time=$mid", "--format=json", "$url", "latency"}, 1},
		{[]string{"query", "instant", "--time=$mid", "$url", "1"}, 1},
		{[]string{"query", "range", "--start=$from", "--end=$to", "--step=30s", "$url", "rate(requests_total[1m])"}, 100},
		{[]string{"query", "series", "--match=requests_total", "--match=texts", "$url"}, 10},
		{[]string{"query", "series", "--match=requests_total", "--start=$from", "--end=$to", "$url"}, 6},
		{[]string{"query", "labels", "$url", "code"}, 3},
		{[]string{"query", "labels", "--match=requests_total", "--start=$from", "--end=$to", "$url", "__name__"}, 1},
		{[]string{"query", "instant", "$url", "("}, 0},
		{[]string{"check", "healthy", "--url=$url"}, 1},
		{[]string{"check", "ready", "--url=$url"}, 1},
	} {
		run := func(url string) (out []string, code int) {
			args := make([]string, len(c.give))
			for i, a := range c.give {
				args[i] = strings.ReplaceAll(moments.Replace(a), "$url", url)
			}
			cmd := exec.CommandContext(t.Context(), binary, args...)
			text, err := cmd.Output()
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
				code = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			out = strings.Split(strings.TrimRight(string(text), "\n"), "\n")
			slices.Sort(out) // vectors and series have no order
			return out, code
		}
		want, wantCode := run(p.URL)
		got, code := run(s.URL)
		if strings.HasPrefix(c.give[0], "check") { // what it says is the server's own
			got, want = got[:min(1, len(got))], got[:min(1, len(got))]
		}
		if !slices.Equal(got, want) || code != wantCode || len(got) < c.lines {
			t.Errorf("%v:\n got %d %q\nwant %d %q", c.give, code, got, wantCode, want)
		}
	}
}
