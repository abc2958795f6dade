// SPDX-License-Identifier: Apache-2.0

package client

import (
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// plainBody sends requests whose bodies can only be read. The SDK closes the body of a request as soon as the answer
// begins, and its body then fails io.Copy, which prefers WriteTo, by an io.EOF. When the answer is faster than the
// transport's last look at the body, the transport takes that for a request that could not be sent and closes the
// connection under the answer: "use of closed network connection" (aws/aws-sdk-go-v2 issue 2737). A Read of the closed
// body ends without an error.
type plainBody struct{ next aws.HTTPClient }

// Do implements aws.HTTPClient.
func (c plainBody) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct {
			io.Reader
			io.Closer
		}{r.Body, r.Body}
	}
	return c.next.Do(r)
}
