// SPDX-License-Identifier: Apache-2.0

// Package record is the body of a WriteRecords request in the form that the store works on: plain strings instead of the
// SDK's pointers, and memory that is used again. It decodes the wire's JSON and converts the SDK's input; what is
// valid is left to the store.
package record

import (
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

// Dimension is a name and a value. Type is empty when the request had none.
type Dimension struct{ Name, Value, Type string }

// Attribute is one value of a multi-measure record.
type Attribute struct{ Name, Value, Type string }

// Field is a set of the scalar members that a Record has: absent and empty are different things.
type Field uint8

// The scalar members of a Record.
const (
	MeasureName Field = 1 << iota
	MeasureValue
	MeasureValueType
	Time
	TimeUnit
	Version
)

// Record is one record, or the common attributes of a request.
type Record struct {
	Dimensions       []Dimension
	Attributes       []Attribute
	MeasureName      string
	MeasureValue     string
	MeasureValueType string
	Time             string
	TimeUnit         string
	Version          int64
	Has              Field
}

// Request is a WriteRecords request. Its strings may point into the body that it was decoded from, and all of it is
// overwritten after Release.
type Request struct {
	Database, Table string
	Common          Record
	Records         []Record
	// Hide is how long the records are not seen by queries; no member of the API's.
	Hide time.Duration
	// Missing are the paths of required members that are not there, as in `records.1.member.dimensions.2.member.value`: an empty
	// text is another thing.
	Missing []string

	dims  []Dimension
	attrs []Attribute
	text  []byte
}

// MissingRecords is the path of the records in Request.Missing.
const MissingRecords = "records"

// maxMissing bounds what is remembered of a request that lacks much.
const maxMissing = 100

// miss notes a required member that is not there: in record i, -1 for the common attributes, of the list's element k. list and
// name are as the service's front door writes them.
func (r *Request) miss(i int, list string, k int, name string) {
	if len(r.Missing) == maxMissing {
		return
	}
	of := "commonAttributes"
	if i >= 0 {
		of = "records." + strconv.Itoa(i+1) + ".member"
	}
	r.Missing = append(r.Missing, of+"."+list+"."+strconv.Itoa(k+1)+".member."+name)
}

// The lists whose elements have required members.
const (
	listDimensions = "dimensions"
	listValues     = "measureValues"
)

// missing notes which of the members of an element are not there.
func (r *Request) missing(i int, list string, k int, name, value, typ bool) {
	if name && value && typ {
		return
	}
	if !name {
		r.miss(i, list, k, "name")
	}
	if !value {
		r.miss(i, list, k, "value")
	}
	if !typ {
		r.miss(i, list, k, "type")
	}
}

// Pool hands out requests whose memory is used again. The zero value is ready.
type Pool struct{ pool sync.Pool }

// Get returns an empty request.
func (p *Pool) Get() *Request {
	if r, ok := p.pool.Get().(*Request); ok {
		return r
	}
	return &Request{}
}

// Put takes a request back. Nothing that came from it may be used any more.
func (p *Pool) Put(r *Request) {
	r.reset()
	p.pool.Put(r)
}

func (r *Request) reset() {
	clear(r.Records)
	clear(r.dims)
	clear(r.attrs)
	clear(r.Missing)
	*r = Request{Missing: r.Missing[:0], Records: r.Records[:0], dims: r.dims[:0], attrs: r.attrs[:0], text: r.text[:0]}
}

// FromSDK converts the SDK's input.
func FromSDK(in *timestreamwrite.WriteRecordsInput) *Request {
	r := &Request{Database: value(in.DatabaseName), Table: value(in.TableName)}
	if in.CommonAttributes != nil {
		r.Common = r.fromSDK(in.CommonAttributes, -1)
	}
	if in.Records == nil {
		r.Missing = append(r.Missing, MissingRecords)
	}
	r.Records = make([]Record, len(in.Records))
	for i := range in.Records {
		r.Records[i] = r.fromSDK(&in.Records[i], i)
	}
	return r
}

// fromSDK converts record i, -1 for the common attributes.
func (r *Request) fromSDK(in *wtypes.Record, i int) Record {
	out := Record{MeasureValueType: string(in.MeasureValueType), TimeUnit: string(in.TimeUnit)}
	// The SDK leaves out what is empty, so empty enumerations are absent ones.
	set := func(f Field, present bool) {
		if present {
			out.Has |= f
		}
	}
	set(MeasureValueType, in.MeasureValueType != "")
	set(TimeUnit, in.TimeUnit != "")
	set(MeasureName, in.MeasureName != nil)
	set(MeasureValue, in.MeasureValue != nil)
	set(Time, in.Time != nil)
	set(Version, in.Version != nil)
	out.MeasureName, out.MeasureValue, out.Time = value(in.MeasureName), value(in.MeasureValue), value(in.Time)
	if in.Version != nil {
		out.Version = *in.Version
	}
	if len(in.Dimensions) > 0 {
		out.Dimensions = make([]Dimension, len(in.Dimensions))
		for k, d := range in.Dimensions {
			out.Dimensions[k] = Dimension{value(d.Name), value(d.Value), string(d.DimensionValueType)}
			r.missing(i, listDimensions, k, d.Name != nil, d.Value != nil, true)
		}
	}
	if len(in.MeasureValues) > 0 {
		out.Attributes = make([]Attribute, len(in.MeasureValues))
		for k, a := range in.MeasureValues {
			out.Attributes[k] = Attribute{value(a.Name), value(a.Value), string(a.Type)}
			r.missing(i, listValues, k, a.Name != nil, a.Value != nil, a.Type != "")
		}
	}
	return out
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
