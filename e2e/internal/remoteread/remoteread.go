// SPDX-License-Identifier: Apache-2.0

// Package remoteread has two clients of Prometheus' remote read: Read asks for samples, so for every bit of them, and leaves what
// to make of them to the callers; a Counter only counts what comes, at little cost.
package remoteread

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
)

// Read sends one remote read request with the queries, asking for samples, and returns their results.
func Read(ctx context.Context, client *http.Client, url string, queries ...*prompb.Query) ([]*prompb.QueryResult, error) {
	request, err := (&prompb.ReadRequest{Queries: queries}).Marshal()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(snappy.Encode(nil, request)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Read-Version", "0.1.0")
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", url, res.Status, body)
	}
	plain, err := snappy.Decode(nil, body)
	if err != nil {
		return nil, err
	}
	var out prompb.ReadResponse
	if err := out.Unmarshal(plain); err != nil {
		return nil, err
	}
	if len(out.Results) != len(queries) {
		return nil, fmt.Errorf("%s: %d results for %d queries", url, len(out.Results), len(queries))
	}
	return out.Results, nil
}
