// SPDX-License-Identifier: Apache-2.0

package mapping

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// maxShown is how much of a value of a row is shown, in bytes.
const maxShown = 64

// short is a value as it is shown.
func short(s string) string {
	if len(s) <= maxShown {
		return s
	}
	n := maxShown
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// Patterns of the front door's texts, which name members by their paths in a request.
var (
	violations = regexp.MustCompile(`^\d+ validation errors? detected: `)
	violation  = regexp.MustCompile(`(?s)Value (null|'.*?') at 'records\.1\.member\.([A-Za-z0-9.]+)'`)
)

// Explain is the reason why a store refused a record of a row, with the columns and values that it is about, as far as they are known; any other
// reason is returned as it is. The record must have been alone in its request where the reason names members by their paths.
func (r *Mapper) Explain(rec *record.Record, reason string) string {
	if violations.MatchString(reason) {
		return r.explainPaths(rec, reason)
	}
	column, value := "", ""
	switch {
	case reason == record.TextBadTime:
		column, value = r.time.from, rec.Time
	case rec.MeasureValueType != string(Multi):
		switch typ := strings.ToLower(rec.MeasureValueType); reason {
		case record.TextBadValue(rec.MeasureValue, typ):
			column, reason = r.measureColumn(rec, ""), record.TextBadValue(short(rec.MeasureValue), typ)
		case record.TextLongValue:
			column, value = r.measureColumn(rec, ""), rec.MeasureValue
		}
	default:
		for i := range rec.Attributes {
			a := &rec.Attributes[i]
			typ := strings.ToLower(a.Type)
			if reason == record.TextBadValue(a.Value, typ) {
				column, reason = r.measureColumn(rec, a.Name), record.TextBadValue(short(a.Value), typ)
				break
			}
			if reason == record.TextLongValue && a.Type == string(Varchar) && len(a.Value) > timestream.MaxValueBytes {
				column, value = r.measureColumn(rec, a.Name), a.Value
				break
			}
		}
	}
	for i := range rec.Dimensions {
		switch d := &rec.Dimensions[i]; reason {
		case record.TextEmptyDimension(d.Name):
			column = r.dimensionColumn(d.Name)
		case record.TextLongDimension(d.Name):
			column, value = r.dimensionColumn(d.Name), d.Value
		}
	}
	switch {
	case column == "":
		return reason
	case value == "":
		return "Column '" + column + "': " + reason
	}
	return "Column '" + column + "', value '" + short(value) + "': " + reason
}

// explainPaths puts columns in the place of paths.
func (r *Mapper) explainPaths(rec *record.Record, reason string) string {
	known := false
	out := violation.ReplaceAllStringFunc(reason, func(s string) string {
		m := violation.FindStringSubmatch(s)
		column, value := r.pathMember(rec, m[2])
		if column == "" {
			return s
		}
		known = true
		if m[1] == "null" {
			return "Column '" + column + "': Value null"
		}
		return "Column '" + column + "': Value '" + short(value) + "'"
	})
	if !known {
		return reason
	}
	return violations.ReplaceAllString(out, "")
}

// pathMember is a member of a record by its path in there, with the column that it came from, which is empty if it is not known.
func (r *Mapper) pathMember(rec *record.Record, path string) (column, value string) {
	parts := strings.Split(path, ".")
	switch {
	case path == "time":
		return r.time.from, rec.Time
	case path == "measureValue":
		return r.measureColumn(rec, ""), rec.MeasureValue
	case len(parts) != 4 || parts[2] != "member" || parts[3] != "value":
		return "", ""
	}
	i, err := strconv.Atoi(parts[1])
	switch {
	case err != nil || i < 1:
	case parts[0] == "dimensions" && i <= len(rec.Dimensions):
		d := &rec.Dimensions[i-1]
		return r.dimensionColumn(d.Name), d.Value
	case parts[0] == "measureValues" && i <= len(rec.Attributes):
		a := &rec.Attributes[i-1]
		return r.measureColumn(rec, a.Name), a.Value
	}
	return "", ""
}

// dimensionColumn is the column of a dimension.
func (r *Mapper) dimensionColumn(name string) string {
	for i := range r.dimensions {
		if r.dimensions[i].name == name {
			return r.dimensions[i].from
		}
	}
	return ""
}

// measureColumn is the column of a record's value, or of its attribute with a name; empty if it can be one of several, as for measures that are
// renamed to the same.
func (r *Mapper) measureColumn(rec *record.Record, attribute string) string {
	found := ""
	for i := range r.measures {
		a := &r.measures[i]
		name := a.name
		if name == "" {
			name = a.when
		}
		if string(a.typ) != rec.MeasureValueType || name != "" && name != rec.MeasureName {
			continue
		}
		column := a.value.from
		for k := range a.attributes {
			if a.attributes[k].name == attribute {
				column = a.attributes[k].from
			}
		}
		switch {
		case column == "" || column == found:
		case found != "":
			return ""
		default:
			found = column
		}
	}
	return found
}
