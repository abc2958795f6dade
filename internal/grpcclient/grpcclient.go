// SPDX-License-Identifier: Apache-2.0

// Package grpcclient opens gRPC connections that balance over every address of a name: round robin over all replicas
// that say they are healthy. DNS is asked again when a connection ends, so servers bound the age of theirs.
package grpcclient

import (
	"flag"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // client-side health checking is off unless this is linked
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"

	"github.com/tributary-project/tributary/internal/tlsconfig"
)

// Config is what the flags say about one peer.
type Config struct {
	// Target is host:port, or any gRPC target. A host name is resolved by DNS to all of its addresses.
	Target string
	// TLS of the connection.
	TLS tlsconfig.Client
	// MaxMessageBytes bounds one message in either direction.
	MaxMessageBytes int
}

// RegisterFlags registers <peer>.address and <peer>.tls….
func (c *Config) RegisterFlags(fs *flag.FlagSet, peer string) {
	fs.StringVar(&c.Target, peer+".address", c.Target, "Where the "+peer+" service is: host:port. All addresses of the host are used; with a headless Kubernetes service or a compose service these are all replicas.")
	c.TLS.RegisterFlags(fs, peer+".", "the "+peer+" service")
}

// Validate names what is wrong with the target, by the flag that RegisterFlags registered for peer. gRPC itself finds
// out with the first call at the earliest: for a host without a port it dials port 443.
func (c Config) Validate(peer string) error {
	if err := checkTarget(c.Target); err != nil {
		return fmt.Errorf("--%s.address=%s: %w", peer, c.Target, err)
	}
	return nil
}

func checkTarget(target string) error {
	scheme, rest, isTarget := strings.Cut(target, "://")
	if !isTarget {
		return checkHostPort(target)
	}
	_, endpoint, found := strings.Cut(rest, "/") // what is before it is the authority, such as a DNS server
	switch {
	case resolver.Get(scheme) == nil:
		return fmt.Errorf("want host:port, such as 127.0.0.1:9221, or a gRPC target; %q is none of its schemes", scheme)
	case !found || endpoint == "":
		return fmt.Errorf("want %s:///host:port", scheme)
	case scheme == "dns" || scheme == "passthrough":
		return checkHostPort(endpoint)
	}
	return nil
}

func checkHostPort(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("want host:port, such as 127.0.0.1:9221: %w", err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("want host:port, such as 127.0.0.1:9221: port %q is not a number from 1 to 65535", port)
	}
	return nil
}

// writeBufferBytes is how much a connection gathers before it writes: a usual request at once. With gRPC's 32 KiB a request
// of 92 KiB takes three system calls and wakes the other side as often. Connections without data to send hold none.
const writeBufferBytes = 128 << 10

// Dial returns a connection for the service with the given full name, such as acme.thing.v1.ThingService; replicas are
// used while their health service says so for that name. Nothing is dialled before the first call, so a peer that is
// away is no error here.
func Dial(cfg Config, service string, extra ...grpc.DialOption) (*grpc.ClientConn, error) {
	t, err := cfg.TLS.Config()
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if t != nil {
		creds = credentials.NewTLS(t)
	}
	target := cfg.Target
	if !strings.Contains(target, "://") {
		target = "dns:///" + target
	}
	serviceConfig := fmt.Sprintf(`{"loadBalancingConfig":[{"round_robin":{}}],"healthCheckConfig":{"serviceName":%q}}`, service)
	opts := append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(cfg.MaxMessageBytes), grpc.MaxCallSendMsgSize(cfg.MaxMessageBytes)),
		grpc.WithWriteBufferSize(writeBufferBytes),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 3 * time.Second,
		}),
	}, extra...)
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Target, err)
	}
	return conn, nil
}
