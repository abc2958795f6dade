// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

// cells is the service: DescribeEndpoints names the present cell, other cells say that they are the wrong ones.
type cells struct {
	mu      sync.Mutex
	present int
	asked   int // DescribeEndpoints
	hosts   []string
}

func (c *cells) Do(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = io.Copy(io.Discard, r.Body)
	answer := func(status int, body string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
	host := fmt.Sprintf("cell%d.timestream.us-east-1.amazonaws.com", c.present)
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".DescribeEndpoints") {
		c.asked++
		return answer(200, `{"Endpoints":[{"Address":"`+host+`","CachePeriodInMinutes":1440}]}`)
	}
	c.hosts = append(c.hosts, r.URL.Host)
	if r.URL.Host != host {
		return answer(421, `{"__type":"com.amazonaws.timestream.v20181101#InvalidEndpointException","message":"The requested endpoint was not valid."}`)
	}
	return answer(200, `{}`)
}

func TestMovedEndpointIsDiscoveredAnew(t *testing.T) {
	for name, makeCall := range map[string]func(*cells) func() error{
		"write": func(c *cells) func() error {
			w := NewWriter(timestreamwrite.New(timestreamwrite.Options{Region: "us-east-1", HTTPClient: c, Retryer: aws.NopRetryer{}, Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")}))
			return func() error {
				_, err := w.WriteRecords(context.Background(), &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("d"), TableName: aws.String("t"), Records: []types.Record{{}}})
				return err
			}
		},
		"query": func(c *cells) func() error {
			q := NewQuerier(timestreamquery.New(timestreamquery.Options{Region: "us-east-1", HTTPClient: c, Retryer: aws.NopRetryer{}, Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")}))
			return func() error {
				_, err := q.Query(context.Background(), &timestreamquery.QueryInput{QueryString: aws.String("SELECT 1")})
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &cells{present: 1}
			call := makeCall(c)
			for range 2 {
				if err := call(); err != nil {
					t.Fatal(err)
				}
			}
			c.present = 2
			var api interface{ ErrorCode() string }
			if err := call(); !errors.As(err, &api) || api.ErrorCode() != "InvalidEndpointException" {
				t.Errorf("the call to the old cell: %v", err)
			}
			if err := call(); err != nil {
				t.Errorf("the next call: %v (hosts %v)", err, c.hosts)
			}
			if c.asked != 2 {
				t.Errorf("asked %d times for the endpoint", c.asked)
			}
		})
	}
}
