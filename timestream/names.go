// SPDX-License-Identifier: Apache-2.0

package timestream

import "strings"

// ValidDimensionName tells whether a record may have a dimension of this name: 1 to 60 bytes, no reserved name or
// prefix, none of the characters : " U+0000..U+001F U+2028 U+2029 (ts-limits). "Must not contain a system identifier"
// is read as "must not be one": names such as video_startup_time are in the service's own samples.
func ValidDimensionName(name string) bool {
	return name != "" && len(name) <= MaxDimensionNameBytes && !reservedName(name) && !strings.ContainsAny(name, forbiddenInDimension)
}

// ValidMeasureName tells whether a record may have this measure name, or an attribute of this name: 1 to 256 bytes, no
// reserved name or prefix, no colon (ts-limits). Control characters and quotes are not forbidden there by the
// letter; they are refused here too, because nothing says how they fare.
func ValidMeasureName(name string) bool {
	return name != "" && len(name) <= MaxMeasureNameBytes && !reservedName(name) && !strings.ContainsAny(name, forbiddenInDimension)
}

func reservedName(name string) bool {
	return name == ColumnTime || strings.HasPrefix(name, "ts_") ||
		strings.HasPrefix(name, ColumnMeasureName) || strings.HasPrefix(name, ColumnMeasureValue)
}

// forbiddenInDimension is every character that a dimension name must not contain.
const forbiddenInDimension = ":\"\u2028\u2029" +
	"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f" +
	"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"
