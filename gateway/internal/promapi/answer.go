// SPDX-License-Identifier: Apache-2.0

package promapi

import (
	"io"
	"net/http"
	"strings"

	jsoniter "github.com/json-iterator/go"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"

	"github.com/tributary-project/tributary/internal/fairgate"
)

const (
	// holdBytes is how much of an answer is held back, so that an error on the way still gets its status code.
	holdBytes = 1 << 20
	// flushBytes is from where on pieces are sent once the head is out.
	flushBytes = 64 << 10
	// startBytes is what an answer begins with.
	startBytes = 4 << 10
)

// answer is a JSON answer that is held back until it is whole or too large for that, and then sent as it grows.
//
// JSON is written by the library that Prometheus uses, for texts and numbers have more than one form.
type answer struct {
	json *jsoniter.Stream

	w       http.ResponseWriter
	buffers *fairgate.Ticket
	onBegin func()
	coding  string // of the content; empty for none
	held    int    // bytes taken from buffers

	begun   bool      // the head is out
	body    io.Writer // w, or a compressor before it; nil before begun
	closer  io.Closer // of the compressor
	takeErr error     // of the first write that failed
	list    bool      // an element of the list was written
}

// newAnswer returns an answer for r. onBegin is called before its head is sent.
func newAnswer(w http.ResponseWriter, r *http.Request, buffers *fairgate.Ticket, onBegin func()) *answer {
	return &answer{
		json:    jsoniter.NewStream(jsoniter.ConfigCompatibleWithStandardLibrary, nil, startBytes),
		w:       w,
		buffers: buffers,
		onBegin: onBegin,
		coding:  accepted(r),
	}
}

// accepted returns the first coding of Accept-Encoding that there is; as in Prometheus weights do not count.
func accepted(r *http.Request) string {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		if coding = strings.TrimSpace(coding); coding == "gzip" || coding == "deflate" {
			return coding
		}
	}
	return ""
}

// begin opens an answer that is a success; its data follows.
func (a *answer) begin() { a.json.WriteRaw(`{"status":"success","data":`) }

// end closes it.
func (a *answer) end(warnings, infos []string) {
	a.texts(`,"warnings":`, warnings)
	a.texts(`,"infos":`, infos)
	a.json.WriteRaw(`}`)
}

func (a *answer) texts(name string, texts []string) {
	if len(texts) == 0 {
		return
	}
	a.json.WriteRaw(name)
	a.json.WriteArrayStart()
	for i, t := range texts {
		if i > 0 {
			a.json.WriteMore()
		}
		a.text(t)
	}
	a.json.WriteArrayEnd()
}

// text writes a text as encoding/json does. (Labels are written without the escapes for HTML.)
func (a *answer) text(s string) { a.json.WriteStringWithHTMLEscaped(s) }

// more separates the elements of a list; it is called before each.
func (a *answer) more() {
	if a.list {
		a.json.WriteMore()
	}
	a.list = true
}

// grown is called now and then while the answer grows, at least once for every few KiB. It sends what may be sent.
func (a *answer) grown() error {
	n := a.json.Buffered()
	if n < flushBytes {
		return nil
	}
	if !a.begun && n < holdBytes {
		more := cap(a.json.Buffer()) - a.held
		if more <= 0 {
			return nil
		}
		if a.buffers.Take(int64(more)) == nil {
			a.held += more
			return nil
		}
		// There is no memory to hold it back: it is sent, and an error from here on cuts it off.
	}
	return a.send()
}

// send sends what is there.
func (a *answer) send() error {
	if !a.begun {
		a.start(http.StatusOK)
	}
	_, err := a.body.Write(a.json.Buffer())
	a.json.SetBuffer(a.json.Buffer()[:0])
	if err != nil && a.takeErr == nil {
		a.takeErr = err
	}
	return err
}

// start sends the head.
func (a *answer) start(status int) {
	a.begun = true
	a.onBegin()
	h := a.w.Header()
	h.Set("Content-Type", "application/json")
	a.body = a.w
	switch a.coding {
	case "gzip":
		z := gzip.NewWriter(a.w)
		a.body, a.closer = z, z
	case "deflate":
		z := zlib.NewWriter(a.w)
		a.body, a.closer = z, z
	}
	if a.coding != "" {
		h.Set("Content-Encoding", a.coding)
	}
	a.w.WriteHeader(status)
}

// finish sends the rest.
func (a *answer) finish() error {
	if err := a.send(); err != nil {
		return err
	}
	if a.closer == nil {
		return nil
	}
	if err := a.closer.Close(); err != nil {
		a.takeErr = err
		return err
	}
	return nil
}
