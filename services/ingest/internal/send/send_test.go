// SPDX-License-Identifier: Apache-2.0

package send

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/timestream/client"
)

func config() Config {
	return Config{MaxInFlight: 4, Retries: 3, AttemptTimeout: time.Minute, MinBackoff: time.Millisecond, MaxBackoff: 4 * time.Millisecond}
}

func input(n int) *timestreamwrite.WriteRecordsInput {
	in := &timestreamwrite.WriteRecordsInput{
		DatabaseName: aws.String("d"), TableName: aws.String("t"),
		CommonAttributes: &types.Record{TimeUnit: types.TimeUnitMilliseconds, Dimensions: []types.Dimension{{Name: aws.String("job"), Value: aws.String("x")}}},
	}
	for i := range n {
		in.Records = append(in.Records, types.Record{MeasureName: aws.String(fmt.Sprint("m", i)), MeasureValue: aws.String("1"), Time: aws.String("1")})
	}
	return in
}

type writer interface {
	WriteRecords(context.Context, *timestreamwrite.WriteRecordsInput, ...func(*timestreamwrite.Options)) (*timestreamwrite.WriteRecordsOutput, error)
}

// sender makes calls of a client.
type sender struct {
	*Sender
	writer writer
}

func newSender(cfg Config, w writer) sender {
	return sender{New(cfg, prometheus.NewRegistry(), time.Now), w}
}

func (s sender) Write(ctx context.Context, in *timestreamwrite.WriteRecordsInput) Result {
	return s.Sender.Write(ctx, len(in.Records), func(ctx context.Context) (*timestreamwrite.WriteRecordsOutput, error) {
		return s.writer.WriteRecords(ctx, in)
	})
}

// signature is how AWS words a wrong signature: with the request that was signed, session token included.
const signature = "The request signature we calculated does not match. The Canonical String for this request should have been 'POST\n/\n\nx-amz-security-token:FwoGZXIvYXdzSECRET'"

func TestClassification(t *testing.T) {
	const again = 4 // attempts: one and three repetitions
	for _, c := range []struct {
		name     string
		give     ingesttest.Reply
		attempts int
		cause    Cause // of the failure
		invalid  bool
		text     string
	}{
		{"stored", ingesttest.Reply{}, 1, "", false, ""},
		{"throttled", ingesttest.Reply{Class: "ThrottlingException", Status: 429, Message: "Request rate limit exceeded"}, again, Throttled, false, "Request rate limit exceeded"},
		{"throttled with status 400", ingesttest.Reply{Class: "ThrottlingException", Status: 400}, again, Throttled, false, ""},
		{"internal error", ingesttest.Reply{Class: "InternalServerException", Status: 500}, again, Unavailable, false, ""},
		{"moved", ingesttest.Reply{Class: "InvalidEndpointException", Status: 421}, again, Unavailable, false, "endpoint"},
		{"bad gateway", ingesttest.Reply{Class: "Whatever", Status: 502}, again, Unavailable, false, "502"},
		{"connection dropped", ingesttest.Reply{Drop: true}, again, Unavailable, false, "cannot be reached"},
		{"too many requests of another service", ingesttest.Reply{Class: "TooManyRequestsException", Status: 429}, again, Throttled, false, ""},
		{"the body came too slowly", ingesttest.Reply{Class: "RequestTimeout", Status: 400}, again, Unavailable, false, "RequestTimeout"},
		{"no such table", ingesttest.Reply{Class: "ResourceNotFoundException", Status: 404, Message: "The table t does not exist."}, 1, TableMissing, false, "The table t does not exist."},
		{"denied", ingesttest.Reply{Class: "AccessDeniedException", Status: 403, Message: "User: arn:aws:iam::1:user/u is not authorized"}, 1, Credentials, false, "AccessDeniedException"},
		{"wrong signature", ingesttest.Reply{Class: "InvalidSignatureException", Status: 403, Message: signature}, 1, Credentials, false, "InvalidSignatureException"},
		{"expired token", ingesttest.Reply{Class: "ExpiredTokenException", Status: 403, Message: signature}, 1, Credentials, false, "ExpiredTokenException"},
		{"unknown access key", ingesttest.Reply{Class: "InvalidAccessKeyId", Status: 400, Message: signature}, 1, Credentials, false, "InvalidAccessKeyId"},
		{"unknown key", ingesttest.Reply{Class: "UnrecognizedClientException", Status: 400, Message: signature}, 1, Credentials, false, "UnrecognizedClientException"},
		{"forbidden by something else", ingesttest.Reply{Class: "Forbidden", Status: 403, Message: signature}, 1, Credentials, false, "Forbidden"},
		{"quota", ingesttest.Reply{Class: "ServiceQuotaExceededException", Status: 402, Message: "too much"}, 1, Quota, false, "too much"},
		{"invalid", ingesttest.Reply{Class: "ValidationException", Status: 400, Message: "Invalid time for record."}, 1, "", true, "Invalid time for record."},
		{"invalid shape", ingesttest.Reply{Class: "SerializationException", Status: 400, Message: "?"}, 1, "", true, "SerializationException"},
		{"a proxy wants a password", ingesttest.Reply{Class: "ProxyAuthenticationRequired", Status: 407}, again, Unavailable, false, "407"},
		{"gone", ingesttest.Reply{Class: "Gone", Status: 410}, again, Unavailable, false, "410"},
		{"an answer without a code", ingesttest.Reply{Class: ingesttest.NoClass, Status: 400}, again, Unavailable, false, "status 400"},
		{"too large for a proxy", ingesttest.Reply{Class: "RequestEntityTooLarge", Status: 413}, 1, "", true, "RequestEntityTooLarge"},
		{"long text", ingesttest.Reply{Class: "ThrottlingException", Status: 429, Message: strings.Repeat("é", 5000)}, again, Throttled, false, "…"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := ingesttest.NewEndpoint(t)
			e.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply { return c.give })
			s := newSender(config(), e.Writer())
			res := s.Write(context.Background(), input(3))
			if n := len(e.Calls()); n != c.attempts {
				t.Errorf("%d attempts, want %d", n, c.attempts)
			}
			text := res.Invalid
			if f := res.Failure; f != nil {
				text = f.Text
				if f.Cause != c.cause {
					t.Errorf("cause %s, want %s", f.Cause, c.cause)
				}
				if strings.Contains(f.Text+f.Detail, "SECRET") {
					t.Errorf("a credential leaks: %+v", f)
				}
				if len(f.Text) > 600 {
					t.Errorf("text of %d bytes", len(f.Text))
				}
			} else if c.cause != "" {
				t.Errorf("no failure, want %s", c.cause)
			}
			if (res.Invalid != "") != c.invalid || !strings.Contains(text, c.text) {
				t.Errorf("got %+v, want text %q", res, c.text)
			}
			if h := s.Health(); !h.Known || (h.Failure != nil) != (c.cause != "") {
				t.Errorf("health %+v", h)
			}
		})
	}
}

