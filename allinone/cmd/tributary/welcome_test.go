// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/smithy-go"

	"github.com/tributary-project/tributary/services/query"
)

// answering is a store whose every statement ends with err.
type answering struct {
	query.TimestreamClient
	err       error
	statement string
}

func (a *answering) Query(_ context.Context, in *timestreamquery.QueryInput, _ ...func(*timestreamquery.Options)) (*timestreamquery.QueryOutput, error) {
	a.statement = *in.QueryString
	return &timestreamquery.QueryOutput{}, a.err
}

func TestStoreWarning(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want string // empty: nothing is said
		lack string
	}{
		{"all is well", nil, "", ""},
		{"no such table", &smithy.GenericAPIError{Code: "ValidationException", Message: "The table 'T' does not exist in database 'D' at line 1:1"}, "'T' does not exist", "credentials"},
		{"describing is not allowed", &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "no"}, "", ""},
		{"a signature is refused", &smithy.GenericAPIError{Code: "InvalidSignatureException", Message: "The Canonical String was x-amz-security-token:s3cret"}, "refuses the AWS credentials", "s3cret"},
		{"nobody answers", errors.New("dial tcp: s3cret refused"), "does not answer", "s3cret"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := defaultConfig()
			store := &answering{err: c.err}
			warning := cfg.storeWarning(t.Context(), store)
			if want := `DESCRIBE "PrometheusDatabase"."PrometheusMetricsTable"`; store.statement != want {
				t.Errorf("asked %q, want %q", store.statement, want)
			}
			if (warning == "") != (c.want == "") || !strings.Contains(warning, c.want) || c.lack != "" && strings.Contains(warning, c.lack) {
				t.Errorf("got %q, want text %q and not %q", warning, c.want, c.lack)
			}
			var out bytes.Buffer
			cfg.store = storeTimestream
			printWelcome(&out, "http://127.0.0.1:9201", "Amazon Timestream in eu-west-1", cfg, warning)
			if strings.Contains(out.String(), "WARNING") != (c.want != "") || !strings.Contains(out.String(), "Amazon Timestream in eu-west-1, table PrometheusDatabase.PrometheusMetricsTable") {
				t.Errorf("the welcome is\n%s", out.String())
			}
			for _, want := range []string{
				"  write    http://127.0.0.1:9201/api/v1/write\n", "  read     http://127.0.0.1:9201/api/v1/read\n",
				"  Grafana  data source of type Prometheus, URL http://127.0.0.1:9201\n", "  SQL      http://127.0.0.1:9201/api/tributary/v1/sql,",
			} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the welcome is\n%s\nwhich lacks %q", out.String(), want)
				}
			}
		})
	}
}
