// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// checkAPI asks /api/v1/series and /api/v1/query for a selection and compares the label sets. Without a reference, and where every
// matcher holds for an empty text, as Prometheus does not allow, the selection has to be refused.
func (s *suite) checkAPI(ms []*prompb.LabelMatcher, reference []*labels.Matcher) {
	s.p.t.Helper()
	var want []string
	for _, ls := range s.series {
		if !slices.ContainsFunc(reference, func(m *labels.Matcher) bool { return !m.Matches(ls.Get(m.Name)) }) {
			want = append(want, ls.String())
		}
	}
	slices.Sort(want)
	refused := !slices.ContainsFunc(reference, func(m *labels.Matcher) bool { return !m.Matches("") })
	at := strconv.FormatFloat(float64(s.at)/1000, 'f', 3, 64)
	for path, form := range map[string]url.Values{
		"/api/v1/series": {"match[]": {selectorText(ms)}, "start": {at}, "end": {at}},
		"/api/v1/query":  {"query": {selectorText(ms)}, "time": {at}},
	} {
		status, got := selectedLabels(s.p.t, s.p.url+path, form)
		if refused {
			if status != http.StatusBadRequest {
				s.p.t.Errorf("%s %s: got %d, want 400", path, show(ms), status)
			}
			continue
		}
		if slices.Sort(got); status != http.StatusOK || !slices.Equal(got, want) {
			s.p.t.Errorf("%s %s: got %d and %d series, want %d", path, show(ms), status, len(got), len(want))
			sameLines(s.p.t, got, want)
		}
	}
}

// selectorText writes matchers in PromQL, in ASCII: its lexer takes U+FFFD for bytes that are not UTF-8.
func selectorText(ms []*prompb.LabelMatcher) string {
	var out []string
	for _, m := range ms {
		out = append(out, strconv.QuoteToASCII(m.Name)+[]string{"=", "!=", "=~", "!~"}[m.Type]+strconv.QuoteToASCII(m.Value))
	}
	return "{" + strings.Join(out, ", ") + "}"
}

// selectedLabels returns the label sets in an answer of the API, a list of them or a vector.
func selectedLabels(t testing.TB, target string, form url.Values) (int, []string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		return res.StatusCode, nil
	}
	var answer struct {
		Data json.RawMessage `json:"data"`
	}
	var list []labels.Labels
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%s: %v in %.500q", target, err, body)
	}
	if json.Unmarshal(answer.Data, &list) != nil {
		var vector struct {
			Result []struct {
				Metric labels.Labels `json:"metric"`
			} `json:"result"`
		}
		if err := json.Unmarshal(answer.Data, &vector); err != nil {
			t.Fatalf("%s: %v in %.500q", target, err, body)
		}
		for _, x := range vector.Result {
			list = append(list, x.Metric)
		}
	}
	var out []string
	for _, ls := range list {
		out = append(out, ls.String())
	}
	return res.StatusCode, out
}

// TestRandomMatchers selects random label sets by random matchers, several at once: labels in columns, packed ones, ones that
// differ in case, ones that no series has, and metric names in both forms.
func TestRandomMatchers(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(newSeed(t), 2))
	sys := system.Start(t, system.Options{})
	s := suite{p: probe{t, sys.URL}, at: time.Now().UnixMilli()}
	names := []string{"v", "V", "label_v", "with space", "é", "time", "measure_name", "instance", `quo"te`, "__tributary_x"}
	metrics := []string{"random", "job:random:sum", "random--x", "名前", "random_total", `it's`}
	values := hostileValues()[1:]
	seen := map[uint64]bool{}
	var all []labels.Labels
	for len(all) < 120 {
		b := labels.NewBuilder(labels.FromStrings("__name__", metrics[r.IntN(len(metrics))], "place", "random"))
		for _, n := range r.Perm(len(names))[:r.IntN(5)] {
			b.Set(names[n], values[r.IntN(len(values))])
		}
		if ls := b.Labels(); !seen[ls.Hash()] {
			seen[ls.Hash()] = true
			all = append(all, ls)
		}
	}
	s.add(rw.V1, all[:60]...)
	s.add(rw.V2, all[60:]...)
	patterns := slices.DeleteFunc(expressions(), func(e string) bool {
		_, err := labels.NewMatcher(labels.MatchRegexp, "x", e)
		return err != nil || len(e) > 1000
	})
	var selections [][]*prompb.LabelMatcher
	for range 300 {
		ms := []*prompb.LabelMatcher{eq("place", "random")}
		if r.IntN(4) == 0 { // the metric name is of no help
			ms[0] = matcher(prompb.LabelMatcher_NEQ, "place", "")
		}
		for range 1 + r.IntN(3) {
			name, pool := names[r.IntN(len(names))], values
			switch r.IntN(6) {
			case 0:
				name, pool = "__name__", metrics
			case 1:
				name = fmt.Sprintf("nobody has %d", r.IntN(3))
			}
			kind := prompb.LabelMatcher_Type(r.IntN(4))
			value := pool[r.IntN(len(pool))]
			if len(s.series) > 0 && r.IntN(2) == 0 { // a value that a series has, or none
				value = s.series[r.IntN(len(s.series))].Get(name)
			}
			if kind == prompb.LabelMatcher_RE || kind == prompb.LabelMatcher_NRE {
				value = patterns[r.IntN(len(patterns))]
			}
			ms = append(ms, matcher(kind, name, value))
		}
		selections = append(selections, ms)
	}
	s.check(selections...)
}