func TestRejectedRecords(t *testing.T) {
	e := ingesttest.NewEndpoint(t)
	e.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply {
		return ingesttest.Reply{Rejected: []ingesttest.Rejected{{RecordIndex: 1, Reason: "because"}}}
	})
	res := newSender(config(), e.Writer()).Write(context.Background(), input(3))
	if res.Failure != nil || len(res.Rejected) != 1 || res.Rejected[0].RecordIndex != 1 || aws.ToString(res.Rejected[0].Reason) != "because" {
		t.Errorf("got %+v", res)
	}
	if len(e.Calls()) != 1 || len(e.Stored()) != 2 {
		t.Errorf("%d calls, %d stored", len(e.Calls()), len(e.Stored()))
	}
	// A rejection that names no record says nothing about any.
	e.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply {
		return ingesttest.Reply{Class: "ValidationException", Status: 400, Message: "x"}
	})
	if res := classify(context.Background(), nil, &types.RejectedRecordsException{}, 3); res.Failure == nil {
		t.Errorf("got %+v", res)
	}
}

func TestLateRecords(t *testing.T) {
	e := ingesttest.NewEndpoint(t)
	e.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply { return ingesttest.Reply{Late: 2} })
	if res := newSender(config(), e.Writer()).Write(context.Background(), input(3)); res.Late != 2 {
		t.Errorf("got %+v", res)
	}
}

func TestThrottlingThenRecovery(t *testing.T) {
	e := ingesttest.NewEndpoint(t)
	var n atomic.Int32
	e.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply {
		if n.Add(1) <= 2 {
			return ingesttest.Reply{Class: "ThrottlingException", Status: 429}
		}
		return ingesttest.Reply{}
	})
	s := newSender(config(), e.Writer())
	if res := s.Write(context.Background(), input(3)); res.Failure != nil || n.Load() != 3 || len(e.Stored()) != 3 {
		t.Errorf("got %+v after %d attempts", res, n.Load())
	}
	if got := testutil.ToFloat64(s.retries); got != 2 {
		t.Errorf("%v retries counted", got)
	}
}

