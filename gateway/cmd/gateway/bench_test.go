// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-project/tributary/internal/grpcserver"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

// discard is an ingest service that only says yes.
type discard struct {
	ingestv1.UnimplementedIngestServiceServer
}

func (discard) Write(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
	return &ingestv1.WriteResponse{Ledger: &ingestv1.Ledger{Samples: &ingestv1.Counts{Received: 2000, Stored: 2000}}}, nil
}

// BenchmarkProcess measures the processor time that a gateway process of its own takes for a write: over plain HTTP and
// plain gRPC on loopback, requests of 92 KB, which is what 2,000 samples of 10,000 series with 8 to 14 labels make in
// remote write 2.0. The mark is 250 µs of gateway-cpu-µs/op.
func BenchmarkProcess(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "gateway")
	build := exec.CommandContext(b.Context(), "go", "build", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	for _, senders := range []int{1, 4, 16} {
		b.Run("senders="+strconv.Itoa(senders), func(b *testing.B) { benchmarkProcess(b, binary, senders) })
	}
}

func benchmarkProcess(b *testing.B, binary string, senders int) {
	ctx, cancel := context.WithCancel(b.Context())
	server, err := grpcserver.New(grpcserver.DefaultConfig("127.0.0.1:0"), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	ingestv1.RegisterIngestServiceServer(server.GRPC, discard{})
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ctx) })
	defer serving.Wait()
	defer cancel()

	address := freeAddress(b)
	gateway := exec.Command(binary, "--web.listen-address="+address, "--grpc.listen-address=127.0.0.1:0", "--ingest.address="+server.Addr().String(), //nolint:noctx // it is asked to end below
		"--query.address=127.0.0.1:1")
	if err := gateway.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = gateway.Process.Signal(syscall.SIGTERM)
		_ = gateway.Wait()
	}()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: senders}}
	defer client.CloseIdleConnections()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if res, err := client.Get("http://" + address + "/-/ready?role=ingest"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			b.Fatal("the gateway does not become ready")
		}
	}

	body := payload()
	write := func(n int64) {
		var left atomic.Int64
		left.Store(n)
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					if err := post(client, "http://"+address+"/api/v1/write", body); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	write(int64(20 * senders))
	before := cpuSeconds(b, client, address)
	b.SetBytes(int64(len(body)))
	b.ResetTimer()
	write(int64(b.N))
	b.StopTimer()
	b.ReportMetric((cpuSeconds(b, client, address)-before)*1e6/float64(b.N), "gateway-cpu-µs/op")
}

func freeAddress(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// payload is a body that only its header makes a snappy block: nobody decompresses it here.
func payload() []byte {
	body := make([]byte, 92_000)
	rnd := rand.NewChaCha8([32]byte{})
	_, _ = rnd.Read(body)
	binary.PutUvarint(body, 250_000)
	return body
}

func post(client *http.Client, url string, body []byte) error {
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
	req.Header.Set("Content-Encoding", "snappy")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusNoContent {
		return errors.New(res.Status)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// cpuSeconds is what the gateway says about itself.
func cpuSeconds(b *testing.B, client *http.Client, address string) float64 {
	b.Helper()
	res, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	for s := bufio.NewScanner(res.Body); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "process_cpu_seconds_total "); ok {
			out, err := strconv.ParseFloat(v, 64)
			if err != nil {
				b.Fatal(err)
			}
			return out
		}
	}
	b.Fatal("no process_cpu_seconds_total")
	return 0
}
