// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"errors"
	"slices"
	"testing"
)

// All names come once, whatever the size of the pages, also when some were deleted between two.
func TestPage(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e"}
	for n := 1; n <= 6; n++ {
		var got []string
		var token *string
		for pages := 0; ; pages++ {
			out, next, err := Page(names, token, n)
			if err != nil || len(out) > n || pages > 5 {
				t.Fatalf("by %d: page %d has %v, %v", n, pages, out, err)
			}
			got = append(got, out...)
			if token = next; token == nil {
				break
			}
		}
		if !slices.Equal(got, names) {
			t.Errorf("by %d: %v", n, got)
		}
	}
	_, token, err := Page(names, nil, 2)
	if err != nil {
		t.Fatal(err)
	}
	if out, _, err := Page([]string{"a", "c", "d"}, token, 2); err != nil || !slices.Equal(out, []string{"c", "d"}) {
		t.Errorf("without the last of the page before: %v, %v", out, err)
	}
	bad := "%"
	if _, _, err := Page(names, &bad, 2); !errors.Is(err, ErrToken) {
		t.Errorf("got %v", err)
	}
}
