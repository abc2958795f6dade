// SPDX-License-Identifier: Apache-2.0

// Package client builds the AWS SDK clients of Timestream from flags: region, endpoint, discovery, credentials and
// connections. Where a flag is silent the SDK's environment variables and shared configuration decide. Retrying is left to
// the callers, each of which has one retry layer of its own; credentials are the SDK's default chain and never pass
// through here.
package client

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
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
	// Region signs the requests and, without Endpoint, names the host. Empty: AWS_REGION, AWS_DEFAULT_REGION or the profile
	// decides, and without them DefaultRegion.
	Region string
	// Endpoint is the URL of a server that speaks Timestream's protocol, such as timestream-local; no endpoints are
	// discovered then. Empty: AWS, or what AWS_ENDPOINT_URL_TIMESTREAM_WRITE, AWS_ENDPOINT_URL_TIMESTREAM_QUERY,
	// AWS_ENDPOINT_URL or the profile say, and endpoints are discovered as AWS_ENABLE_ENDPOINT_DISCOVERY says.
	Endpoint string
	// LocalCredentials signs with a fixed, public key, which only timestream-local accepts.
	LocalCredentials bool
	// MaxConnections bounds the connections to one host; idle ones are kept up to the same number, since each call in
	// flight needs one and a new one costs a TLS handshake.
	MaxConnections int
	// UserAgent is the product name added to the User-Agent header, "name/version".
	UserAgent string
	// Logger gets the warnings of the SDK, such as those of looking for credentials; nil: the SDK writes them to standard
	// error. They hold no credentials unless the SDK's own logging of requests is switched on, which nothing here does.
	Logger *slog.Logger
}

// DefaultRegion is that of the awslabs connector.
const DefaultRegion = "us-east-1"

// DefaultConfig returns the region and the endpoints of the environment, and 256 connections.
func DefaultConfig() Config { return Config{MaxConnections: 256} }

// RegisterFlags registers the flags with the present values as defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Region, "region", c.Region, "AWS region of Timestream. Empty: AWS_REGION, AWS_DEFAULT_REGION, or the region of the profile (AWS_PROFILE), and without them "+DefaultRegion+".")
	fs.StringVar(&c.Endpoint, "timestream.endpoint", c.Endpoint, "URL of a server that speaks Timestream's protocol, such as http://127.0.0.1:9231 for timestream-local; endpoints are not discovered then. Empty: AWS_ENDPOINT_URL_TIMESTREAM_WRITE, AWS_ENDPOINT_URL_TIMESTREAM_QUERY, AWS_ENDPOINT_URL, or the profile's, and without them Amazon Timestream, with endpoints discovered unless AWS_ENABLE_ENDPOINT_DISCOVERY=false.")
	fs.BoolVar(&c.LocalCredentials, "timestream.local-credentials", c.LocalCredentials, "Sign with a fixed key that only timestream-local accepts, instead of looking for AWS credentials. Needs --timestream.endpoint.")
	fs.IntVar(&c.MaxConnections, "timestream.max-connections", c.MaxConnections, "Connections to Timestream at most.")
}

// Validate names what is wrong with the configuration.
func (c Config) Validate() error {
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

// Target says where Timestream is, for people, the environment taken into account.
func (c Config) Target() string {
	if c.Endpoint != "" {
		return c.Endpoint
	}
	cfg, err := c.load(context.Background())
	if err != nil {
		return "Amazon Timestream" // making the clients fails for the same reason, and says so
	}
	if endpoint := timestreamwrite.NewFromConfig(cfg).Options().BaseEndpoint; endpoint != nil {
		if u, err := url.Parse(*endpoint); err == nil {
			u.User = nil
			return u.String()
		}
		return "the endpoint of the AWS configuration"
	}
	return "Amazon Timestream in " + cfg.Region
}

// load returns the SDK configuration: the default chain, with the connections bounded and no retries. The retry mode of the
// environment is checked by the SDK, and has no effect beyond that.
func (c Config) load(ctx context.Context) (aws.Config, error) {
	transport := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxConnsPerHost = c.MaxConnections
		t.MaxIdleConnsPerHost = c.MaxConnections
		t.MaxIdleConns = c.MaxConnections
		t.IdleConnTimeout = 90 * time.Second
		// A write of 100 records leaves in one system call, without a copy through a buffer that is allocated for it.
		t.WriteBufferSize = 64 << 10
	})
	opts := []func(*config.LoadOptions) error{
		config.WithRegion(c.Region), // empty: none
		config.WithDefaultRegion(DefaultRegion),
		config.WithHTTPClient(transport),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
	}
	if c.Logger != nil {
		opts = append(opts, config.WithLogger(sdkLogger{c.Logger}))
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
