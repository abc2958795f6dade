// SPDX-License-Identifier: Apache-2.0

package flags

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
)

// Bytes is a number of bytes that reads and prints with a binary unit: 32MiB, 64KiB, 100B, 1024.
type Bytes int64

var _ flag.Value = (*Bytes)(nil)

var units = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// Set implements flag.Value.
func (b *Bytes) Set(s string) error {
	factor := int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			s, factor = rest, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/factor {
		return fmt.Errorf("want a size such as 32MiB, 64KiB or 1024")
	}
	*b = Bytes(n * factor)
	return nil
}

// String implements flag.Value.
func (b *Bytes) String() string {
	if b == nil {
		return "0B"
	}
	for _, u := range units {
		if int64(*b)%u.bytes == 0 && int64(*b) >= u.bytes {
			return strconv.FormatInt(int64(*b)/u.bytes, 10) + u.name
		}
	}
	return "0B"
}
