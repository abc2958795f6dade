// SPDX-License-Identifier: Apache-2.0

package local

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tributary-project/tributary/timestream"
)

// What the service's front door checks before an operation sees a request: the constraints of the API model. Its words are
// known from captures ("1 validation error detected: Value '…' at '…' failed to satisfy constraint: Member must …"); that several
// violations stand in one text, each after a semicolon, is how that front door answers for other services.

// violations collects what a request violates. The zero value has found nothing.
type violations struct {
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

func (v *violations) report(shown, member, constraint string) {
	if len(v.list) == maxViolations {
		v.dropped++
		return
	}
	v.list = append(v.list, "Value "+shown+" at '"+member+"' failed to satisfy constraint: Member must "+constraint)
}

// add notes that a value violates a constraint; member is its path in the request, as in `records.1.member.time`.
func (v *violations) add(value, member, constraint string) {
	if len(value) > maxShown {
		value = elided
	}
	v.report("'"+value+"'", member, constraint)
}

// null notes that a required member is missing.
func (v *violations) null(member string) { v.report("null", member, "not be null") }

// message is the text of all that was found, empty when nothing was.
func (v *violations) message() string {
	n := len(v.list)
	switch n {
	case 0:
		return ""
	case 1:
		return "1 validation error detected: " + v.list[0]
	}
	return strconv.Itoa(n+v.dropped) + " validation errors detected: " + strings.Join(v.list, "; ")
}

// asWrite and asQuery are what was found as the ValidationException of either API, nil when nothing was.
func (v *violations) asWrite() error {
	if len(v.list) == 0 {
		return nil
	}
	return writeInvalid("%s", v.message())
}

func (v *violations) asQuery() error {
	if len(v.list) == 0 {
		return nil
	}
	return queryInvalid("%s", v.message())
}

// length checks the number of something against its bounds; what is shown of a list is as short as it can be.
func (v *violations) length(n, least, most int, shown, member string) {
	switch {
	case n < least:
		v.add(shown, member, "have length greater than or equal to "+strconv.Itoa(least))
	case n > most:
		v.add(elided, member, "have length less than or equal to "+strconv.Itoa(most))
	}
}

// text checks the length of a text in characters. A required one must be there.
func (v *violations) text(s *string, required bool, least, most int, member string) string {
	if s == nil {
		if required {
			v.null(member)
		}
		return ""
	}
	v.length(utf8.RuneCountInString(*s), least, most, *s, member)
	return *s
}

// pattern checks a text that is there.
func (v *violations) pattern(s *string, re *regexp.Regexp, shown, member string) {
	if s != nil && *s != "" && !re.MatchString(*s) {
		v.add(*s, member, "satisfy regular expression pattern: "+shown)
	}
}

// number checks a number that may be absent.
func number[N int32 | int64](v *violations, n *N, least, most N, member string) {
	switch {
	case n == nil:
	case *n < least:
		v.add(fmt.Sprint(*n), member, fmt.Sprintf("have value greater than or equal to %d", least))
	case *n > most:
		v.add(fmt.Sprint(*n), member, fmt.Sprintf("have value less than or equal to %d", most))
	}
}

// enum checks a word that may be absent.
func enum[E ~string](v *violations, have E, member string, values ...E) {
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
	v.add(string(have), member, "satisfy enum value set: ["+strings.Join(words, ", ")+"]")
}

// name checks the name of a database or table that has to exist: all that is wrong with one is that there is none.
func (v *violations) name(s *string, member string) string {
	if s == nil || *s == "" {
		v.null(member)
	}
	return str(s)
}

// newName checks the name of a database or table to be made (API reference, CreateDatabase and CreateTable).
func (v *violations) newName(s *string, member string) string {
	v.text(s, true, timestream.MinNameBytes, timestream.MaxNameBytes, member)
	v.pattern(s, namePattern, "[a-zA-Z0-9_.-]+", member)
	return str(s)
}
