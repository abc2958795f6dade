// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
)

// scriptsVariable is set in the processes in which the scripts run, because an evaluation that fails fails its test.
const scriptsVariable = "TRIBUTARY_RUN_SCRIPTS"

// The evaluations that do not give what a storage of Prometheus gives, all about counter reset hints of histograms.
var (
	// beforeTheRange are those where Prometheus' storage knows from the sample before the range that the first one in it is no
	// reset. Values are the same; the last two lack a warning.
	beforeTheRange = []string{
		"native_histograms.test/line_1747/sum(metric)",
		"native_histograms.test/line_1752/avg(metric)",
		"native_histograms.test/line_1821/sum_over_time(mixed[3m])",
		"native_histograms.test/line_1826/avg_over_time(mixed[3m])",
		"range_queries.test/line_93/some_metric[2m]",
		"native_histograms.test/line_1880/histogram_count(sum_over_time(mixed[2m]))",
		"native_histograms.test/line_1885/histogram_count(avg_over_time(mixed[2m]))",
	}
	// leftOut are those where the sample before is left out as not needed. Values are the same.
	leftOut = []string{
		`native_histograms.test/line_1811/sum(metric{type=~"counter.*"})`,
		`native_histograms.test/line_1816/avg(metric{type=~"counter.*"})`,
	}
)

// TestPrometheusScripts runs every test script of Prometheus, with the last sample of each step pushed down and without. What
// fails is what is listed, nothing more and nothing less.
func TestPrometheusScripts(t *testing.T) {
	for _, tt := range []struct {
		name     string
		pushDown bool
		fail     [][]string
	}{
		{"all", false, [][]string{beforeTheRange}},
		{"pushed", true, [][]string{beforeTheRange, leftOut}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if os.Getenv(scriptsVariable) != "" {
				c := testConfig()
				c.PushDown = tt.pushDown
				e := newEngine(t, c, nil)
				promqltest.RunBuiltinTestsWithStorage(t, pushing{e}, func(testing.TB) storage.Storage { return newTestStorage(e) })
				return
			}
			exprs, err := promqltest.GetBuiltInExprs()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPrometheusScripts$/^"+tt.name+"$", "-test.v")
			cmd.Env = append(cmd.Environ(), scriptsVariable+"=1")
			out, err := cmd.Output() // fails when an evaluation does
			if len(out) == 0 {
				t.Fatal(err)
			}
			listed := make(map[string]bool)
			for _, names := range tt.fail {
				for _, name := range names {
					listed[name] = true
				}
			}
			ran := 0
			for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
				verdict, name, ok := strings.Cut(strings.TrimSpace(lines.Text()), ": TestPrometheusScripts/"+tt.name+"/testdata/")
				if !ok || !strings.HasPrefix(verdict, "--- ") || !strings.Contains(name, "/line_") {
					continue
				}
				ran++
				name = name[:strings.LastIndex(name, " (")]
				if passed := verdict == "--- PASS"; passed == listed[name] {
					t.Errorf("%s: passed is %v", name, passed)
				}
			}
			if ran != len(exprs) {
				t.Errorf("%d evaluations ran of %d; the output ends with\n%s", ran, len(exprs), out[max(0, len(out)-2000):])
			}
		})
	}
}
