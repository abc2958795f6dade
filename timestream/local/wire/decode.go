// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"
)

// errBody marks a body that cannot be read.
var errBody = errors.New("the request body cannot be read")

// decode reads a body into one of the SDK's input types, whose fields have the names of the JSON members. encoding/json would not do:
// it takes names in any case, where the service's members are those of the API model to the letter. Unknown members are ignored,
// null is as good as absent.
func decode(body []byte, in any) error {
	if !utf8.Valid(body) {
		return fmt.Errorf("%w: not UTF-8", errBody)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: text after the end", errBody)
	}
	return assign(reflect.ValueOf(in).Elem(), v, "")
}

// assign sets a value of the kinds that the input types are made of; path names it in errors.
func assign(to reflect.Value, v any, path string) error {
	if v == nil {
		return nil
	}
	var want string
	if t, ok := to.Addr().Interface().(*time.Time); ok {
		return assignTime(t, v, path)
	}
	switch to.Kind() {
	case reflect.Pointer:
		p := reflect.New(to.Type().Elem())
		to.Set(p)
		return assign(p.Elem(), v, path)
	case reflect.String:
		if s, ok := v.(string); ok {
			to.SetString(s)
			return nil
		}
		want = "a string"
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			to.SetBool(b)
			return nil
		}
		want = "true or false"
	case reflect.Int32, reflect.Int64:
		if n, ok := v.(json.Number); ok {
			i, ok := integer(n)
			if ok && !to.OverflowInt(i) {
				to.SetInt(i)
				return nil
			}
		}
		want = fmt.Sprintf("a whole number of %d bits", to.Type().Bits())
	case reflect.Slice:
		if list, ok := v.([]any); ok {
			s := reflect.MakeSlice(to.Type(), len(list), len(list))
			to.Set(s)
			for i := range list {
				if err := assign(s.Index(i), list[i], path+"["+strconv.Itoa(i)+"]"); err != nil {
					return err
				}
			}
			return nil
		}
		want = "an array"
	case reflect.Struct:
		if members, ok := v.(map[string]any); ok {
			for i := range to.NumField() {
				f := to.Type().Field(i)
				if !f.IsExported() || f.Anonymous {
					continue
				}
				name := f.Name
				if path != "" {
					name = path + "." + name
				}
				if err := assign(to.Field(i), members[f.Name], name); err != nil {
					return err
				}
			}
			return nil
		}
		want = "an object"
	default:
		return fmt.Errorf("wire: a member of type %s", to.Type())
	}
	if path == "" {
		path = "the body"
	}
	return fmt.Errorf("%w: %s has to be %s", errBody, path, want)
}

// maxSeconds bounds the times that are read: those of Go's arithmetic, and more than any that means something here.
const maxSeconds = 1e11

// assignTime reads a time as AWS JSON writes it, in seconds with a fraction, to the millisecond.
func assignTime(to *time.Time, v any, path string) error {
	if n, ok := v.(json.Number); ok {
		if f, err := n.Float64(); err == nil && math.Abs(f) < maxSeconds {
			*to = time.UnixMilli(int64(math.Round(f * 1e3))).UTC()
			return nil
		}
	}
	return fmt.Errorf("%w: %s has to be a time in seconds since 1970", errBody, path)
}

// integer reads a number without a fraction: some clients send every number as a float.
func integer(n json.Number) (int64, bool) {
	if i, err := n.Int64(); err == nil {
		return i, true
	}
	f, err := n.Float64()
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
		return 0, false
	}
	return int64(f), true
}
