// SPDX-License-Identifier: Apache-2.0

package sqlplan

// splineRounds is how often the equations of a spline are reduced. A row of them has at first at most half of its weight beside the diagonal; a
// round leaves at most the square of that, so that after six rounds it is less than a double can tell.
const splineRounds = 6

// spline prints the natural cubic spline through points at the times of before, which holds for each how many points are not after it (see
// interpolate). Natural means that the curvature is zero at both ends, which is what most libraries do (Apache Commons Math's
// SplineInterpolator among them); the guide does not say which kind the service computes.
//
// In the segment of length h from a point on, the curve is y + b x + c x² + d x³. The coefficients c of all points are the solution of a
// tridiagonal system, in which each row has c of a point and of its neighbours. It is solved by cyclic reduction of all rows at once:
// every round puts the neighbours' rows into each row, which then has those of twice the distance, with far smaller weights. That takes a
// few passes over the list, where elimination from one end to the other would need a loop, which SQL does not have.
func (b *binder) spline(points, wanted, before string) string {
	p, i := b.co.param(), b.co.param()
	// span and slope are the length in seconds and the slope of the segment after point n.
	span := func(n string) string {
		return "(CAST(" + points + "[" + n + " + 1].t - " + points + "[" + n + "].t AS DOUBLE) / 1e9)"
	}
	slope := func(n string) string {
		return "((" + points + "[" + n + " + 1].v - " + points + "[" + n + "].v) / " + span(n) + ")"
	}
	next := "(" + i + " + 1)"
	weight := "(2 * (" + span(i) + " + " + span(next) + "))"
	// Row i is that of point i + 1: l, u and d over the diagonal.
	rows := "list_transform(list_slice(" + points + ", 3, len(" + points + ")), lambda " + p + ", " + i + ": {'l': " + span(i) + " / " + weight + ", 'u': " + span(next) + " / " + weight +
		", 'd': 3 * (" + slope(next) + " - " + slope(i) + ") / " + weight + "})"
	for round, distance := 0, 1; round < splineRounds; round, distance = round+1, 2*distance {
		r := b.co.param()
		n := itoa(distance)
		// lower and upper are the same field of the rows that far away; there are none beyond the ends, where c is 0.
		lower := func(field string) string {
			return "(CASE WHEN " + i + " > " + n + " THEN " + r + "[" + i + " - " + n + "]." + field + " ELSE 0 END)"
		}
		upper := func(field string) string { return "coalesce(" + r + "[" + i + " + " + n + "]." + field + ", 0)" }
		diagonal := "(1 - " + p + ".l * " + lower("u") + " - " + p + ".u * " + upper("l") + ")"
		rows = "list_transform([" + rows + "], lambda " + r + ": list_transform(" + r + ", lambda " + p + ", " + i + ": {'l': - " + p + ".l * " + lower("l") + " / " + diagonal +
			", 'u': - " + p + ".u * " + upper("u") + " / " + diagonal + ", 'd': (" + p + ".d - " + p + ".l * " + lower("d") + " - " + p + ".u * " + upper("d") + ") / " + diagonal + "}))[1]"
	}
	c := b.co.param()
	at := func(n string) string { return points + "[" + n + "]" }
	coefficient := func(n string) string {
		return "(CASE WHEN " + n + " > 1 THEN coalesce(" + c + "[" + n + " - 1].d, 0) ELSE 0 END)"
	}
	e := b.co.param()
	n := e + ".n"
	x := "(CAST(" + e + ".t - " + at(n) + ".t AS DOUBLE) / 1e9)"
	c0, c1, h := coefficient(n), coefficient("("+n+" + 1)"), span(n)
	curve := at(n) + ".v + " + x + " * (" + slope(n) + " - " + h + " * (2 * " + c0 + " + " + c1 + ") / 3 + " + x + " * (" + c0 + " + " + x + " * (" + c1 + " - " + c0 + ") / (3 * " + h + ")))"
	value := "(CASE WHEN " + at(n) + ".t = " + e + ".t THEN " + at(n) + ".v ELSE " + curve + " END)"
	found := "list_transform([" + rows + "], lambda " + c + ": list_transform(" + before + ", lambda " + e + ": {'t': " + e + ".t, 'v': " + value + "}))[1]"
	return "(CASE WHEN " + points + " IS NOT NULL AND " + wanted + " IS NOT NULL THEN list_filter(" + found + ", lambda " + e + ": " + e + ".v IS NOT NULL) END)"
}
