// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

// RecordsWriter is a Writer that can also send a WriteRecords request whose body is ready. The SDK's own stack of
// steps costs several times what the request itself does, so it is asked only for what it alone knows: once a minute it builds a
// request that is not sent, from which address, region and headers are taken, endpoint discovery included; an answer that
// is not a success is handed to it to be made an error. Signer, credentials and connections are the SDK's at every call.
type RecordsWriter struct {
	*Writer
	signer *v4.Signer
	now    func() time.Time

	making   chan struct{} // holds one token: the right to make a template
	template atomic.Pointer[template]
}

// NewRecordsWriter returns a writer that begins with c.
func NewRecordsWriter(c *timestreamwrite.Client, now func() time.Time) *RecordsWriter {
	return &RecordsWriter{Writer: NewWriter(c), signer: v4.NewSigner(), now: now, making: make(chan struct{}, 1)}
}

// templateAge is how long a template is used. Making one is as dear as one call through the SDK; what it holds changes when
// the SDK's discovered endpoint runs out.
const templateAge = time.Minute

// template is what requests have in common.
type template struct {
	client          *timestreamwrite.Client
	http            aws.HTTPClient
	credentials     aws.CredentialsProvider // nil: requests are not signed
	url             *url.URL
	host            string
	header          http.Header
	service, region string
	date            string // of the SDK's signature
	made            time.Time
	// skew is how far the service's clock is ahead of ours, as far as the SDK has learned from its answers.
	skew time.Duration
}

// WriteRecordsBody sends a WriteRecords request. body is its JSON document; it must not change before release is
// called, which happens at most once, possibly after WriteRecordsBody has returned; it is not called when nobody can tell
// whether the body is still being read. Errors are those of the SDK's client. Nothing is retried.
func (w *RecordsWriter) WriteRecordsBody(ctx context.Context, body []byte, release func()) (*timestreamwrite.WriteRecordsOutput, error) {
	sent := &lease{release: release}
	sent.enter()
	defer sent.leave()
	t, err := w.current(ctx)
	if err != nil {
		return nil, err
	}
	address := *t.url // the signer writes to it
	req := (&http.Request{
		Method: http.MethodPost, URL: &address, Host: t.host, Header: t.header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: int64(len(body)),
		// What the transport knows to be in memory it sends in one piece with the headers.
		Body: io.NopCloser(bytes.NewReader(body)),
		GetBody: func() (io.ReadCloser, error) {
			sent.enter()
			return io.NopCloser(bytes.NewReader(body)), nil
		},
	}).WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { sent.leave() },
	}))
	if t.credentials != nil {
		key, err := t.credentials.Retrieve(ctx)
		if err != nil {
			return nil, fmt.Errorf("get identity: get credentials: %w", err)
		}
		hash := sha256.Sum256(body)
		if err := w.signer.SignHTTP(ctx, key, req, hex.EncodeToString(hash[:]), t.service, t.region, w.now().Add(t.skew)); err != nil {
			return nil, fmt.Errorf("sign the request: %w", err)
		}
	}
	// Not sent: it tells the transport that a request may be sent again when its connection, which had been idle, breaks
	// before any answer. A record that is written twice is stored once.
	req.Header["Idempotency-Key"] = nil
	sent.enter()
	res, err := t.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() {
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)) // so that the connection can be used again
		_ = res.Body.Close()
	}()
	if res.StatusCode != http.StatusOK {
		return nil, w.refused(ctx, t, res)
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer of WriteRecords: %w", err)
	}
	var out struct {
		RecordsIngested *types.RecordsIngested
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return nil, fmt.Errorf("the answer of WriteRecords: %w", err)
	}
	return &timestreamwrite.WriteRecordsOutput{RecordsIngested: out.RecordsIngested}, nil
}

// maxAnswer bounds an answer: a refusal of 100 records takes some 30 KiB.
const maxAnswer = 1 << 20

// current returns a template that is not too old.
func (w *RecordsWriter) current(ctx context.Context) (*template, error) {
	c := w.client.Load()
	valid := func(t *template) bool { return t != nil && t.client == c && w.now().Sub(t.made) < templateAge }
	if t := w.template.Load(); valid(t) {
		return t, nil
	}
	select {
	case w.making <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-w.making }()
	t := w.template.Load()
	if valid(t) {
		return t, nil
	}
	made, err := newTemplate(ctx, c)
	if err != nil {
		return nil, err
	}
	made.made = w.now()
	// The SDK corrects its clock by the dates of answers that refuse a signature for its time.
	if signed, err := time.Parse(signedAt, made.date); err == nil {
		if skew := signed.Sub(made.made); skew > minSkew || skew < -minSkew {
			made.skew = skew
		}
	}
	w.template.Store(made)
	return made, nil
}

