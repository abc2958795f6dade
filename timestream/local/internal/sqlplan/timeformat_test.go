// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"regexp/syntax"
	"strings"
	"testing"
)

// FuzzTimeFormats checks that every format is refused or can be printed and read: the pattern is one of RE2's with a group for each
// field, and no text of the format leaves its quotes.
func FuzzTimeFormats(f *testing.F) {
	for _, s := range []string{"%Y-%m-%d %H:%i:%s.%f %p", "%", "%%%z", "yyyy-MM-dd'T'HH:mm:ss.SSSZ", "'o''clock", "uuuu-LL-dd HH:mm z", "''", "'", "xxxx-'W'ww-e", "yyyyMMddHHmmss", strings.Repeat("y", 99)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, read := range []func(string) ([]timeToken, string){mysqlFormat, jodaFormat} {
			tokens, bad := read(s)
			if bad != "" {
				continue
			}
			if sql := formatTime("x", tokens); strings.Count(sql, "'")%2 != 0 {
				t.Errorf("%q prints as %s", s, sql)
			}
			pattern, unread := timePattern(tokens)
			if unread != "" {
				continue
			}
			re, err := syntax.Parse(pattern, syntax.Perl)
			if err != nil && strings.ToValidUTF8(s, "") == s {
				t.Fatalf("%q is read by %q: %v", s, pattern, err)
			}
			groups := 0
			for _, token := range tokens {
				if token.field != 0 {
					groups++
				}
				if token.field == 'S' && token.width == 6 {
					groups++
				}
			}
			if err == nil && re.MaxCap() != groups {
				t.Errorf("%q: %d groups for %d fields", s, re.MaxCap(), groups)
			}
		}
	})
}
