// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

// lateReader is an HTTP client whose answer begins before its last look at the request's body, as a transport's may.
type lateReader struct {
	answer string
	body   io.ReadCloser
}

func (l *lateReader) Do(r *http.Request) (*http.Response, error) {
	l.body = r.Body
	if _, err := io.CopyN(io.Discard, r.Body, r.ContentLength); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewBufferString(l.answer))}, nil
}

func TestBodyThatTheSDKHasClosedReadsAsEnded(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Endpoint, cfg.LocalCredentials = "http://127.0.0.1:1", true
	ctx := context.Background()
	q, err := NewQuery(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWrite(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		client aws.HTTPClient
		call   func(aws.HTTPClient) error
	}{
		{"query", q.Options().HTTPClient, func(h aws.HTTPClient) error {
			_, err := q.Query(ctx, &timestreamquery.QueryInput{QueryString: aws.String("SELECT 1")}, func(o *timestreamquery.Options) { o.HTTPClient = h })
			return err
		}},
		{"write", w.Options().HTTPClient, func(h aws.HTTPClient) error {
			_, err := w.WriteRecords(ctx, &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("d"), TableName: aws.String("t"), Records: []types.Record{}}, func(o *timestreamwrite.Options) { o.HTTPClient = h })
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wrapped, ok := tt.client.(plainBody)
			if !ok {
				t.Fatalf("the client sends by %T", tt.client)
			}
			late := &lateReader{answer: "{}"}
			wrapped.next = late
			if err := tt.call(wrapped); err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, late.body); n != 0 || err != nil {
				t.Errorf("reading on after the answer: %d bytes, %v", n, err)
			}
			// What this is for: without it the same read fails. When it no longer does, the SDK has changed.
			bare := &lateReader{answer: "{}"}
			if err := tt.call(bare); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, bare.body); err == nil {
				t.Error("the SDK's own body reads as ended too: plainBody is no longer needed")
			}
		})
	}
}
