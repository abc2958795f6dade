// SPDX-License-Identifier: Apache-2.0

package httperr

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Unreachable begins the text of a call that did not reach the service which plays role; what gRPC says follows, which
// alone does not tell whom it looked for.
func Unreachable(role string) string {
	return "the " + role + " service cannot be reached (--" + role + ".address of the gateway; /-/ready?role=" + role + " follows it): "
}

// NameRole returns err with Unreachable before its text if the connection to role is at fault, and any other error as it
// is. Code and details stay.
func NameRole(role string, err error) error {
	st, ok := status.FromError(err)
	if !ok || st.Code() != codes.Unavailable || ours(st) || !ofConnection(st.Message()) {
		return err
	}
	p := st.Proto()
	p.Message = Unreachable(role) + p.GetMessage()
	return status.FromProto(p).Err()
}

// ofConnection tells whether grpc-go, or a proxy on the way, made the text of an Unavailable. A service may have an
// Unavailable of its own, about what is behind it, and gRPC marks neither.
func ofConnection(text string) bool {
	for _, begin := range []string{
		"connection error: ", "last connection error: ", "last resolver error: ", "name resolver error: ", // no connection comes about
		"no children to pick from", "produced zero addresses", // the name has no addresses
		"connection active but health check failed",                                                                  // no replica serves
		"error reading from server: ", "closing transport due to: ", "transport is closing", "keepalive ping failed", // it broke
		"the connection is draining", "the stream is rejected because server is draining", "stream terminated by RST_STREAM",
		"unexpected HTTP status code received from server: ", // a proxy that does not speak gRPC
		"upstream connect error", "no healthy upstream",      // Envoy
	} {
		if strings.HasPrefix(text, begin) {
			return true
		}
	}
	return false
}
