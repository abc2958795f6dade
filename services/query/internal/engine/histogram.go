// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
)

// StoredHistogram returns the form in which histograms are stored and sent. It shares nothing that the engine uses again.
func StoredHistogram(h *histogram.FloatHistogram) *prompb.Histogram {
	p := prompb.FromFloatHistogram(0, h)
	return &p
}
