// SPDX-License-Identifier: Apache-2.0

package result

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Clock reads timestamps. It remembers the last hour, because neighbours share it; the zero value is ready. It is not safe
// for concurrent use.
type Clock struct {
	hour   [hourLen]byte // "2020-08-08 01:"
	hourMs int64
	known  bool
}

const (
	hourLen = len("2020-08-08 01:")
	// TimeLen is the length of a timestamp as the service writes it.
	TimeLen = len("2020-08-08 01:00:00.000000000")
)

// Millis reads `YYYY-MM-DD HH:MM:SS.fffffffff`, in UTC, with up to nine digits after the point or none (the service writes
// nine: Timestream Developer Guide, supported-data-types), as milliseconds since 1970, rounded down.
func (c *Clock) Millis(s []byte) (int64, error) {
	if len(s) < TimeLen-10 || len(s) > TimeLen {
		return 0, badTime(s)
	}
	if len(s) < TimeLen {
		// The digits that are not there are zeros.
		var full [TimeLen]byte
		if n := copy(full[:], s); n == TimeLen-10 {
			full[n] = '.'
		} else if n == TimeLen-9 {
			return 0, badTime(s)
		}
		for i := max(len(s), TimeLen-9); i < TimeLen; i++ {
			full[i] = '0'
		}
		ms, ok := c.Full(full[:])
		if !ok {
			return 0, badTime(s)
		}
		return ms, nil
	}
	ms, ok := c.Full(s)
	if !ok {
		return 0, badTime(s)
	}
	return ms, nil
}

// The limits of the bytes of "MM:SS.ff" and of "ffffffff", after the text of zeros has been taken off them by XOR: a byte
// is good when adding 0x7f less its greatest value does not set its highest bit. Byte 0 of the text is the lowest.
const (
	zeroMinutes = 0x30_30_2e_30_30_3a_30_30
	roomMinutes = 0x76_76_7f_76_7a_7f_76_7a
	zeroDigits  = 0x30_30_30_30_30_30_30_30
	roomDigits  = 0x76_76_76_76_76_76_76_76
	highBits    = 0x80_80_80_80_80_80_80_80
)

// Full reads a timestamp of exactly TimeLen bytes, or tells that it is none.
func (c *Clock) Full(s []byte) (ms int64, ok bool) {
	if len(s) != TimeLen {
		return 0, false
	}
	if !c.known || [hourLen]byte(s[:hourLen]) != c.hour {
		if !c.turn(s[:hourLen]) {
			return 0, false
		}
	}
	x := binary.LittleEndian.Uint64(s[hourLen:]) ^ zeroMinutes
	y := binary.LittleEndian.Uint64(s[TimeLen-8:]) ^ zeroDigits
	if (x|(x+roomMinutes)|y|(y+roomDigits))&highBits != 0 {
		return 0, false
	}
	minutes := int64(x&0xff)*10 + int64(x>>8&0xff)
	seconds := int64(x>>24&0xff)*10 + int64(x>>32&0xff)
	millis := int64(x>>48&0xff)*100 + int64(x>>56)*10 + int64(y>>8&0xff)
	return c.hourMs + (minutes*60+seconds)*1000 + millis, true
}

// turn goes to another hour.
func (c *Clock) turn(s []byte) bool {
	day, err := time.Parse(time.DateOnly, string(s[:10]))
	if err != nil || s[10] != ' ' || s[13] != ':' {
		return false
	}
	tens, ones := s[11]-'0', s[12]-'0'
	if tens > 9 || ones > 9 || tens*10+ones > 23 {
		return false
	}
	c.hour, c.known = [hourLen]byte(s), true
	c.hourMs = day.UnixMilli() + int64(tens*10+ones)*3_600_000
	return true
}

func badTime(s []byte) error {
	return fmt.Errorf("timestamp %.40q: want YYYY-MM-DD HH:MM:SS.fffffffff", s)
}

// Double reads a DOUBLE as Java's Double.toString writes it: 1.0, 1.6554878837710001E9, NaN, Infinity, -Infinity.
func Double(s []byte) (float64, error) {
	if v, n, ok := ShortDouble(s); ok && n == len(s) {
		return v, nil
	}
	v, err := strconv.ParseFloat(string(s), 64)
	if err != nil {
		return 0, fmt.Errorf("double %.40q: %w", s, err)
	}
	return v, nil
}

// powers are those powers of ten that a float64 holds exactly.
var powers = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// ShortDouble reads the decimal number that s begins with, and its length, if it is short enough to be read exactly by one
// multiplication or division: digits and power of ten are both exact as float64 then, and IEEE 754 rounds the result as it
// should (Clinger, "How to read floating point numbers accurately"). Not ok means to read it by other means.
func ShortDouble(s []byte) (v float64, n int, ok bool) {
	i := 0
	if len(s) > 0 && s[0] == '-' {
		i = 1
	}
	var mantissa uint64
	begin, point := i, -1
	for ; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			if s[i] != '.' || point >= 0 {
				break
			}
			point = i
			continue
		}
		mantissa = mantissa*10 + uint64(c)
	}
	digits, exponent := i-begin, 0
	if point >= 0 {
		digits--
		exponent = point + 1 - i
	}
	if digits == 0 || digits > 18 || mantissa > 1<<53 {
		return 0, 0, false
	}
	if i < len(s) && (s[i] == 'E' || s[i] == 'e') {
		i++
		negative := i < len(s) && s[i] == '-'
		if negative {
			i++
		}
		e, from := 0, i
		for ; i < len(s) && s[i]-'0' <= 9; i++ {
			if i-from >= 4 {
				return 0, 0, false
			}
			e = e*10 + int(s[i]-'0')
		}
		if i == from {
			return 0, 0, false
		}
		if negative {
			e = -e
		}
		exponent += e
	}
	v = float64(mantissa)
	switch {
	case exponent == 0:
	case exponent > 0 && exponent < len(powers):
		v *= powers[exponent]
	case exponent < 0 && -exponent < len(powers):
		v /= powers[-exponent]
	default:
		return 0, 0, false
	}
	if s[0] == '-' {
		v = math.Copysign(v, -1)
	}
	return v, i, true
}
