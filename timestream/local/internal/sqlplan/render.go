// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"errors"
	"fmt"
	"strconv"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
)

func (p *Plan) columnError(i int, err error) error {
	var told *qtypes.QueryExecutionException
	if errors.As(err, &told) {
		return err
	}
	return fmt.Errorf("sqlplan: column %q: %w", p.Columns[i].Name, err)
}

func text(s string) qtypes.Datum { return qtypes.Datum{ScalarValue: &s} }

func unexpected(t *Type, v any) error { return fmt.Errorf("a %T for type %s", v, t) }

// appendScalar appends the text of a scalar that is neither NULL nor a varchar. It needs no escaping in JSON.
func appendScalar(dst []byte, c *clock, t *Type, v any) ([]byte, error) {
	switch v := v.(type) {
	case bool:
		if t.Scalar == Boolean {
			return strconv.AppendBool(dst, v), nil
		}
	case float64:
		if t.Scalar == Double {
			return appendDouble(dst, v), nil
		}
	case int32:
		return appendInteger(dst, c, t, int64(v))
	case int64:
		return appendInteger(dst, c, t, v)
	}
	return nil, unexpected(t, v)
}

func appendInteger(dst []byte, c *clock, t *Type, v int64) ([]byte, error) {
	switch t.Scalar {
	case Integer, Bigint:
		return strconv.AppendInt(dst, v, 10), nil
	case Timestamp:
		return c.appendTimestamp(dst, v), nil
	case Date:
		return c.appendDate(dst, v), nil
	case TimeOfDay:
		return appendTimeOfDay(dst, v), nil
	case DayTime:
		return appendDayTime(dst, v), nil
	case YearMonth:
		return appendYearMonth(dst, v), nil
	}
	return nil, unexpected(t, v)
}

// errNullPoint is what CREATE_TIME_SERIES answers for a NULL: the guide says that values must not be NULL, but not in
// which words the service refuses them.
func errNullPoint() error {
	text := nullPoint
	return &qtypes.QueryExecutionException{Message: &text}
}

const nullPoint = "CREATE_TIME_SERIES: time and value must not be NULL"

// The fields of a time series' points in DuckDB, where it is a LIST of STRUCTs in no particular order.
const (
	pointTime  = "t"
	pointValue = "v"
)
