// SPDX-License-Identifier: Apache-2.0

// Package e2e is where the whole of Tributary is tested: with a real Prometheus, real AWS clients and the real binaries. The
// helpers are under internal, the load generator and the benchmark under cmd.
package e2e
