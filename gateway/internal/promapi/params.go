// SPDX-License-Identifier: Apache-2.0

package promapi

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

// minTime and maxTime are Prometheus' default bounds of time, which its clients also send as numbers or texts.
func minTime() time.Time { return time.Unix(math.MinInt64/1000+62135596801, 0).UTC() }
func maxTime() time.Time { return time.Unix(math.MaxInt64/1000-62135596801, 999999999).UTC() }

// parseTime reads seconds since 1970, to the millisecond, or RFC 3339.
func parseTime(s string) (time.Time, error) {
	if seconds, err := strconv.ParseFloat(s, 64); err == nil {
		whole, rest := math.Modf(seconds)
		rest = math.Round(rest*1000) / 1000
		return time.Unix(int64(whole), int64(rest*float64(time.Second))).UTC(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	// Go prints years of more than four digits, but does not read them; Prometheus reads its own two.
	for _, bound := range []time.Time{minTime(), maxTime()} {
		if s == bound.Format(time.RFC3339Nano) {
			return bound, nil
		}
	}
	return time.Time{}, fmt.Errorf("cannot parse %q to a valid timestamp", s)
}

// parseDuration reads seconds or a duration such as 5m.
func parseDuration(s string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(s, 64); err == nil {
		ns := seconds * float64(time.Second)
		if ns > math.MaxInt64 || ns < math.MinInt64 {
			return 0, fmt.Errorf("cannot parse %q to a valid duration. It overflows int64", s)
		}
		return time.Duration(ns), nil
	}
	if d, err := model.ParseDuration(s); err == nil {
		return time.Duration(d), nil
	}
	return 0, fmt.Errorf("cannot parse %q to a valid duration", s)
}

// limit reads the parameter of that name; 0 is no limit.
func (c *call) limit() (uint64, error) {
	s := c.req.FormValue("limit")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, invalidParam("limit", err)
	}
	if n < 0 {
		return 0, invalidParam("limit", errors.New("limit must be non-negative"))
	}
	return uint64(n), nil
}

// timeParam reads a time that may be missing: then it is nil.
func (c *call) timeParam(name string) (*time.Time, error) {
	s := c.req.FormValue(name)
	if s == "" {
		return nil, nil //nolint:nilnil // nothing was asked for
	}
	t, err := parseTime(s)
	if err != nil {
		return nil, invalidParam(name, fmt.Errorf("invalid time value for '%s': %w", name, err))
	}
	return &t, nil
}

// maxEngineMs bounds the moments of an evaluation: the engine counts nanoseconds since 1970, and past this they overflow.
const maxEngineMs = math.MaxInt64 / 1_000_000

// evaluable returns milliseconds since 1970 of a moment at which the engine can evaluate. (Prometheus evaluates at some
// other moment.)
func evaluable(name string, t time.Time) (int64, error) {
	if t.Before(time.UnixMilli(-maxEngineMs)) || t.After(time.UnixMilli(maxEngineMs)) {
		return 0, invalidParam(name, errors.New("the time is out of range, which is about 292 years around 1970"))
	}
	return t.UnixMilli(), nil
}

// boundError is how far a bound may be off that went through a float64: they are 2 s apart there.
const boundError = 2 * time.Second

// bounds reads start and end where each may be missing. A start as early as Prometheus' own default, and an end as late
// as that, count as missing: its clients send them.
func (c *call) bounds() (startMs, endMs *int64, err error) {
	start, err := c.timeParam("start")
	if err != nil {
		return nil, nil, err
	}
	end, err := c.timeParam("end")
	if err != nil {
		return nil, nil, err
	}
	if start != nil && start.After(minTime().Add(boundError)) {
		startMs = proto.Int64(clampedMilli(*start))
	}
	if end != nil && end.Before(maxTime().Add(-boundError)) {
		endMs = proto.Int64(clampedMilli(*end))
	}
	return startMs, endMs, nil
}

// clampedMilli returns milliseconds since 1970. Beyond Prometheus' bounds there may be no number for them.
func clampedMilli(t time.Time) int64 {
	if t.Before(minTime()) {
		t = minTime()
	}
	if t.After(maxTime()) {
		t = maxTime()
	}
	return t.UnixMilli()
}

// selectors parses the match[] parameters. The error has no type yet.
func (c *call) selectors() ([]*queryv1.Selector, error) {
	for _, text := range c.req.Form["match[]"] {
		if err := c.api.Expressions.Check(text); err != nil {
			return nil, err
		}
	}
	sets, err := c.api.parser.ParseMetricSelectors(c.req.Form["match[]"])
	if err != nil {
		return nil, err
	}
	out := make([]*queryv1.Selector, len(sets))
	for i, set := range sets {
		if !selects(set) {
			return nil, errors.New("match[] must contain at least one non-empty matcher")
		}
		out[i] = &queryv1.Selector{Matchers: make([]*queryv1.LabelMatcher, len(set))}
		for k, m := range set {
			if !utf8.ValidString(m.Value) {
				return nil, fmt.Errorf("the value of matcher %s is not UTF-8, which no label's value is", m)
			}
			out[i].Matchers[k] = &queryv1.LabelMatcher{Type: matcherType(m.Type), Name: m.Name, Value: m.Value}
		}
	}
	return out, nil
}

// selects tells whether a matcher refuses the empty text, so that not everything is selected.
func selects(set []*labels.Matcher) bool {
	for _, m := range set {
		if !m.Matches("") {
			return true
		}
	}
	return false
}

func matcherType(t labels.MatchType) queryv1.LabelMatcher_Type {
	switch t {
	case labels.MatchEqual:
		return queryv1.LabelMatcher_TYPE_EQUAL
	case labels.MatchNotEqual:
		return queryv1.LabelMatcher_TYPE_NOT_EQUAL
	case labels.MatchRegexp:
		return queryv1.LabelMatcher_TYPE_REGEX_MATCH
	case labels.MatchNotRegexp:
		return queryv1.LabelMatcher_TYPE_REGEX_NO_MATCH
	}
	return queryv1.LabelMatcher_TYPE_UNSPECIFIED
}

// expression reads an expression that the query service parses. Messages hold UTF-8 only, so what is wrong with other
// texts is found out here.
func (c *call) expression() (string, error) {
	s := c.req.FormValue("query")
	if err := c.api.Expressions.Check(s); err != nil {
		return "", invalidParam("query", err)
	}
	if utf8.ValidString(s) {
		return s, nil
	}
	_, err := c.api.parser.ParseExpr(s)
	if err == nil {
		err = fmt.Errorf("%q is not UTF-8", s)
	}
	return "", invalidParam("query", err)
}

// options reads what both kinds of query may be told; limit is read already.
func (c *call) options(limit uint64) (*queryv1.QueryOptions, error) {
	o := &queryv1.QueryOptions{Limit: limit}
	if s := c.req.FormValue("timeout"); s != "" {
		d, err := parseDuration(s)
		if err != nil {
			return nil, invalidParam("timeout", err)
		}
		// Nothing is the default; no time at all is what Prometheus takes it for.
		o.Timeout = durationpb.New(max(d, time.Nanosecond))
	}
	if s := c.req.FormValue("lookback_delta"); s != "" {
		d, err := parseDuration(s)
		if err != nil {
			return nil, badData(fmt.Errorf("error parsing lookback delta duration: %w", err))
		}
		if d > 0 {
			o.LookbackDelta = durationpb.New(d)
		}
	}
	switch c.req.FormValue("stats") {
	case "":
	case "all":
		o.Stats = queryv1.QueryStatsLevel_QUERY_STATS_LEVEL_PER_STEP
	default:
		o.Stats = queryv1.QueryStatsLevel_QUERY_STATS_LEVEL_BASIC
	}
	return o, nil
}

// count reads a number of Prometheus' metadata API, which has its own words for what is none.
func count(r *http.Request, name string) (n int, given bool, err error) {
	s := r.FormValue(name)
	if s == "" {
		return 0, false, nil
	}
	if n, err = strconv.Atoi(s); err != nil {
		return 0, false, badData(fmt.Errorf("%s must be a number", name))
	}
	return n, true, nil
}
