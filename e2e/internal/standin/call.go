// SPDX-License-Identifier: Apache-2.0

package standin

import (
	"encoding/json"
	"fmt"

	"github.com/tributary-project/tributary/timestream/metering"
)

// Dimension is one of a record.
type Dimension struct{ Name, Value string }

// MeasureValue is one of a multi-measure record.
type MeasureValue struct{ Name, Value, Type string }

// Record is what of a record counts for its price. Nil is what it leaves to the common attributes.
type Record struct {
	Dimensions       []Dimension
	MeasureName      *string
	MeasureValue     *string
	MeasureValueType string
	MeasureValues    []MeasureValue
	Time             *string
}

// Call is a WriteRecords request.
type Call struct {
	CommonAttributes Record
	Records          []Record
}

// Decode decodes a WriteRecords body.
func Decode(body []byte) (*Call, error) {
	c := new(Call)
	if err := json.Unmarshal(body, c); err != nil {
		return nil, err
	}
	if got := CountRecords(body); got != int64(len(c.Records)) {
		return nil, fmt.Errorf("%d records were counted and %d are there", got, len(c.Records))
	}
	return c, nil
}

// Metered is the size of the call as Timestream meters it (package metering): time, names and values of dimensions, name and value
// of measures; what is common counts once.
func (c *Call) Metered() int {
	sum := c.CommonAttributes.metered(c.CommonAttributes.MeasureValueType)
	for i := range c.Records {
		valueType := c.Records[i].MeasureValueType
		if valueType == "" {
			valueType = c.CommonAttributes.MeasureValueType
		}
		sum += c.Records[i].metered(valueType)
	}
	return sum
}

func (r *Record) metered(valueType string) int {
	sum := 0
	for _, d := range r.Dimensions {
		sum += len(d.Name) + len(d.Value)
	}
	if r.MeasureName != nil {
		sum += len(*r.MeasureName)
	}
	if r.Time != nil {
		sum += metering.TimeBytes
	}
	if r.MeasureValue != nil {
		sum += metering.ValueBytes(valueType, *r.MeasureValue)
	}
	for _, v := range r.MeasureValues {
		sum += len(v.Name) + metering.ValueBytes(v.Type, v.Value)
	}
	return sum
}

// Flat returns the records with what is common merged into each, as Timestream stores them.
func (c *Call) Flat() []Record {
	out := make([]Record, len(c.Records))
	for i, r := range c.Records {
		r.Dimensions = append(c.CommonAttributes.Dimensions[:len(c.CommonAttributes.Dimensions):len(c.CommonAttributes.Dimensions)], r.Dimensions...)
		if r.MeasureName == nil {
			r.MeasureName = c.CommonAttributes.MeasureName
		}
		if r.Time == nil {
			r.Time = c.CommonAttributes.Time
		}
		if r.MeasureValueType == "" {
			r.MeasureValueType = c.CommonAttributes.MeasureValueType
		}
		out[i] = r
	}
	return out
}
