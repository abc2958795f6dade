// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"math"
	"strconv"
)

// appendDouble appends v as Java's Double.toString writes it, which is what the Query API answers: at least one digit after
// the point, scientific (`1.0E7`) below 10^-3 and from 10^7 on, and the shortest digits that read back as v. (Java before
// 19 writes a digit too many for some values; nothing reads differently.) That NaN, infinities and -0 follow Java
// too is an assumption, nobody has published a capture.
func appendDouble(dst []byte, v float64) []byte {
	switch {
	case v != v:
		return append(dst, "NaN"...)
	case math.IsInf(v, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(v, -1):
		return append(dst, "-Infinity"...)
	}
	abs := math.Abs(v)
	if abs == 0 || (abs >= 1e-3 && abs < 1e7) {
		if abs == math.Trunc(abs) {
			// Whole numbers are most of what counters hold.
			if math.Signbit(v) {
				dst = append(dst, '-')
			}
			dst = strconv.AppendInt(dst, int64(abs), 10)
			return append(dst, ".0"...)
		}
		return strconv.AppendFloat(dst, v, 'f', -1, 64)
	}
	start := len(dst)
	precision := -1
	if abs <= 1e-322 {
		// Java takes two digits at least, and here the closest two are not the shortest one and a zero: 4.9E-324.
		precision = 1
	}
	dst = strconv.AppendFloat(dst, v, 'e', precision, 64) // d[.ddd]e±dd[d]
	e := len(dst) - 1
	for dst[e] != 'e' {
		e--
	}
	var exponent [4]byte
	digits := exponent[:0]
	if dst[e+1] == '-' {
		digits = append(digits, '-')
	}
	i := e + 2
	for i < len(dst)-1 && dst[i] == '0' {
		i++
	}
	digits = append(digits, dst[i:]...)
	whole := start + 1
	if dst[start] == '-' {
		whole++
	}
	dst = dst[:e]
	if e == whole {
		dst = append(dst, ".0"...)
	}
	dst = append(dst, 'E')
	return append(dst, digits...)
}
