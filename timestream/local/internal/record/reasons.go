// SPDX-License-Identifier: Apache-2.0

package record

// Reasons of a store why it refuses a record that name what they are about by its value or its target, and not by where it came from; who
// knows that recognizes them by these.
const (
	TextBadTime   = "Invalid time for record."
	TextLongValue = "A measure value of the record exceeds the limit of 2048 bytes."
)

// TextBadValue is that of a value that is not of its type, which is in lower case.
func TextBadValue(value, typ string) string {
	return "Invalid value " + value + " for " + typ + " measure value type."
}

// TextEmptyDimension is that of a dimension without a value.
func TextEmptyDimension(name string) string { return "The value of dimension '" + name + "' is empty." }

// TextLongDimension is that of a dimension that is too long.
func TextLongDimension(name string) string {
	return "The dimension '" + name + "' exceeds the limit of 2048 bytes for a dimension name and value pair."
}
