// SPDX-License-Identifier: Apache-2.0

package sqlfunc

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

func connect(t testing.TB) *duck.Conn {
	t.Helper()
	db, err := duck.Open("", map[string]string{"threads": "2"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Register(All()...); err != nil {
		t.Fatal(err)
	}
	c, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func one(t testing.TB, c *duck.Conn, sql string) (any, error) {
	t.Helper()
	rows, err := c.Query(t.Context(), sql)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	return rows.Columns()[0].Value(0), nil
}

// TestErrors holds that errors are marked as the dialect's own, that quiet makes NULLs of them, and that a search without end is no NULL.
func TestErrors(t *testing.T) {
	c := connect(t)
	for _, tt := range []struct{ call, want string }{
		{"go_date_parse('x', '%Y', 0, $q)", `Invalid format: "x"`},
		{"go_format_datetime(0, 'b', 0, $q)", "Illegal pattern component: b"},
		{"go_regexp_like('a', '(', $q)", "Invalid regular expression: ("},
		{"go_regexp_extract('a', 'a', 1, $q)", "Pattern has 0 groups. Cannot access group 1"},
		{"go_regexp_extract_all('a', 'a', -1, $q)", "Pattern has 0 groups. Cannot access group -1"},
		{"go_regexp_replace('a', 'a', '$1', $q)", "Illegal replacement sequence: $1"},
		{"go_regexp_replace('" + strings.Repeat("a", 20_000) + "', 'a', '" + strings.Repeat("b", 1000) + "', $q)", "The result of regexp_replace has more than 16777216 bytes"},
		{"go_levenshtein(repeat('a', 2000), repeat('b', 2000), $q)", "The combined inputs for Levenshtein distance are too large"},
		{"go_from_hex('a', $q)", "invalid input length 1"},
		{"go_from_base64('*', $q)", "Illegal base64 text"},
		{"go_from_big_endian_64('a'::BLOB, $q)", "expected 8-byte input, but got instead: 1"},
	} {
		_, err := one(t, c, "SELECT "+strings.ReplaceAll(tt.call, "$q", "FALSE"))
		var de *duck.Error
		if !errors.As(err, &de) || !strings.HasSuffix(strings.TrimSpace(de.Text), Mark+tt.want) {
			t.Errorf("%.60s: got %v, want %s", tt.call, err, tt.want)
		}
		if got, err := one(t, c, "SELECT "+strings.ReplaceAll(tt.call, "$q", "TRUE")); got != nil || err != nil {
			t.Errorf("%.60s, quietly: got %v, %v", tt.call, got, err)
		}
	}
	for _, quiet := range []string{"FALSE", "TRUE"} {
		_, err := one(t, c, "SELECT go_regexp_like(repeat('a', 40) || 'b', '^(?=(a+)+$)', "+quiet+")")
		if err == nil || !strings.Contains(err.Error(), Mark+"The regular expression takes too many steps") {
			t.Errorf("quiet %s: got %v", quiet, err)
		}
		// Ten megabytes each, which is allowed, of a hundred rows.
		_, err = one(t, c, "SELECT sum(length(go_regexp_replace(repeat('a', 10000), 'a', repeat('b', 1000 + i::INTEGER), "+quiet+"))) FROM range(100) AS t(i)")
		if err == nil || !strings.Contains(err.Error(), Mark+"The results of regexp_replace for some thousand rows have more than 67108864 bytes") {
			t.Errorf("quiet %s: got %v", quiet, err)
		}
	}
}

// TestManyFormats goes through more formats and patterns in one chunk than are remembered.
func TestManyFormats(t *testing.T) {
	c := connect(t)
	for _, sql := range []string{
		"SELECT count(*)::BIGINT FROM range(1000) r(i) WHERE go_date_format(0, i || '-%Y', 0, FALSE) = i || '-1970'",
		"SELECT count(*)::BIGINT FROM range(1000) r(i) WHERE go_regexp_like('x' || i, '^x' || i || '$', FALSE)",
	} {
		if got, err := one(t, c, sql); err != nil || got != int64(1000) {
			t.Errorf("%s: got %v, %v", sql, got, err)
		}
	}
}

// TestSpline compares with a curve that a natural spline has to be, a straight line, and with the equations that define it.
func TestSpline(t *testing.T) {
	line := newSpline([]int64{0, 1e9, 3e9, 4e9}, []float64{1, 3, 7, 9})
	for at, segment := int64(0), 0; at <= 4e9; at += 1e8 {
		var v float64
		if v, segment = line.at(at, segment); math.Abs(v-(1+2*float64(at)/1e9)) > 1e-12 {
			t.Errorf("the line at %d: %g", at, v)
		}
	}
	s := newSpline([]int64{0, 1e9, 2e9, 4e9, 5e9}, []float64{0, 1, 0, 2, -1})
	for i := 1; i < 4; i++ {
		h := float64(s.t[i]-s.t[i-1]) / 1e9
		v := s.v[i-1] + h*(s.b[i-1]+h*(s.c[i-1]+h*s.d[i-1]))
		slope, curvature := s.b[i-1]+h*(2*s.c[i-1]+3*h*s.d[i-1]), 2*s.c[i-1]+6*h*s.d[i-1]
		if math.Abs(v-s.v[i]) > 1e-12 || math.Abs(slope-s.b[i]) > 1e-12 || math.Abs(curvature-2*s.c[i]) > 1e-12 {
			t.Errorf("point %d: %g, %g, %g do not go on as %g, %g, %g", i, v, slope, curvature, s.v[i], s.b[i], 2*s.c[i])
		}
	}
	if last := 2*s.c[3] + 6*s.d[3]; s.c[0] != 0 || math.Abs(last) > 1e-12 {
		t.Errorf("the ends are curved: %g, %g", s.c[0], last)
	}
	for _, short := range []*spline{newSpline(nil, nil), newSpline([]int64{5}, []float64{7})} {
		if got := fmt.Sprint(short.has(4), short.has(6)); got != "false false" {
			t.Error(got)
		}
	}
}

// BenchmarkSpline is 200 series of 1,000 points at 2,000 times each.
func BenchmarkSpline(b *testing.B) {
	c := connect(b)
	for b.Loop() {
		if _, err := one(b, c, "SELECT sum(len(go_spline(p, w)))::BIGINT FROM (SELECT list({'t': i, 'v': i::DOUBLE} ORDER BY i) AS p, range(0, 1000) AS w FROM range(200) s(k), range(0, 2000, 2) r(i) GROUP BY k)"); err != nil {
			b.Fatal(err)
		}
	}
}