const (
	// signedAt is the form of X-Amz-Date.
	signedAt = "20060102T150405Z"
	// minSkew is more than a request takes to be built: what is less is no skew. Services accept five minutes.
	minSkew = time.Minute
)

// sample is a request that passes the SDK's validation.
func sample() *timestreamwrite.WriteRecordsInput {
	return &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("x"), TableName: aws.String("x"), Records: []types.Record{}}
}

// newTemplate lets the SDK build a request.
func newTemplate(ctx context.Context, c *timestreamwrite.Client) (*template, error) {
	seen := &capture{}
	_, err := c.WriteRecords(ctx, sample(), func(o *timestreamwrite.Options) {
		seen.next = o.HTTPClient
		o.HTTPClient = seen
	})
	if err != nil {
		return nil, err
	}
	if seen.request == nil {
		return nil, errors.New("the SDK made no WriteRecords request")
	}
	options := c.Options()
	t := &template{client: c, http: options.HTTPClient, url: seen.request.URL, host: seen.request.Host, header: seen.request.Header.Clone()}
	if plain, ok := t.http.(plainBody); ok {
		t.http = plain.next // its care is for the SDK's bodies
	}
	if authorization := t.header.Get("Authorization"); authorization != "" {
		var ok bool
		if t.region, t.service, ok = scope(authorization); !ok {
			return nil, errors.New("the SDK signed the request in a way that is not known here")
		}
		t.credentials, t.date = options.Credentials, t.header.Get("X-Amz-Date")
	}
	for _, name := range []string{
		"Authorization", "X-Amz-Date", "X-Amz-Security-Token", // the signer's
		"Content-Length", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request", // that request's own
	} {
		t.header.Del(name)
	}
	return t, nil
}

// scope reads region and service from "AWS4-HMAC-SHA256 Credential=key/date/region/service/aws4_request, …".
func scope(authorization string) (region, service string, ok bool) {
	credential, _, _ := strings.Cut(authorization, ",")
	parts := strings.Split(credential, "/")
	n := len(parts)
	if n < 5 || !strings.HasPrefix(credential, "AWS4-HMAC-SHA256 Credential=") {
		return "", "", false
	}
	return parts[n-3], parts[n-2], true
}

// capture keeps a WriteRecords request instead of sending it; others, such as that for endpoints, go through.
type capture struct {
	next    aws.HTTPClient
	request *http.Request
}

// Do implements aws.HTTPClient.
func (c *capture) Do(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".WriteRecords") {
		return c.next.Do(r)
	}
	c.request = r
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
}

// refused makes the SDK's error of an answer, and acts on it as Writer does.
func (w *RecordsWriter) refused(ctx context.Context, t *template, res *http.Response) error {
	if res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusUnauthorized {
		// Perhaps for the time of the signature, from which the SDK learns.
		w.template.CompareAndSwap(t, nil)
	}
	bounded := *res
	bounded.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(res.Body, maxAnswer), res.Body}
	_, err := t.client.WriteRecords(ctx, sample(), func(o *timestreamwrite.Options) {
		o.HTTPClient = replay{&bounded}
		o.Credentials = credentials.NewStaticCredentialsProvider("nothing", "is sent", "")
		o.BaseEndpoint = aws.String(t.url.Scheme + "://" + t.url.Host)
		o.EndpointDiscovery.EnableEndpointDiscovery = aws.EndpointDiscoveryDisabled
	})
	if err == nil {
		return fmt.Errorf("WriteRecords was answered with status %d", res.StatusCode)
	}
	w.rediscover(t.client, err)
	return err
}

// replay answers with what has come already.
type replay struct{ response *http.Response }

// Do implements aws.HTTPClient.
func (r replay) Do(req *http.Request) (*http.Response, error) {
	r.response.Request = req
	return r.response, nil
}

// lease counts who may still read a body: the call, and the transport until it says that it has written the request, which
// may be after the call, when the answer came early or the context ended.
type lease struct {
	users   atomic.Int32
	release func()
}

func (l *lease) enter() { l.users.Add(1) }

func (l *lease) leave() {
	if l.users.Add(-1) == 0 {
		l.release()
	}
}
