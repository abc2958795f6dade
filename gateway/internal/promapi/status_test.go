// SPDX-License-Identifier: Apache-2.0

package promapi_test

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tributary-project/tributary/gateway/internal/promapi"
)

// TestConstant holds what is answered without the query service.
func TestConstant(t *testing.T) {
	f := start(t, nil)
	for give, want := range map[string]string{
		"status/buildinfo": `{"version":"` + promapi.PrometheusVersion + `","revision":"abc","branch":"","buildUser":"","buildDate":"","goVersion":"go1.26","application":"Tributary","applicationVersion":"1.2.3"}`,
		"status/flags":     `{"a.flag":"1","b.flag":"\u003c\"\n\u003e"}`,
		"status/config":    `{"yaml":"a.flag: \"1\"\nb.flag: \"\\u003c\\\"\\n\\u003e\"\n"}`,
		"rules":            `{"groups":[]}`,
		"alerts":           `{"alerts":[]}`,
		"targets":          `{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{}}`,
		"alertmanagers":    `{"activeAlertmanagers":[],"droppedAlertmanagers":[]}`,
		"format_query?query=sum(rate(a%5B5m%5D))by(x)": `"sum by (x) (rate(a[5m]))"`,
		"format_query?query=a%3C1":                     `"a \u003c 1"`,
		"format_query?query=sort_by_label(a,%22x%22)":  `"sort_by_label(a, \"x\")"`,
		"parse_query?query=-1e30":                      `{"type":"numberLiteral","val":"-1000000000000000000000000000000"}`,
		"parse_query?query=%22%3C%22":                  `{"type":"stringLiteral","val":"\u003c"}`,
		"parse_query?query=a%7Bb!=%22c%22%7D+offset+5m": `{"anchored":false,"matchers":[{"name":"b","type":"!=","value":"c"},{"name":"__name__","type":"=","value":"a"}],` +
			`"name":"a","offset":300000,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"}`,
	} {
		got := f.get(give)
		if w := `{"status":"success","data":` + want + `}`; got.code != 200 || got.body != w {
			t.Errorf("%s:\n got %d %s\nwant 200 %s", give, got.code, got.body, w)
		}
	}
	if f.query.seen() != nil {
		t.Errorf("the query service was asked %v", f.query.seen())
	}
	if got := f.get("query_exemplars?query=1"); got.code != 204 || got.body != "" {
		t.Errorf("an expression without a selector: got %d %s, want 204", got.code, got.body)
	}
}

func TestRuntimeInfo(t *testing.T) {
	f := start(t, nil)
	var got struct {
		Data struct {
			StartTime, ServerTime, LastConfigTime time.Time
			CWD, Hostname                         string
			ReloadConfigSuccess                   bool
			GoroutineCount, GOMAXPROCS            int
			StorageRetention                      *string
		}
	}
	if err := json.Unmarshal([]byte(f.get("status/runtimeinfo").body), &got); err != nil {
		t.Fatal(err)
	}
	d := got.Data
	if !d.StartTime.Equal(time.Unix(1e9, 0)) || time.Since(d.ServerTime) > time.Minute || d.CWD == "" || d.Hostname == "" || !d.ReloadConfigSuccess ||
		d.GoroutineCount < 1 || d.GOMAXPROCS < 1 || d.StorageRetention == nil {
		t.Errorf("got %+v", d)
	}
}

// TestPrometheusVersion holds the constant to the module that is built in.
func TestPrometheusVersion(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`github.com/prometheus/prometheus v0\.(\d)0?(\d+)\.(\d+)\n`).FindSubmatch(mod)
	if m == nil {
		t.Fatal("go.mod does not require Prometheus")
	}
	if want := string(m[1]) + "." + string(m[2]) + "." + string(m[3]); want != promapi.PrometheusVersion {
		t.Errorf("go.mod has Prometheus %s, the API says %s", want, promapi.PrometheusVersion)
	}
}

// TestMethods holds what is answered to methods and paths that are not there.
func TestMethods(t *testing.T) {
	f := start(t, nil)
	for _, c := range []struct {
		method, path string
		code         int
		allow, body  string
	}{
		{"HEAD", "query", 405, "GET, OPTIONS, POST", ""},
		{"PUT", "query", 405, "GET, OPTIONS, POST", "Method Not Allowed\n"},
		{"POST", "metadata", 405, "GET, OPTIONS", "Method Not Allowed\n"},
		{"POST", "label/a/values", 405, "GET, OPTIONS", "Method Not Allowed\n"},
		{"GET", "nonsense", 404, "", "404 page not found\n"},
		{"GET", "status/tsdb", 404, "", "404 page not found\n"},
		{"OPTIONS", "query", 204, "", ""},
		{"OPTIONS", "nonsense", 204, "", ""},
	} {
		got := f.do(c.method, c.path, "", "Accept-Encoding", "gzip")
		if got.code != c.code || got.body != c.body || got.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: got %d %q, allowed %q", c.method, c.path, got.code, got.body, got.header.Get("Allow"))
		}
	}
}

func TestCORS(t *testing.T) {
	for _, c := range []struct{ allowed, origin, want string }{
		{".*", "https://a.example", "https://a.example"},
		{".*", "", ""},
		{`https://(a|b)\.example`, "https://a.example", "https://a.example"},
		{`https://(a|b)\.example`, "https://a.example.org", ""},
		{`https://(a|b)\.example`, "http://https://a.example", ""},
	} {
		f := start(t, func(cfg *promapi.Config) {
			var err error
			if cfg.CORSOrigin, err = promapi.Origin(c.allowed); err != nil {
				t.Fatal(err)
			}
		})
		for _, path := range []string{"alerts", "query?time=x"} {
			for _, method := range []string{http.MethodGet, http.MethodOptions} {
				header := []string{}
				if c.origin != "" {
					header = []string{"Origin", c.origin}
				}
				got := f.do(method, path, "", header...)
				methods := got.header.Get("Access-Control-Allow-Methods")
				if o := got.header.Get("Access-Control-Allow-Origin"); o != c.want || (methods == "GET, POST, OPTIONS") != (c.origin != "") {
					t.Errorf("%s: %s %s for %q: got %q %q, want %q", c.allowed, method, path, c.origin, o, methods, c.want)
				}
				if vary := strings.Join(got.header.Values("Vary"), ","); vary != "Accept-Encoding,Origin" {
					t.Errorf("got Vary %q", vary)
				}
			}
		}
	}
}
