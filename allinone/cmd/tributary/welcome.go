// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/smithy-go"

	"github.com/tributary-project/tributary/gateway"
	"github.com/tributary-project/tributary/services/query"
	"github.com/tributary-project/tributary/timestream/client"
	"github.com/tributary-project/tributary/timestream/tssql"
)

// printWelcome tells what to do next. warning, if not empty, is what keeps samples from being stored for now.
func printWelcome(w io.Writer, url, target string, c config, warning string) {
	var b strings.Builder
	fmt.Fprintf(&b, "\nTributary is ready.\n\n  write    %s/api/v1/write\n  read     %s/api/v1/read\n  Grafana  data source of type Prometheus, URL %s\n  SQL      %s, as in\n           curl %s -d '{\"statement\": \"SELECT now()\"}'\n\nPaste this into prometheus.yml:\n\n%s\n",
		url, url, url, url+gateway.SQLPath, url+gateway.SQLPath, gateway.PrometheusConfig(url))
	table := c.app.Ingest.Database + "." + c.app.Ingest.Table
	if c.store == storeLocal {
		fmt.Fprintf(&b, "Data is kept in %s, table %s", c.local.Dir, table)
		if c.localAddress != "" {
			fmt.Fprintf(&b, "; Timestream's API (AWS CLI, SDKs) is served on %s, with a page of its own about what is stored", c.localAddress)
		}
		b.WriteString(".\n")
	} else {
		fmt.Fprintf(&b, "Samples go to %s, table %s.\n", target, table)
	}
	if warning != "" {
		fmt.Fprintf(&b, "WARNING: %s\n", warning)
	}
	if strings.HasPrefix(c.app.Gateway.ListenAddress, ":") {
		b.WriteString("Everybody who reaches this machine can write and read: nothing authenticates.\n")
	}
	fmt.Fprintf(&b, "Status page: %s/   Ctrl-C ends it.\n", url)
	fmt.Fprint(w, b.String())
}

// storeWarning asks the store once for the table and says what is wrong, in words without credentials. That describing the
// table is not allowed is no fault: reading and writing may be.
func (c *config) storeWarning(ctx context.Context, store query.TimestreamClient) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	table := tssql.Table{Database: c.app.Ingest.Database, Name: c.app.Ingest.Table}
	_, err := store.Query(ctx, &timestreamquery.QueryInput{QueryString: aws.String(tssql.Print(&tssql.Describe{Table: table}))})
	const until = "writes and reads are answered 503 until that is mended."
	var api smithy.APIError
	switch {
	case err == nil || ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return ""
	case !errors.As(err, &api):
		return "Timestream does not answer, or no AWS credentials were found (the log has more); " + until
	case api.ErrorCode() == "AccessDeniedException":
		return ""
	case client.CredentialCode(api.ErrorCode()):
		return "Timestream refuses the AWS credentials (" + api.ErrorCode() + "); " + until
	}
	return fmt.Sprintf("%s (%s); %s", strings.TrimSuffix(api.ErrorMessage(), "."), api.ErrorCode(), until)
}
