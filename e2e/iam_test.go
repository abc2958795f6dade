// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/smithy-go"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
	"github.com/tributary-project/tributary/timestream/client"
	"github.com/tributary-project/tributary/timestream/local"
)

// TestNarrowPolicy runs everything under the policy that users of the awslabs connector have: three actions, of which none
// shows what columns and measures a table has.
func TestNarrowPolicy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	narrow := system.Options{Store: func(c *local.Config) {
		c.Dir = dir
		c.AllowActions = []string{"WriteRecords", "Select", "DescribeEndpoints"}
	}}
	now := time.Now().UnixMilli()
	// Labels that become columns, that are packed, and no label at all; values of every encoding.
	written := []rw.Series{
		rw.New("__name__", "first", "job", "iam", "path", "/").At(now, 1).At(now+1, math.NaN()).At(now+2, math.Float64frombits(value.StaleNaN)),
		rw.New("__name__", "first", "job", "iam").At(now, 2),
		rw.New("__name__", "first", "job", "iam", "time", "packed", "with.dot", "packed", "label_x", "packed").At(now, 3),
		rw.New("__name__", "alone").At(now, 4),
		rw.New("__name__", "recorded:by", "job", "iam").At(now, 5),
		rw.New("__name__", "special:and-dash", "job", "iam").At(now, math.Inf(-1)),
	}
	// What comes later has labels and names that were not there before.
	later := []rw.Series{
		rw.New("__name__", "first", "job", "iam", "new_label", "x").At(now+1000, 6),
		rw.New("__name__", "first", "job", "iam", "new_label", "y", "new.packed", "z").At(now+1000, math.Inf(1)),
		rw.New("__name__", "second", "job", "iam").At(now+1000, 7),
		rw.New("__name__", "sec:ond", "job", "iam", "other_label", "x").At(now+1000, math.NaN()),
	}
	last := []rw.Series{
		rw.New("__name__", "first", "job", "iam", "path", "/").At(now+2000, 8),
		rw.New("__name__", "third", "job", "iam", "third_label", "x").At(now+2000, 9),
	}

	t.Run("while running", func(t *testing.T) {
		s := system.Start(t, narrow)
		checkDenied(t, s)
		send(t, s, rw.V1, written...)
		checkSelectors(t, s, written)
		send(t, s, rw.V2, later...)
		checkSelectors(t, s, append(written, later...))
	})
	t.Run("started again", func(t *testing.T) {
		s := system.Start(t, narrow)
		checkSelectors(t, s, append(written, later...))
		send(t, s, rw.V2, last...)
		checkSelectors(t, s, append(append(written, later...), last...))
		if answer, err := rw.Write(t.Context(), s.WriteURL(), rw.V2, written...); err != nil || answer.Status != http.StatusNoContent {
			t.Errorf("the same again: %d %s (%v)", answer.Status, answer.Text, err)
		}
		checkSelectors(t, s, append(append(written, later...), last...))
	})
}

// send writes series and fails the test unless all of it is acknowledged.
func send(t *testing.T, s *system.System, p rw.Protocol, series ...rw.Series) {
	t.Helper()
	answer, err := rw.Write(t.Context(), s.WriteURL(), p, series...)
	if err != nil || answer.Status != http.StatusNoContent {
		t.Fatalf("write: %d %s (%v)", answer.Status, answer.Text, err)
	}
}

// series returns series as they are read: one entry per label set.
func series(in []rw.Series) []*prompb.TimeSeries {
	var out []*prompb.TimeSeries
	index := map[string]*prompb.TimeSeries{}
	for _, s := range in {
		var k strings.Builder
		var ls []prompb.Label
		for _, l := range s.Labels {
			k.WriteString(l.Name + "\x00" + l.Value + "\x00")
			ls = append(ls, prompb.Label{Name: l.Name, Value: l.Value})
		}
		ts := index[k.String()]
		if ts == nil {
			ts = &prompb.TimeSeries{Labels: ls}
			index[k.String()] = ts
			out = append(out, ts)
		}
		for _, p := range s.Samples {
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: p.TimeMs, Value: p.Value})
		}
	}
	return out
}

