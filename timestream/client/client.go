// SPDX-License-Identifier: Apache-2.0

// Package client builds the AWS SDK clients of Timestream from flags: region, endpoint, discovery, credentials and
// connections. Retrying is left to the callers, each of which has one retry layer of its own; credentials are the SDK's
// default chain and never pass through here.
package client

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
)

// Config is what the flags say about Timestream.
type Config struct {
	// Region signs the requests and, without Endpoint, names the host.
	Region string
	// Endpoint is the URL of a server that speaks Timestream's protocol, such as timestream-local. Empty: AWS, or what
	// the SDK's environment variables say.
	Endpoint string
	// LocalCredentials signs with a fixed, public key, which only timestream-local accepts.
	LocalCredentials bool
	// MaxConnections bounds the connections to one host; idle ones are kept up to the same number, since each call in
	// flight needs one and a new one costs a TLS handshake.
	MaxConnections int
	// UserAgent is the product name added to the User-Agent header, "name/version".
	UserAgent string
}

// DefaultConfig returns us-east-1 (the awslabs connector's default), AWS's own endpoints and 256 connections.
func DefaultConfig() Config { return Config{Region: "us-east-1", MaxConnections: 256} }

// RegisterFlags registers the flags with the present values as defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Region, "region", c.Region, "AWS region of Timestream.")
	fs.StringVar(&c.Endpoint, "timestream.endpoint", c.Endpoint, "URL of a server that speaks Timestream's protocol, such as http://127.0.0.1:9231 for timestream-local. Empty: Amazon Timestream.")
	fs.BoolVar(&c.LocalCredentials, "timestream.local-credentials", c.LocalCredentials, "Sign with a fixed key that only timestream-local accepts, instead of looking for AWS credentials. Needs --timestream.endpoint.")
	fs.IntVar(&c.MaxConnections, "timestream.max-connections", c.MaxConnections, "Connections to Timestream at most.")
}

// Validate names what is wrong with the configuration.
func (c Config) Validate() error {
	if c.Region == "" {
		return fmt.Errorf("--region: must not be empty")
	}
	if c.MaxConnections < 1 {
		return fmt.Errorf("--timestream.max-connections=%d: must be at least 1", c.MaxConnections)
	}
	if c.Endpoint == "" {
		if c.LocalCredentials {
			return fmt.Errorf("--timestream.local-credentials needs --timestream.endpoint: AWS would refuse the key")
		}
		return nil
	}
	if strings.Contains(c.Endpoint, "@") {
		// The URL is shown on the status page, and in the error below.
		return fmt.Errorf("--timestream.endpoint: must not hold a user or a password; requests are signed with AWS credentials")
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("--timestream.endpoint=%q: want a URL such as http://127.0.0.1:9231", c.Endpoint)
	}
	return nil
}

// Target says where Timestream is, for people.
func (c Config) Target() string {
	if c.Endpoint != "" {
		return c.Endpoint
	}
	return "Amazon Timestream in " + c.Region
}

// load returns the SDK configuration: the default chain, with the connections bounded and no retries.
func (c Config) load(ctx context.Context) (aws.Config, error) {
	transport := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxConnsPerHost = c.MaxConnections
		t.MaxIdleConnsPerHost = c.MaxConnections
		t.MaxIdleConns = c.MaxConnections
		t.IdleConnTimeout = 90 * time.Second
	})
	opts := []func(*config.LoadOptions) error{
		config.WithRegion(c.Region),
		config.WithHTTPClient(transport),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
	}
	if c.UserAgent != "" {
		opts = append(opts, config.WithAppID(c.UserAgent))
	}
	if c.LocalCredentials {
		opts = append(opts, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("local", "local", "")))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return cfg, fmt.Errorf("load the AWS configuration: %w", err)
	}
	return cfg, nil
}

// NewWrite returns a client of the write API. It retries nothing.
func NewWrite(ctx context.Context, c Config) (*timestreamwrite.Client, error) {
	cfg, err := c.load(ctx)
	if err != nil {
		return nil, err
	}
	return timestreamwrite.NewFromConfig(cfg, func(o *timestreamwrite.Options) {
		o.HTTPClient = plainBody{o.HTTPClient}
		o.APIOptions = append(o.APIOptions, swapSerializer)
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
			// The SDK discovers endpoints even when one is given; a given one is meant.
			o.EndpointDiscovery.EnableEndpointDiscovery = aws.EndpointDiscoveryDisabled
		}
	}), nil
}

// NewQuery returns a client of the query API. It retries nothing.
func NewQuery(ctx context.Context, c Config) (*timestreamquery.Client, error) {
	cfg, err := c.load(ctx)
	if err != nil {
		return nil, err
	}
	return timestreamquery.NewFromConfig(cfg, func(o *timestreamquery.Options) {
		o.HTTPClient = plainBody{o.HTTPClient}
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
			o.EndpointDiscovery.EnableEndpointDiscovery = aws.EndpointDiscoveryDisabled
		}
	}), nil
}
