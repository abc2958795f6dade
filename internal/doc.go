// SPDX-License-Identifier: Apache-2.0

// Package internal is the module of process plumbing that every binary shares: flags, logging, TLS, the
// administrative HTTP paths, gRPC servers and clients, start and stop. It knows nothing of time series; it should read
// the same in any project.
package internal
