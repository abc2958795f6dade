// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// writeSerializer takes the place of the SDK's serialiser of WriteRecords, which is the largest part of what a write costs: it
// goes over every string byte by byte and grows its buffer as it goes. The bytes are the same; a test compares
// them. All other steps stay the SDK's: validation, endpoints, signing.
type writeSerializer struct{}

// ID is that of the step it takes the place of.
func (writeSerializer) ID() string { return "OperationSerializer" }

// swapSerializer puts a writeSerializer into the stack of WriteRecords; other operations keep theirs.
func swapSerializer(stack *middleware.Stack) error {
	if stack.ID() != "WriteRecords" {
		return nil
	}
	_, err := stack.Serialize.Swap("OperationSerializer", writeSerializer{})
	return err
}

// HandleSerialize implements middleware.SerializeMiddleware.
func (writeSerializer) HandleSerialize(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (middleware.SerializeOutput, middleware.Metadata, error) {
	fail := func(err error) (middleware.SerializeOutput, middleware.Metadata, error) {
		return middleware.SerializeOutput{}, middleware.Metadata{}, &smithy.SerializationError{Err: err}
	}
	request, ok := in.Request.(*smithyhttp.Request)
	if !ok {
		return fail(fmt.Errorf("unknown transport type %T", in.Request))
	}
	input, ok := in.Parameters.(*timestreamwrite.WriteRecordsInput)
	if !ok {
		return fail(fmt.Errorf("unknown input parameters type %T", in.Parameters))
	}
	if !strings.HasSuffix(request.URL.Path, "/") {
		request.URL.Path += "/"
	}
	request.Method = "POST"
	request.Header.Set("Content-Type", "application/x-amz-json-1.0")
	request.Header.Set("X-Amz-Target", "Timestream_20181101.WriteRecords")
	request, err := request.SetStream(bytes.NewReader(appendWriteRecords(make([]byte, 0, writeRecordsSize(input)), input)))
	if err != nil {
		return fail(err)
	}
	in.Request = request
	return next.HandleSerialize(ctx, in)
}

// writeRecordsSize estimates the size of the body, for a buffer that need not grow.
func writeRecordsSize(in *timestreamwrite.WriteRecordsInput) int {
	const head, record, pair = 512, 160, 24 // keys and punctuation
	n := head
	for i := range in.Records {
		r := &in.Records[i]
		n += record + len(r.MeasureValues)*(record+len("MeasureValues"))
		if r.MeasureName != nil {
			n += len(*r.MeasureName)
		}
		for j := range r.Dimensions {
			n += pair + stringsSize(r.Dimensions[j].Name, r.Dimensions[j].Value)
		}
		for j := range r.MeasureValues {
			n += stringsSize(r.MeasureValues[j].Name, r.MeasureValues[j].Value)
		}
	}
	if c := in.CommonAttributes; c != nil {
		for j := range c.Dimensions {
			n += pair + stringsSize(c.Dimensions[j].Name, c.Dimensions[j].Value)
		}
	}
	return n
}

func stringsSize(ss ...*string) int {
	n := 0
	for _, s := range ss {
		if s != nil {
			n += len(*s)
		}
	}
	return n
}

// Every function below appends to b and returns it; members come in the order in which the SDK writes them, those that are
// not set are left out.

func appendWriteRecords(b []byte, in *timestreamwrite.WriteRecordsInput) []byte {
	b = append(b, '{')
	if in.CommonAttributes != nil {
		b = appendRecord(append(b, `"CommonAttributes":`...), in.CommonAttributes)
		b = append(b, ',')
	}
	b = appendMember(b, "DatabaseName", in.DatabaseName)
	if in.Records != nil {
		b = append(b, `"Records":[`...)
		for i := range in.Records {
			b = append(appendRecord(b, &in.Records[i]), ',')
		}
		b = append(closeWith(b, ']'), ',')
	}
	b = appendMember(b, "TableName", in.TableName)
	return closeWith(b, '}')
}

func appendRecord(b []byte, r *types.Record) []byte {
	b = append(b, '{')
	if r.Dimensions != nil {
		b = append(b, `"Dimensions":[`...)
		for i := range r.Dimensions {
			d := &r.Dimensions[i]
			b = append(b, '{')
			if d.DimensionValueType != "" {
				b = appendMember(b, "DimensionValueType", (*string)(&d.DimensionValueType))
			}
			b = appendMember(b, "Name", d.Name)
			b = appendMember(b, "Value", d.Value)
			b = append(closeWith(b, '}'), ',')
		}
		b = append(closeWith(b, ']'), ',')
	}
	b = appendMember(b, "MeasureName", r.MeasureName)
	b = appendMember(b, "MeasureValue", r.MeasureValue)
	if r.MeasureValues != nil {
		b = append(b, `"MeasureValues":[`...)
		for i := range r.MeasureValues {
			v := &r.MeasureValues[i]
			b = append(b, '{')
			b = appendMember(b, "Name", v.Name)
			if v.Type != "" {
				b = appendMember(b, "Type", (*string)(&v.Type))
			}
			b = appendMember(b, "Value", v.Value)
			b = append(closeWith(b, '}'), ',')
		}
		b = append(closeWith(b, ']'), ',')
	}
	if r.MeasureValueType != "" {
		b = appendMember(b, "MeasureValueType", (*string)(&r.MeasureValueType))
	}
	b = appendMember(b, "Time", r.Time)
	if r.TimeUnit != "" {
		b = appendMember(b, "TimeUnit", (*string)(&r.TimeUnit))
	}
	if r.Version != nil {
		b = append(strconv.AppendInt(append(b, `"Version":`...), *r.Version, 10), ',')
	}
	return closeWith(b, '}')
}

// appendMember appends `"name":"value",`, or nothing for a nil value.
func appendMember(b []byte, name string, value *string) []byte {
	if value == nil {
		return b
	}
	b = append(append(append(b, '"'), name...), '"', ':')
	return append(appendString(b, *value), ',')
}

// closeWith ends an object or array: the last comma gives way to the bracket.
func closeWith(b []byte, bracket byte) []byte {
	if b[len(b)-1] == ',' {
		b[len(b)-1] = bracket
		return b
	}
	return append(b, bracket)
}

// appendString appends a JSON string, escaped as the SDK escapes: quotes, backslashes and characters below U+0020, U+2028
// and U+2029; bytes that are no UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				b = append(append(b, s[start:i]...), `\ufffd`...)
			case r == '\u2028' || r == '\u2029':
				b = append(append(b, s[start:i]...), '\\', 'u', '2', '0', '2', hex[r&0xf])
			default:
				i += size
				continue
			}
			i += size
			start = i
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
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
