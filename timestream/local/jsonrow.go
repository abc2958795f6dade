// SPDX-License-Identifier: Apache-2.0

package local

import (
	"unicode/utf8"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
)

// appendRow appends a row as the Query API writes it.
func appendRow(b []byte, row []qtypes.Datum) []byte {
	b = append(b, `{"Data":[`...)
	b = appendData(b, row)
	return append(b, "]}"...)
}

func appendData(b []byte, data []qtypes.Datum) []byte {
	for i := range data {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendDatum(b, &data[i])
	}
	return b
}

func appendDatum(b []byte, d *qtypes.Datum) []byte {
	switch {
	case d.ScalarValue != nil:
		b = append(b, `{"ScalarValue":`...)
		b = appendString(b, *d.ScalarValue)
		return append(b, '}')
	case d.TimeSeriesValue != nil:
		b = append(b, `{"TimeSeriesValue":[`...)
		for i := range d.TimeSeriesValue {
			if i > 0 {
				b = append(b, ',')
			}
			p := &d.TimeSeriesValue[i]
			b = append(b, `{"Time":`...)
			b = appendString(b, str(p.Time))
			b = append(b, `,"Value":`...)
			b = appendDatum(b, p.Value)
			b = append(b, '}')
		}
		return append(b, "]}"...)
	case d.ArrayValue != nil:
		b = append(b, `{"ArrayValue":[`...)
		b = appendData(b, d.ArrayValue)
		return append(b, "]}"...)
	case d.RowValue != nil:
		b = append(b, `{"RowValue":`...)
		b = appendRow(b, d.RowValue.Data)
		return append(b, '}')
	}
	return append(b, `{"NullValue":true}`...)
}

const hexDigits = "0123456789abcdef"

// appendString appends a JSON string. Nothing is escaped but what JSON demands, so a page's size is that of its text.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(b, s[start:i]...)
				b = append(b, "\ufffd"...)
				start = i + 1
			}
			i += size
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
