// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"reflect"
	"time"
)

// members makes of one of the SDK's types, whose fields have the names of the JSON members, what encoding/json writes as the service does:
// times in seconds, and without the members that are absent. A number or a boolean that is no pointer is always there, and so is a list, unless
// it is nil; a text that is no pointer is one of an enumeration, which is never empty.
func members(v any) any { return member(reflect.ValueOf(v)) }

func member(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return member(v.Elem())
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = member(v.Index(i))
		}
		return list
	case reflect.Struct:
		if t, ok := v.Interface().(time.Time); ok {
			return seconds(&t)
		}
		o := object{}
		for i := range v.NumField() {
			f, t := v.Field(i), v.Type().Field(i)
			if !t.IsExported() || t.Anonymous || absentMember(f) {
				continue
			}
			o[t.Name] = member(f)
		}
		return o
	}
	return v.Interface()
}

// absentMember tells that a member is not there.
func absentMember(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice:
		return v.IsNil()
	case reflect.String:
		return v.Len() == 0
	}
	return false
}
