// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// printer prints tables, as text or as Markdown.
type printer struct {
	w        io.Writer
	markdown bool
}

func (p printer) line(format string, args ...any) {
	fmt.Fprintf(p.w, format+"\n\n", args...)
}

// table prints rows under a head. Columns from the second on are set to the right unless their head begins with a dot.
func (p printer) table(title string, head []string, rows [][]string) {
	left := make([]bool, len(head))
	for i, h := range head {
		head[i], left[i] = strings.CutPrefix(h, ".")
		left[i] = left[i] || i == 0
	}
	if p.markdown {
		fmt.Fprintf(p.w, "**%s**\n\n| %s |\n|", title, strings.Join(head, " | "))
		for _, l := range left {
			fmt.Fprint(p.w, map[bool]string{true: "---|", false: "---:|"}[l])
		}
		fmt.Fprintln(p.w)
		for _, r := range rows {
			fmt.Fprintf(p.w, "| %s |\n", strings.Join(r, " | "))
		}
		fmt.Fprintln(p.w)
		return
	}
	width := make([]int, len(head))
	for _, r := range append([][]string{head}, rows...) {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	fmt.Fprintln(p.w, title)
	for _, r := range append([][]string{head}, rows...) {
		for i, c := range r {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if left[i] {
				fmt.Fprint(p.w, c, pad, "  ")
			} else {
				fmt.Fprint(p.w, pad, c, "  ")
			}
		}
		fmt.Fprintln(p.w)
	}
	fmt.Fprintln(p.w)
}

// none stands where a figure does not exist.
const none = "–"

// printGroup prints what a group of scenarios did, and what that would have cost.
func (b *bench) printGroup(title string, results []*result, yardstick *result) {
	var rows, costRows [][]string
	for _, r := range results {
		ratio := none
		if yardstick != nil && !r.noRatio {
			ratio = fmt.Sprintf("%.2f", r.perCPUSecond()/yardstick.perCPUSecond())
		}
		var cpu, memory []string
		for _, p := range r.processes {
			cpu = append(cpu, fmt.Sprintf("%s %.2f", p.name, float64(p.cpu.Nanoseconds())/1000/float64(r.samples)))
			memory = append(memory, fmt.Sprintf("%s %d (%d)", p.name, p.peak>>20, p.last>>20))
		}
		rows = append(rows, []string{
			r.name, thousands(r.perSecond()), thousands(r.perCPUSecond()), ratio, milliseconds(r.latency(0.5)) + " / " + milliseconds(r.latency(0.99)),
			fmt.Sprintf("%.2f", r.all.Seconds()/r.elapsed.Seconds()), fmt.Sprintf("%.0f %%", 100*r.idle()), fmt.Sprint(r.retries), strings.Join(cpu, ", "), strings.Join(memory, ", "),
		})
		if r.spent != nil {
			costRows = append(costRows, r.costRow())
		}
	}
	b.out.table(title, []string{
		"scenario", "samples/s", "samples per CPU-s", "of the yardstick", "p50 / p99 ms", "cores in use", "machine idle", "tried again", ".CPU µs per sample", ".peak (last) MiB",
	}, rows)
	if len(costRows) > 0 {
		b.out.table(title+": what is written", []string{"scenario", "metered KiB per 1,000 samples", "of the connector's", "write units per 1,000", "body bytes per sample", "calls per 1,000", "records per call"}, costRows)
	}
}

// connectorKiB is what the awslabs connector's writes are metered at, in KiB per 1,000 samples of such load.
const connectorKiB = 290

func (r *result) costRow() []string {
	samples := float64(r.samples)
	kib := r.spent.meteredBytes / 1024 / samples * 1000
	body, records := none, none
	if r.calls.requests > 0 {
		body = fmt.Sprintf("%.0f", float64(r.calls.bodyBytes)/samples)
		records = fmt.Sprintf("%.1f", float64(r.calls.records)/float64(r.calls.requests))
	} else if r.spent.calls > 0 {
		records = fmt.Sprintf("%.1f", samples/r.spent.calls)
	}
	return []string{
		r.name, fmt.Sprintf("%.0f", kib), fmt.Sprintf("%.2f", kib/connectorKiB), fmt.Sprintf("%.0f", r.spent.units/samples*1000), body,
		fmt.Sprintf("%.1f", r.spent.calls/samples*1000), records,
	}
}

// thousands writes a whole number with a comma after every third digit.
func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func milliseconds(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.0f", d.Seconds()*1000)
}
