// SPDX-License-Identifier: Apache-2.0

package logging

import (
	"bytes"
	"strings"
	"testing"
)

func TestNew(t *testing.T) {
	for _, c := range []struct {
		name string
		give Config
		want string
		lack string
	}{
		{"logfmt", Config{"info", "logfmt", true}, "level=INFO msg=hello", "quiet"},
		{"json", Config{"info", "json", true}, `"msg":"hello"`, "quiet"},
		{"debug", Config{"debug", "logfmt", true}, "msg=quiet", "nothing"},
		{"disabled", Config{"debug", "logfmt", false}, "", "hello"},
	} {
		var out bytes.Buffer
		if err := c.give.Validate(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		l := New(c.give, &out)
		l.Debug("quiet")
		l.Info("hello")
		if !strings.Contains(out.String(), c.want) || strings.Contains(out.String(), c.lack) {
			t.Errorf("%s: got %q", c.name, out.String())
		}
	}
}

func TestValidateNamesTheFlag(t *testing.T) {
	for give, want := range map[Config]string{
		{"loud", "logfmt", true}: "--log.level",
		{"info", "xml", true}:    "--log.format",
	} {
		if err := give.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want text %q", give, err, want)
		}
	}
}
