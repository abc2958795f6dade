// SPDX-License-Identifier: Apache-2.0

package query

import (
	"fmt"

	"google.golang.org/grpc"

	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"

	"github.com/tributary-project/tributary/services/query/internal/series"
	"github.com/tributary-project/tributary/services/query/internal/wire"
)

// seriesWriter sends pieces of series in one of the forms of a read.
type seriesWriter interface {
	write(series.Series) error
	// finish sends what is left.
	finish() error
}

// readStream takes the messages of a read. A message is handed over: a connection inside the process may pass it on as it
// is, so its memory is not used again.
type readStream = grpc.ServerStreamingServer[queryv1.ReadResponse]

// sampleWriter sends each series whole: its reader gives a series one place in its answer.
type sampleWriter struct {
	stream readStream
	// maxBytes bounds one series. All reads together hold no more than --query.max-result-bytes that way.
	maxBytes int
	cfg      *Config

	buf []byte // the series so far; nil between series
}

func (w *sampleWriter) write(s series.Series) error {
	if !s.Continued {
		if err := w.finish(); err != nil {
			return err
		}
		w.buf = wire.AppendLabels(nil, s.Labels)
	}
	w.buf = wire.AppendSamples(w.buf, s)
	if len(w.buf) > w.maxBytes {
		return &series.Error{Kind: series.TooLarge, Text: fmt.Sprintf(
			"series %s takes more than %d bytes as samples, which is the part of one read in --query.max-result-bytes=%s (divided by --%s=%d); ask for a shorter range, or for chunks",
			s.Labels, w.maxBytes, w.cfg.MaxResultBytes.String(), maxConcurrentFlag, w.cfg.MaxConcurrent)}
	}
	return nil
}

func (w *sampleWriter) finish() error {
	if w.buf == nil {
		return nil
	}
	buf := w.buf
	w.buf = nil
	return w.stream.Send(&queryv1.ReadResponse{Message: &queryv1.ReadResponse_TimeSeries{TimeSeries: buf}})
}

const (
	// sendBytes is how long the frames of a message are, unless one frame is longer: a message costs some microseconds in
	// each process that it passes, which is nothing to the 50,000 samples that these are.
	sendBytes = 64 << 10
	// sendFrames sends earlier what has few samples a series, for the sake of who waits for the first of them.
	sendFrames = 256
)

// chunkWriter sends frames of chunks, some in a message.
type chunkWriter struct {
	stream  readStream
	encoder *wire.ChunkEncoder
}

func (w *chunkWriter) write(s series.Series) error {
	if err := w.encoder.Add(s); err != nil {
		return &series.Error{Kind: series.Internal, Text: "a stored histogram is damaged", Err: err}
	}
	if frames, bytes := w.encoder.Ready(); bytes >= sendBytes || frames >= sendFrames {
		return w.send()
	}
	return nil
}

func (w *chunkWriter) finish() error {
	w.encoder.Finish()
	if frames, _ := w.encoder.Ready(); frames > 0 {
		return w.send()
	}
	return nil
}

func (w *chunkWriter) send() error {
	return w.stream.Send(&queryv1.ReadResponse{Message: &queryv1.ReadResponse_Frames{Frames: &queryv1.ReadFrames{Frames: w.encoder.Take()}}})
}
