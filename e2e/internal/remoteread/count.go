// SPDX-License-Identifier: Apache-2.0

package remoteread

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"io"
	"net/http"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/protobuf/encoding/protowire"
)

// Counter reads and counts: it looks at how an answer is put together and not at its samples, so that a benchmark measures the
// other side. It is not safe for concurrent use.
type Counter struct {
	Client *http.Client
	URL    string

	seed         maphash.Seed
	body, buffer []byte
	in           bufio.Reader
}

// NewCounter returns a counter of reads from a URL.
func NewCounter(client *http.Client, url string) *Counter {
	return &Counter{Client: client, URL: url, seed: maphash.MakeSeed()}
}

// Count is what an answer held.
type Count struct {
	// Series counts runs of entries with equal labels, Entries the entries: a series may take several.
	Series, Entries int
	Samples, Bytes  int64
	// First is the time until the first frame was there, or the whole answer when it is not in chunks; Last until the last was.
	First, Last time.Duration
}

// Read sends one query and counts the answer, in chunks or in samples.
func (c *Counter) Read(ctx context.Context, query *prompb.Query, kind prompb.ReadRequest_ResponseType) (n Count, err error) {
	request, err := (&prompb.ReadRequest{Queries: []*prompb.Query{query}, AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{kind}}).Marshal()
	if err != nil {
		return n, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(snappy.Encode(nil, request)))
	if err != nil {
		return n, err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Read-Version", "0.1.0")
	start := time.Now()
	res, err := c.Client.Do(req)
	if err != nil {
		return n, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return n, fmt.Errorf("%s: %s: %s", c.URL, res.Status, text)
	}
	if kind == prompb.ReadRequest_STREAMED_XOR_CHUNKS {
		err = c.chunks(res.Body, start, &n)
	} else {
		err = c.samples(res.Body, start, &n)
	}
	return n, err
}

// maxFrame is how large a frame may be.
const maxFrame = 64 << 20

// chunks counts frames: the length of a message, its CRC-32 by Castagnoli's polynomial, the message.
func (c *Counter) chunks(body io.Reader, start time.Time, n *Count) error {
	table := crc32.MakeTable(crc32.Castagnoli)
	c.in.Reset(body)
	var last uint64
	for {
		size, err := binary.ReadUvarint(&c.in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if size > maxFrame {
			return fmt.Errorf("a frame of %d bytes", size)
		}
		if int(size)+4 > cap(c.buffer) {
			c.buffer = make([]byte, size+4)
		}
		frame := c.buffer[:size+4]
		if _, err := io.ReadFull(&c.in, frame); err != nil {
			return err
		}
		if sum := crc32.Checksum(frame[4:], table); sum != binary.BigEndian.Uint32(frame) {
			return errors.New("a frame with a wrong checksum")
		}
		n.Last = time.Since(start)
		if n.First == 0 {
			n.First = n.Last
		}
		n.Bytes += int64(size)
		if err := c.message(frame[4:], chunkSamples, &last, n); err != nil {
			return err
		}
	}
}

// samples counts a message that comes as one block of snappy.
func (c *Counter) samples(body io.Reader, start time.Time, n *Count) error {
	b := bytes.NewBuffer(c.body[:0])
	_, err := b.ReadFrom(body)
	c.body = b.Bytes()
	if err != nil {
		return err
	}
	n.Last = time.Since(start)
	n.First, n.Bytes = n.Last, int64(len(c.body))
	plain, err := snappy.Decode(c.buffer[:cap(c.buffer)], c.body)
	if err != nil {
		return err
	}
	c.buffer = plain
	return each(plain, 1, func(result []byte) error {
		var last uint64
		return c.message(result, func([]byte) (int64, error) { return 1, nil }, &last, n)
	})
}

// message counts the entries of a message: field 1 of it, whose field 1 are labels and field 2 chunks or samples.
func (c *Counter) message(b []byte, samples func([]byte) (int64, error), last *uint64, n *Count) error {
	return each(b, 1, func(entry []byte) error {
		var h maphash.Hash
		h.SetSeed(c.seed)
		err := each(entry, 1, func(label []byte) error { _, err := h.Write(label); return err })
		if err != nil {
			return err
		}
		n.Entries++
		if sum := h.Sum64(); n.Entries == 1 || sum != *last {
			n.Series++
			*last = sum
		}
		return each(entry, 2, func(x []byte) error {
			k, err := samples(x)
			n.Samples += k
			return err
		})
	})
}

// chunkSamples reads how many samples a chunk has: the first two bytes of its data, field 4.
func chunkSamples(chunk []byte) (n int64, err error) {
	err = each(chunk, 4, func(data []byte) error {
		if len(data) < 2 {
			return errors.New("a chunk without a header")
		}
		n = int64(binary.BigEndian.Uint16(data))
		return nil
	})
	return n, err
}

// each calls f for each field of bytes that has the number.
func each(b []byte, number protowire.Number, f func([]byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if num != number || typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return protowire.ParseError(n)
			}
			b = b[n:]
			continue
		}
		x, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := f(x); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
