// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/smithy-go"
)

// goSDK is the AWS SDK for Go v2. Its types have the names of the API's members.
type goSDK struct {
	write *timestreamwrite.Client
	query *timestreamquery.Client
}

func (g goSDK) call(ctx context.Context, service, operation string, input object) (object, error) {
	client := reflect.ValueOf(g.write)
	if service == query {
		client = reflect.ValueOf(g.query)
	}
	method := client.MethodByName(operation)
	if !method.IsValid() {
		return nil, fmt.Errorf("%s has no %s", service, operation)
	}
	in := reflect.New(method.Type().In(1).Elem())
	if err := convert(input, in.Interface()); err != nil {
		return nil, err
	}
	results := method.Call([]reflect.Value{reflect.ValueOf(ctx), in})
	if err, _ := results[1].Interface().(error); err != nil {
		return nil, goError(err)
	}
	var out object
	return out, convert(results[0].Interface(), &out)
}

func (g goSDK) pages(ctx context.Context, statement string, rows int) ([]object, error) {
	p := timestreamquery.NewQueryPaginator(g.query, &timestreamquery.QueryInput{QueryString: &statement, MaxRows: aws.Int32(int32(rows))})
	var pages []object
	for p.HasMorePages() {
		out, err := p.NextPage(ctx)
		if err != nil {
			return nil, goError(err)
		}
		var page object
		if err := convert(out, &page); err != nil {
			return nil, err
		}
		pages = append(pages, page)
	}
	return pages, nil
}

func goError(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	e := &apiError{Code: api.ErrorCode(), Message: api.ErrorMessage()}
	return errors.Join(convert(api, &e.Members), e)
}

// convert takes a value through JSON into another.
func convert(from, to any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}

// sharedEnv is what every client runs with: credentials of nobody, one attempt, and no settings of the machine's user.
func sharedEnv(home string) map[string]string {
	return map[string]string{
		"HOME": home, "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
		"AWS_CONFIG_FILE": filepath.Join(home, "config"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(home, "credentials"),
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1", "AWS_PAGER": "",
	}
}

// services is a shared configuration file that names an endpoint for each service.
func services(url string) string {
	return "[default]\nservices = local\n\n[services local]\ntimestream_write =\n  endpoint_url = " + url + "\ntimestream_query =\n  endpoint_url = " + url + "\n"
}

// Every way to name an endpoint goes with every mode of endpoint discovery.
func TestGoSDK(t *testing.T) {
	s := serve(t)
	ways := map[string]struct {
		base   bool
		env    map[string]string
		config string
	}{
		"BaseEndpoint":     {base: true},
		"AWS_ENDPOINT_URL": {env: map[string]string{"AWS_ENDPOINT_URL": s.URL}},
		"AWS_ENDPOINT_URL_TIMESTREAM": {env: map[string]string{
			"AWS_ENDPOINT_URL_TIMESTREAM_WRITE": s.URL, "AWS_ENDPOINT_URL_TIMESTREAM_QUERY": s.URL, "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
		}},
		"services": {config: services(s.URL)},
	}
	modes := map[string]string{"auto": "", "enabled": "true", "disabled": "false"}
	for way, w := range ways {
		for mode, value := range modes {
			t.Run(way+"/"+mode, func(t *testing.T) {
				env := sharedEnv(t.TempDir())
				for _, name := range []string{"AWS_PROFILE", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_TIMESTREAM_WRITE", "AWS_ENDPOINT_URL_TIMESTREAM_QUERY"} {
					env[name] = ""
				}
				if value != "" {
					env["AWS_ENABLE_ENDPOINT_DISCOVERY"] = value
				}
				for k, v := range w.env {
					env[k] = v
				}
				for k, v := range env {
					t.Setenv(k, v)
				}
				if err := os.WriteFile(env["AWS_CONFIG_FILE"], []byte(w.config), 0o600); err != nil {
					t.Fatal(err)
				}
				cfg, err := config.LoadDefaultConfig(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if w.base {
					cfg.BaseEndpoint = &s.URL
				}
				discovers := walk(t, s, goSDK{timestreamwrite.NewFromConfig(cfg), timestreamquery.NewFromConfig(cfg)}, "go-"+way+"-"+mode)
				// Measured: only the disabled mode does without discovery.
				if discovers != (mode != "disabled") {
					t.Errorf("asked for endpoints: %v", discovers)
				}
			})
		}
	}
}
