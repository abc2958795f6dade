// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

// Features are those of Prometheus' --enable-feature that are about PromQL.
type Features struct {
	ExperimentalFunctions  bool
	DurationExpressions    bool
	ExtendedRangeSelectors bool
	BinopFillModifiers     bool
	PerStepStats           bool
	DelayedNameRemoval     bool
	TypeAndUnitLabels      bool
	UseStartTimestamps     bool
}

// fields are Prometheus' names of the features, and where they are kept.
func (f *Features) fields() []struct {
	name string
	on   *bool
} {
	return []struct {
		name string
		on   *bool
	}{
		{"promql-experimental-functions", &f.ExperimentalFunctions},
		{"promql-duration-expr", &f.DurationExpressions},
		{"promql-extended-range-selectors", &f.ExtendedRangeSelectors},
		{"promql-binop-fill-modifiers", &f.BinopFillModifiers},
		{"promql-per-step-stats", &f.PerStepStats},
		{"promql-delayed-name-removal", &f.DelayedNameRemoval},
		{"type-and-unit-labels", &f.TypeAndUnitLabels},
		{"use-start-timestamps", &f.UseStartTimestamps},
	}
}

// ParseFeatures reads a list of names divided by commas, and returns those that it does not know besides.
func ParseFeatures(list string) (f Features, unknown []string) {
	known := make(map[string]*bool)
	for _, x := range f.fields() {
		known[x.name] = x.on
	}
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if on, ok := known[name]; ok {
			*on = true
		} else {
			unknown = append(unknown, name)
		}
	}
	return f, unknown
}

// FeatureNames returns every name that ParseFeatures knows.
func FeatureNames() []string {
	var names []string
	for _, x := range new(Features).fields() {
		names = append(names, x.name)
	}
	return names
}

func (f Features) parser() parser.Options {
	return parser.Options{
		EnableExperimentalFunctions:  f.ExperimentalFunctions,
		ExperimentalDurationExpr:     f.DurationExpressions,
		EnableExtendedRangeSelectors: f.ExtendedRangeSelectors,
		EnableBinopFillModifiers:     f.BinopFillModifiers,
	}
}
