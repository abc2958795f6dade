// SPDX-License-Identifier: Apache-2.0

package sqlfunc

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// maxDistance bounds the product of the lengths of two texts whose distance is wanted, as Trino does.
const maxDistance = 1_000_000

// texts are go_levenshtein (text, text, quiet) -> distance in code points, go_upper and go_lower (text) -> text, character by character, and
// go_spline (points, times) -> points.
func texts() []duck.Function {
	each := func(name string, f func(rune) rune) duck.Function {
		return duck.Function{
			Name: name, In: []duck.Kind{duck.Varchar()}, Out: duck.Varchar(),
			Call: eachRow(false, func() func([]duck.Column, int, *duck.Vector) error {
				return func(in []duck.Column, i int, out *duck.Vector) error {
					out.SetString(i, strings.Map(f, in[0].String(i)))
					return nil
				}
			}),
		}
	}
	points := duck.List(duck.Point(duck.Double()))
	return []duck.Function{
		each(Upper, unicode.ToUpper), each(Lower, unicode.ToLower),
		{
			Name: Levenshtein, In: []duck.Kind{duck.Varchar(), duck.Varchar(), duck.Boolean()}, Out: duck.Bigint(),
			Call: eachRow(true, func() func([]duck.Column, int, *duck.Vector) error {
				return func(in []duck.Column, i int, out *duck.Vector) error {
					l, r := []rune(in[0].String(i)), []rune(in[1].String(i))
					if len(l)*(len(r)-1) > maxDistance {
						return fmt.Errorf("The combined inputs for Levenshtein distance are too large") //nolint:staticcheck // Trino's text
					}
					out.SetInt64(i, distance(l, r))
					return nil
				}
			}),
		},
		{
			Name: Spline, In: []duck.Kind{points, duck.List(duck.Bigint())}, Out: points,
			Call: eachRow(false, func() func([]duck.Column, int, *duck.Vector) error {
				return func(in []duck.Column, i int, out *duck.Vector) error {
					from, n := in[0].List(i)
					fields := in[0].Elements().Fields()
					curve := newSpline(fields[0].Int64s(from, n), fields[1].Float64s(from, n))
					wantedFrom, m := in[1].List(i)
					wanted := make([]int64, 0, m)
					for k := range m {
						if times := in[1].Elements(); !times.IsNull(wantedFrom + k) {
							wanted = append(wanted, times.Int64(wantedFrom+k))
						}
					}
					slices.Sort(wanted)
					wanted = slices.Compact(wanted)
					wanted = slices.DeleteFunc(wanted, func(t int64) bool { return !curve.has(t) })
					list, first := out.SetList(i, len(wanted))
					segment := 0
					for k, t := range wanted {
						var v float64
						v, segment = curve.at(t, segment)
						list.SetPoint(first+k, t).SetFloat64(first+k, v)
					}
					return nil
				}
			}),
		},
	}
}

// distance is Levenshtein's.
func distance(l, r []rune) int64 {
	row := make([]int64, len(r)+1)
	for k := range row {
		row[k] = int64(k)
	}
	for i, a := range l {
		diagonal := row[0]
		row[0] = int64(i) + 1
		for k, b := range r {
			cost := diagonal
			if a != b {
				cost++
			}
			diagonal = row[k+1]
			row[k+1] = min(cost, row[k]+1, row[k+1]+1)
		}
	}
	return row[len(r)]
}

// spline is the natural cubic spline through points in the order of their times: no curvature at the ends, which is what most libraries
// do (Apache Commons Math's SplineInterpolator among them); the guide does not say which kind the service computes.
//
// In the segment from point i on the curve is v + b x + c x² + d x³ with x in seconds.
type spline struct {
	t       []int64
	v       []float64
	b, c, d []float64
}

// newSpline solves the tridiagonal system for c from one end to the other and back.
func newSpline(t []int64, v []float64) *spline {
	n := len(t)
	s := &spline{t: t, v: v, b: make([]float64, n), c: make([]float64, n), d: make([]float64, n)}
	if n < 2 {
		return s
	}
	span := func(i int) float64 { return float64(t[i+1]-t[i]) / 1e9 }
	slope := func(i int) float64 { return (v[i+1] - v[i]) / span(i) }
	upper, right := make([]float64, n), make([]float64, n)
	for i := 1; i < n-1; i++ {
		l, u := span(i-1), span(i)
		diagonal := 2*(l+u) - l*upper[i-1]
		upper[i] = u / diagonal
		right[i] = (3*(slope(i)-slope(i-1)) - l*right[i-1]) / diagonal
	}
	for i := n - 2; i >= 0; i-- {
		h := span(i)
		s.c[i] = right[i] - upper[i]*s.c[i+1]
		s.b[i] = slope(i) - h*(s.c[i+1]+2*s.c[i])/3
		s.d[i] = (s.c[i+1] - s.c[i]) / (3 * h)
	}
	return s
}

// has tells whether a time is one of the curve's.
func (s *spline) has(t int64) bool { return len(s.t) > 0 && s.t[0] <= t && t <= s.t[len(s.t)-1] }

// at is the curve at a time that is not in a segment before the given one; the segment comes back.
func (s *spline) at(t int64, segment int) (v float64, in int) {
	for segment+1 < len(s.t) && s.t[segment+1] <= t {
		segment++
	}
	x := float64(t-s.t[segment]) / 1e9
	if x == 0 {
		return s.v[segment], segment
	}
	return s.v[segment] + x*(s.b[segment]+x*(s.c[segment]+x*s.d[segment])), segment
}
