// SPDX-License-Identifier: Apache-2.0

package promschema

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/timestream"
)

// maxPieceBytes is how much packed text one dimension holds: its name and value together are at most MaxPairBytes.
var maxPieceBytes = timestream.MaxPairBytes - len(packedNames[0])

// pack returns the labels, sorted by name, as canonical JSON cut into the values of the packed dimensions: an object, no
// white space, `"`, `\` and characters below U+0020 escaped, all else as it is. False when it takes more than
// PackedDimensions pieces. Pieces end between characters, since the API takes only valid UTF-8.
func pack(ls []labels.Label) ([]string, bool) {
	var b strings.Builder
	writeLabels(&b, ls)
	text := b.String()
	var pieces []string
	for len(text) > maxPieceBytes {
		cut := maxPieceBytes
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		pieces, text = append(pieces, text[:cut]), text[cut:]
		if len(pieces) == PackedDimensions {
			return nil, false
		}
	}
	return append(pieces, text), true
}

// writeLabels writes labels, sorted by name, as canonical JSON.
func writeLabels(b *strings.Builder, ls []labels.Label) {
	b.WriteByte('{')
	for i, l := range ls {
		if i > 0 {
			b.WriteByte(',')
		}
		writeJSONString(b, l.Name)
		b.WriteByte(':')
		writeJSONString(b, l.Value)
	}
	b.WriteByte('}')
}

func writeJSONString(b *strings.Builder, s string) {
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20:
			fmt.Fprintf(b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
}

// PackedPair returns the text by which the packed labels hold this label with this value: a search for it in the
// concatenation of the packed dimensions narrows a query. It is never missing there when the label has the value.
func PackedPair(name, value string) string {
	var b strings.Builder
	writeJSONString(&b, name)
	b.WriteByte(':')
	writeJSONString(&b, value)
	return b.String()
}

// PackedName returns the text by which the packed labels hold this label with any value.
func PackedName(name string) string {
	var b strings.Builder
	writeJSONString(&b, name)
	b.WriteString(`:"`)
	return b.String()
}

var errPacked = errors.New("packed labels are damaged")

// unpack appends the labels in the concatenated packed dimensions to dst.
func unpack(dst []labels.Label, text string) ([]labels.Label, error) {
	var m map[string]string
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return dst, fmt.Errorf("%w: %w", errPacked, err)
	}
	for name, value := range m {
		dst = append(dst, labels.Label{Name: name, Value: value})
	}
	return dst, nil
}
