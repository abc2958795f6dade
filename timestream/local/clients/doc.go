// SPDX-License-Identifier: Apache-2.0

// Package clients holds the clients that people use against one list of steps, over HTTP: the AWS SDK for Go v2, the AWS CLI
// and the AWS SDK for JavaScript v3, each with every way to name an endpoint, and the statements of Grafana's data source.
// It has tests only. What the answers have to be in detail is left to the tests of packages local and wire.
package clients
