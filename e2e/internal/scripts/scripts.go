// SPDX-License-Identifier: Apache-2.0

// Package scripts runs Prometheus' own PromQL test scripts (package promqltest) evaluation by evaluation, against storages and
// engines that are elsewhere, and tells of each one whether it passed. What should pass is left to the callers.
package scripts

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/promql/promqltest"
)

// childVariable is set in the processes that Evaluate starts, to the name of the test that they are to run.
const childVariable = "TRIBUTARY_SCRIPTS_OF"

// Outcome is what became of an evaluation.
type Outcome struct {
	Passed bool
	// Text is what the evaluation said, empty when it passed.
	Text string
}

// Evaluation names an evaluation of the scripts.
type Evaluation struct {
	// File is the name of the script without its directory.
	File string
	Line int
	// Expr is the expression as package testing writes names: spaces are underscores.
	Expr string
}

// String returns file:line: expression.
func (e Evaluation) String() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Expr) }

// Results are those of one run of all scripts.
type Results map[Evaluation]Outcome

// Compare fails the test unless so many evaluations ran and exactly those that are listed failed; listed holds texts of
// Evaluation.String.
func (r Results) Compare(t *testing.T, count int, listed map[string]bool) {
	t.Helper()
	if len(r) != count {
		t.Errorf("%d evaluations ran, want %d", len(r), count)
	}
	failed := 0
	seen := map[string]bool{}
	for _, e := range slices.SortedFunc(maps.Keys(r), func(a, b Evaluation) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, strings.Compare(a.Expr, b.Expr))
	}) {
		name, o := e.String(), r[e]
		seen[name] = true
		if !o.Passed {
			failed++
		}
		switch {
		case !o.Passed && !listed[name]:
			t.Errorf("%s\n%s", name, o.Text)
		case o.Passed && listed[name]:
			t.Errorf("%s passes, and is listed as one that cannot", name)
		}
	}
	for name, is := range listed {
		if is && !seen[name] {
			t.Errorf("%s is listed and did not run", name)
		}
	}
	t.Logf("%d of %d evaluations passed", len(r)-failed, len(r))
}

// Count is the number of evaluations that the scripts have.
func Count() (int, error) {
	all, err := promqltest.GetBuiltInExprs()
	return len(all), err
}

// Evaluate runs f, which runs scripts in subtests of the test that it is given, and returns their results by the name of
// the subtest. A failed evaluation fails the test it runs in, and what to make of it is the caller's: so f runs in processes of
// their own, which are this test binary once more. There Evaluate returns false, and the test has to end. There is one
// process for each pattern, which all run at once; it runs the scripts whose name the pattern matches.
func Evaluate(t *testing.T, patterns []string, f func(t *testing.T)) (map[string]Results, bool) {
	t.Helper()
	switch os.Getenv(childVariable) {
	case "":
	case t.Name():
		f(t)
		return nil, false
	default:
		t.Fatalf("the test %s runs in a process that was started for %s", t.Name(), os.Getenv(childVariable))
	}
	outputs, errs := make([][]byte, len(patterns)), make([]error, len(patterns))
	var running sync.WaitGroup
	for i, pattern := range patterns {
		running.Go(func() { outputs[i], errs[i] = run(t.Context(), t.Name(), pattern) })
	}
	running.Wait()
	all := map[string]Results{}
	for i, out := range outputs {
		results, rest, err := parse(t.Name(), out)
		if err != nil {
			t.Fatalf("%v, %v\n%s", err, errs[i], tail(out))
		}
		if rest != "" {
			t.Errorf("beside the evaluations:\n%s", tail([]byte(rest)))
		}
		if len(results) == 0 {
			t.Fatalf("no evaluation ran: %v\n%s", errs[i], tail(out))
		}
		for name, some := range results {
			if all[name] == nil {
				all[name] = Results{}
			}
			maps.Copy(all[name], some)
		}
	}
	return all, true
}

// run runs the scripts that match in one process, and returns what it printed. The error only says that something failed.
func run(ctx context.Context, test, pattern string) ([]byte, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var elements []string
	for element := range strings.SplitSeq(test, "/") {
		elements = append(elements, "^"+regexp.QuoteMeta(element)+"$")
	}
	elements = append(elements, "", "^testdata$", pattern)
	cmd := exec.CommandContext(ctx, binary, "-test.run="+strings.Join(elements, "/"), "-test.v=test2json", "-test.timeout=20m")
	cmd.Env = append(os.Environ(), childVariable+"="+test)
	return cmd.CombinedOutput()
}

func tail(b []byte) []byte { return b[max(0, len(b)-16<<10):] }

// mark begins the lines that package testing writes itself with -test.v=test2json.
const mark = "\x16"

var (
	switchLine = regexp.MustCompile(`^=== (?:RUN|PAUSE|CONT|NAME) *(.*)$`)
	resultLine = regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP): (.*) \([0-9.]+s\)$`)
	evaluation = regexp.MustCompile(`^([^/]+)/testdata/([^/]+\.test)/line_(\d+)/(.*)$`)
)

// parse returns the results in the output of a run of the test of this name, by subtest, and the output of the tests that
// failed without being evaluations or having failed ones.
func parse(test string, out []byte) (map[string]Results, string, error) {
	texts, failed := map[string]*strings.Builder{}, map[string]bool{}
	results := map[string]Results{}
	current, ended := "", false
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		line := lines.Text()
		// What a test prints without a newline stands before the mark.
		before, own, marked := strings.Cut(line, mark)
		if !marked || strings.TrimSpace(before) != "" {
			if texts[current] == nil {
				texts[current] = new(strings.Builder)
			}
			fmt.Fprintln(texts[current], before)
		}
		if !marked {
			continue
		}
		own = strings.ReplaceAll(own, mark, "")
		if m := switchLine.FindStringSubmatch(own); m != nil {
			current = m[1]
			continue
		}
		m := resultLine.FindStringSubmatch(own)
		if m == nil {
			continue
		}
		current = m[2]
		if current == test {
			ended = true
		}
		if m[1] == "FAIL" {
			failed[current] = true
		}
		e := evaluation.FindStringSubmatch(strings.TrimPrefix(current, test+"/"))
		if e == nil {
			continue
		}
		n, err := strconv.Atoi(e[3])
		if err != nil {
			return nil, "", err
		}
		if results[e[1]] == nil {
			results[e[1]] = Results{}
		}
		results[e[1]][Evaluation{File: e[2], Line: n, Expr: e[4]}] = Outcome{Passed: m[1] == "PASS"}
	}
	if err := lines.Err(); err != nil {
		return nil, "", err
	}
	if !ended {
		return nil, "", fmt.Errorf("%s did not run to its end", test)
	}
	var rest strings.Builder
	for name := range failed {
		text := ""
		if b := texts[name]; b != nil {
			text = b.String()
		}
		if e := evaluation.FindStringSubmatch(strings.TrimPrefix(name, test+"/")); e != nil {
			n, _ := strconv.Atoi(e[3]) // read before
			results[e[1]][Evaluation{File: e[2], Line: n, Expr: e[4]}] = Outcome{Text: text}
			continue
		}
		below := false
		for other := range failed {
			below = below || strings.HasPrefix(other, name+"/")
		}
		if !below {
			fmt.Fprintf(&rest, "%s failed:\n%s", name, text)
		}
	}
	return results, rest.String(), nil
}
