// SPDX-License-Identifier: Apache-2.0

package grpcserver

// NewWithTimers is New with another time.AfterFunc, for tests that decide when the time to receive a request is up.
var NewWithTimers = newServer
