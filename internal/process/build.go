// SPDX-License-Identifier: Apache-2.0

package process

import (
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Build is what was built.
type Build struct{ Version, Revision, GoVersion string }

// String returns what is known of it, with spaces between.
func (b Build) String() string {
	return strings.Join(slices.DeleteFunc([]string{b.Version, b.Revision, b.GoVersion}, func(s string) bool { return s == "" }), " ")
}

// ReadBuild returns what was built: version is what the linker set, if anything; the rest comes from the binary.
func ReadBuild(version string) Build {
	b := Build{Version: version, GoVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}

// Register adds the metric <name>_build_info with the constant value 1.
func (b Build) Register(reg prometheus.Registerer, name string) {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        name + "_build_info",
		Help:        "What was built; the value is always 1.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.GoVersion},
	})
	g.Set(1)
	reg.MustRegister(g)
}
