// SPDX-License-Identifier: Apache-2.0

// Package proto is the module of Tributary's contracts: the .proto files and the Go code generated from them, side by
// side. A client of the services needs this module and nothing else.
package proto