// checkDenied fails unless the catalogue can not be read.
func checkDenied(t *testing.T, s *system.System) {
	t.Helper()
	w, err := writeClient(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	q := queryClient(t, s)
	_, describe := w.DescribeTable(t.Context(), &timestreamwrite.DescribeTableInput{DatabaseName: aws.String("PrometheusDatabase"), TableName: aws.String("PrometheusMetricsTable")})
	_, columns := q.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String(`DESCRIBE "PrometheusDatabase"."PrometheusMetricsTable"`)})
	_, measures := q.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String(`SHOW MEASURES FROM "PrometheusDatabase"."PrometheusMetricsTable"`)})
	for what, err := range map[string]error{"DescribeTable": describe, "DESCRIBE": columns, "SHOW MEASURES": measures} {
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != "AccessDeniedException" {
			t.Errorf("%s: %v, want AccessDeniedException", what, err)
		}
	}
}

func queryClient(t testing.TB, s *system.System) *timestreamquery.Client {
	t.Helper()
	c := client.DefaultConfig()
	c.Endpoint, c.LocalCredentials = s.TimestreamURL, true
	q, err := client.NewQuery(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// checkSelectors reads what was written by selectors that need the catalogue in different ways.
func checkSelectors(t *testing.T, s *system.System, written []rw.Series) {
	t.Helper()
	eq, neq, re, nre := prompb.LabelMatcher_EQ, prompb.LabelMatcher_NEQ, prompb.LabelMatcher_RE, prompb.LabelMatcher_NRE
	label := func(s *prompb.TimeSeries, name string) string {
		for _, l := range s.Labels {
			if l.Name == name {
				return l.Value
			}
		}
		return ""
	}
	for _, c := range []struct {
		name     string
		matchers []*prompb.LabelMatcher
		want     func(*prompb.TimeSeries) bool
	}{
		{"all", []*prompb.LabelMatcher{{Type: re, Name: "__name__", Value: ".+"}}, func(*prompb.TimeSeries) bool { return true }},
		{"by name", []*prompb.LabelMatcher{{Type: eq, Name: "__name__", Value: "first"}}, func(s *prompb.TimeSeries) bool { return label(s, "__name__") == "first" }},
		{"by recorded name", []*prompb.LabelMatcher{{Type: eq, Name: "__name__", Value: "recorded:by"}}, func(s *prompb.TimeSeries) bool { return label(s, "__name__") == "recorded:by" }},
		{"by pattern of names", []*prompb.LabelMatcher{{Type: re, Name: "__name__", Value: "sec:?ond|third"}}, func(s *prompb.TimeSeries) bool {
			n := label(s, "__name__")
			return n == "second" || n == "sec:ond" || n == "third"
		}},
		{"by names that are not", []*prompb.LabelMatcher{{Type: nre, Name: "__name__", Value: "f.*"}, {Type: eq, Name: "job", Value: "iam"}}, func(s *prompb.TimeSeries) bool {
			return !strings.HasPrefix(label(s, "__name__"), "f") && label(s, "job") == "iam"
		}},
		{"by label", []*prompb.LabelMatcher{{Type: eq, Name: "job", Value: "iam"}}, func(s *prompb.TimeSeries) bool { return label(s, "job") == "iam" }},
		{"by new label", []*prompb.LabelMatcher{{Type: neq, Name: "new_label", Value: ""}}, func(s *prompb.TimeSeries) bool { return label(s, "new_label") != "" }},
		{"by absent label", []*prompb.LabelMatcher{{Type: eq, Name: "new_label", Value: ""}, {Type: eq, Name: "job", Value: "iam"}}, func(s *prompb.TimeSeries) bool {
			return label(s, "new_label") == "" && label(s, "job") == "iam"
		}},
		{"by packed label", []*prompb.LabelMatcher{{Type: re, Name: "with.dot", Value: "p.*"}}, func(s *prompb.TimeSeries) bool { return label(s, "with.dot") == "packed" }},
	} {
		var want []*prompb.TimeSeries
		for _, s := range series(written) {
			if c.want(s) {
				want = append(want, s)
			}
		}
		got, err := promtest.ReadAll(t.Context(), s.ReadURL(), 0, math.MaxInt64, c.matchers...)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if c2 := promtest.Compare(want, got); !c2.OK() || len(got) != len(want) {
			t.Errorf("%s: %d series, want %d; %v", c.name, len(got), len(want), c2)
		}
	}
}
