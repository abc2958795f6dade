// SPDX-License-Identifier: Apache-2.0

package local_test

import (
	"testing"

	"go.uber.org/goleak"
)

const (
	database = "PrometheusDatabase"
	table    = "PrometheusMetricsTable"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
