// SPDX-License-Identifier: Apache-2.0

// Package shape checks what the service's front door checks before an operation sees a request: the constraints of the API model. Its words
// are known from captures ("1 validation error detected: Value '…' at '…' failed to satisfy constraint: Member must …"); that several violations
// stand in one text, each after a semicolon, is how that front door answers for other services.
//
// It leaves to others which members a request has, and what is wrong beyond their shape.
package shape

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

// Violations collects what a request violates. The zero value has found nothing.
type Violations struct {
	list []string
	// dropped is how many were found when the list was full.
	dropped int
}

const (
	// maxViolations bounds the text: a request may be wrong in thousands of places.
	maxViolations = 10
	// maxShown is the longest value that a violation shows.
	maxShown = 256
	elided   = "..."
)

func (v *Violations) report(shown, member, constraint string) {
	if len(v.list) == maxViolations {
		v.dropped++
		return
	}
	v.list = append(v.list, "Value "+shown+" at '"+member+"' failed to satisfy constraint: Member must "+constraint)
}

// Add notes that a value violates a constraint; member is its path in the request, as in `records.1.member.time`.
func (v *Violations) Add(value, member, constraint string) {
	if len(value) > maxShown {
		value = elided
	}
	v.report("'"+value+"'", member, constraint)
}

// Null notes that a required member is missing.
func (v *Violations) Null(member string) { v.report("null", member, "not be null") }

// message is the text of all that was found, which is something.
func (v *Violations) message() *string {
	n := len(v.list)
	s := strconv.Itoa(n+v.dropped) + " validation errors detected: " + strings.Join(v.list, "; ")
	if n == 1 {
		s = "1 validation error detected: " + v.list[0]
	}
	return &s
}

// AsWrite is what was found as the ValidationException of the Write API, nil when nothing was.
func (v *Violations) AsWrite() error {
	if len(v.list) == 0 {
		return nil
	}
	return &wtypes.ValidationException{Message: v.message()}
}

// AsQuery is the same as that of the Query API.
func (v *Violations) AsQuery() error {
	if len(v.list) == 0 {
		return nil
	}
	return &qtypes.ValidationException{Message: v.message()}
}

// Length checks the number of something against its bounds; what is shown of a list is as short as it can be.
func (v *Violations) Length(n, least, most int, shown, member string) {
	switch {
	case n < least:
		v.Add(shown, member, "have length greater than or equal to "+strconv.Itoa(least))
	case n > most:
		v.Add(elided, member, "have length less than or equal to "+strconv.Itoa(most))
	}
}

// Text checks the length of a text in characters, and returns the text, empty if it is not there. A required one must be there.
func (v *Violations) Text(s *string, required bool, least, most int, member string) string {
	if s == nil {
		if required {
			v.Null(member)
		}
		return ""
	}
	v.Length(utf8.RuneCountInString(*s), least, most, *s, member)
	return *s
}

// Pattern checks a text that is there.
func (v *Violations) Pattern(s *string, re *regexp.Regexp, shown, member string) {
	if s != nil && *s != "" && !re.MatchString(*s) {
		v.Add(*s, member, "satisfy regular expression pattern: "+shown)
	}
}

// Number checks a number that may be absent.
func Number[N int32 | int64](v *Violations, n *N, least, most N, member string) {
	switch {
	case n == nil:
	case *n < least:
		v.Add(fmt.Sprint(*n), member, fmt.Sprintf("have value greater than or equal to %d", least))
	case *n > most:
		v.Add(fmt.Sprint(*n), member, fmt.Sprintf("have value less than or equal to %d", most))
	}
}

// Enum checks a word that may be absent.
func Enum[E ~string](v *Violations, have E, member string, values ...E) {
	if have == "" {
		return
	}
	words := make([]string, len(values))
	for i, w := range values {
		if have == w {
			return
		}
		words[i] = string(w)
	}
	v.Add(string(have), member, "satisfy enum value set: ["+strings.Join(words, ", ")+"]")
}
