// SPDX-License-Identifier: Apache-2.0

package scripts

import (
	"maps"
	"strings"
	"testing"
)

// TestParse reads what package testing writes of a run in which a test printed without a newline, an evaluation failed, one
// passed whose expression has a slash, and a script could not be loaded.
func TestParse(t *testing.T) {
	out := strings.ReplaceAll(`
^=== RUN   TestX
^=== RUN   TestX/a
^=== RUN   TestX/a/testdata/one.test
^=== RUN   TestX/a/testdata/one.test/line_3/sum(x)
    file.go:1: expected 1
        but got 2
^=== RUN   TestX/a/testdata/one.test/line_12/x_/_y
no newline^=== NAME  TestX/a
^=== RUN   TestX/a/testdata/two.test
    file.go:2: cannot load
^--- FAIL: TestX (0.10s)
    ^--- FAIL: TestX/a (0.10s)
        ^--- FAIL: TestX/a/testdata/one.test (0.10s)
            ^--- FAIL: TestX/a/testdata/one.test/line_3/sum(x) (0.00s)
            ^--- PASS: TestX/a/testdata/one.test/line_12/x_/_y (0.00s)
        ^--- FAIL: TestX/a/testdata/two.test (0.00s)
^=== NAME
FAIL
`, "^", mark)
	results, rest, err := parse("TestX", []byte(out))
	if err != nil {
		t.Fatal(err)
	}
	want := Results{
		{"one.test", 3, "sum(x)"}: {Text: "    file.go:1: expected 1\n        but got 2\n"},
		{"one.test", 12, "x_/_y"}: {Passed: true},
	}
	if len(results) != 1 || !maps.Equal(results["a"], want) {
		t.Errorf("got %v, want %v", results, want)
	}
	if want := "TestX/a/testdata/two.test failed:\n    file.go:2: cannot load\n"; rest != want {
		t.Errorf("beside them: got %q, want %q", rest, want)
	}
	if _, _, err := parse("TestX", []byte(strings.ReplaceAll("^=== RUN   TestX\npanic: x\n", "^", mark))); err == nil {
		t.Error("a run that broke off was taken for a whole one")
	}
}
