// SPDX-License-Identifier: Apache-2.0

package shape

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/smithy-go"
)

// What is wrong stands in one text of bounded length; nothing is no error.
func TestViolations(t *testing.T) {
	bad, long := "a b", strings.Repeat("x", 3000)
	for _, tt := range []struct {
		name  string
		check func(*Violations)
		want  string
	}{
		{"nothing", func(v *Violations) { v.Name(&bad, "n"); v.Filled(nil, false, "n") }, ""},
		{"one", func(v *Violations) { v.NewName(&bad, "n") },
			"1 validation error detected: Value 'a b' at 'n' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"},
		{"two", func(v *Violations) { v.ARN(&long, "arn"); v.KMSKey(nil, true, "key") },
			"2 validation errors detected: Value '...' at 'arn' failed to satisfy constraint: Member must have length less than or equal to 2048; Value null at 'key' failed to satisfy constraint: Member must not be null"},
		{"many", func(v *Violations) {
			for range 12 {
				v.Null("m")
			}
		}, "12 validation errors detected: " + strings.TrimSuffix(strings.Repeat("Value null at 'm' failed to satisfy constraint: Member must not be null; ", 10), "; ")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var v Violations
			tt.check(&v)
			for _, err := range []error{v.AsWrite(), v.AsQuery()} {
				var api smithy.APIError
				if tt.want == "" {
					if err != nil {
						t.Errorf("got %v", err)
					}
				} else if !errors.As(err, &api) || api.ErrorCode() != "ValidationException" || api.ErrorMessage() != tt.want {
					t.Errorf("got  %v\nwant %s", err, tt.want)
				}
			}
		})
	}
}