// An attempt that hangs is given up and made again; the request's own deadline ends all of it.
func TestTimeouts(t *testing.T) {
	cfg := config()
	cfg.AttemptTimeout = 50 * time.Millisecond
	attempts := 0
	res := newSender(cfg, nil).Sender.Write(context.Background(), 1, func(ctx context.Context) (*timestreamwrite.WriteRecordsOutput, error) {
		if attempts++; attempts == 1 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return &timestreamwrite.WriteRecordsOutput{}, nil
	})
	if res.Failure != nil || attempts != 2 {
		t.Errorf("got %+v after %d attempts", res, attempts)
	}

	e := ingesttest.NewEndpoint(t)
	e.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply { return ingesttest.Reply{Hang: true} })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	cfg.AttemptTimeout = time.Hour
	if res = newSender(cfg, e.Writer()).Write(ctx, input(1)); res.Failure == nil || res.Failure.Cause != Interrupted {
		t.Errorf("got %+v", res)
	}
}

// A repetition that could not begin before the deadline is not waited for.
func TestNoPauseBeyondTheDeadline(t *testing.T) {
	e := ingesttest.NewEndpoint(t)
	e.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply {
		return ingesttest.Reply{Class: "ThrottlingException", Status: 429}
	})
	cfg := config()
	cfg.MinBackoff, cfg.MaxBackoff = 3*time.Hour, 3*time.Hour
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if res := newSender(cfg, e.Writer()).Write(ctx, input(1)); res.Failure == nil || res.Failure.Cause != Throttled {
		t.Errorf("got %+v", res)
	}
}

func TestUnreachable(t *testing.T) {
	res := newSender(config(), ingesttest.Writer(t, "http://127.0.0.1:1")).Write(context.Background(), input(1))
	if res.Failure == nil || res.Failure.Cause != Unavailable || !strings.Contains(res.Failure.Text, "cannot be reached") {
		t.Errorf("got %+v", res)
	}
}

// Without credentials nothing is sent, and nothing is gained by trying again at once.
func TestNoCredentials(t *testing.T) {
	for _, v := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(v, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	e := ingesttest.NewEndpoint(t)
	cfg := ingesttest.Config(e.URL)
	cfg.LocalCredentials = false
	w, err := client.NewWrite(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	res := newSender(config(), w).Write(context.Background(), input(1))
	if res.Failure == nil || res.Failure.Cause != Credentials || len(e.Calls()) != 0 {
		t.Errorf("got %+v after %d calls", res, len(e.Calls()))
	}
}

// The bound holds, and a caller who goes away stops waiting for a slot.
func TestMaxInFlight(t *testing.T) {
	e := ingesttest.NewEndpoint(t)
	var now, most atomic.Int32
	e.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(time.Millisecond)
		return ingesttest.Reply{}
	})
	cfg := config()
	cfg.MaxInFlight = 2
	s := newSender(cfg, e.Writer())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if res := s.Write(context.Background(), input(1)); res.Failure != nil {
				t.Errorf("got %+v", res)
			}
		})
	}
	wg.Wait()
	if most.Load() > 2 {
		t.Errorf("%d calls at a time", most.Load())
	}
	s.slots <- struct{}{}
	s.slots <- struct{}{}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if res := s.Write(ctx, input(1)); res.Failure == nil || res.Failure.Cause != Interrupted {
		t.Errorf("got %+v", res)
	}
}

func TestReason(t *testing.T) {
	for text, want := range map[string]ledger.Reason{
		ingesttest.Conflict: ledger.Conflict,
		"The record version 2 is lower than the existing version 200. A higher version is required to update the measure value.":                ledger.Conflict,
		"The record timestamp is outside the time range [2023-02-13T19:22:45.051Z, 2023-02-20T20:02:45.051Z) of the memory store.":              ledger.OutOfWindow,
		"The record timestamp is outside the time range [2023-11-23T06:45:39.648Z, 2023-11-28T19:25:39.648Z) of the data ingestion window.":     ledger.OutOfWindow,
		"The measure name 'x' already has the type MULTI in the table.":                                                                         ledger.TypeConflict,
		"The dimension 'x' exceeds the limit of 2048 bytes for a dimension name and value pair.":                                                ledger.LimitExceeded,
		"The table has reached the maximum of 128 dimensions.":                                                                                  ledger.LimitExceeded,
		"1 validation error detected: Value '...' at 'records' failed to satisfy constraint: Member must have length less than or equal to 100": ledger.LimitExceeded,
		"Invalid time for record.":                                       ledger.Refused,
		"At least one dimension is required for a record.":               ledger.Refused,
		"Dimensions must have unique names: 'x' appears more than once.": ledger.Refused,
		"": ledger.Refused,
	} {
		if got := Reason(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
