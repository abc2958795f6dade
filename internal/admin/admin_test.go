// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPaths(t *testing.T) {
	mux := http.NewServeMux()
	Register(mux, "/m", NewRegistry(), func(role string) error {
		if role == "foo" {
			return fmt.Errorf("%w: %q", ErrUnknownRole, role)
		}
		if role == "query" {
			return errors.New("no query replica answers")
		}
		return nil
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for _, c := range []struct {
		path string
		code int
		want string
	}{
		{"/m", 200, "go_goroutines"},
		{"/-/healthy", 200, "Healthy"},
		{"/-/ready", 200, "Ready"},
		{"/-/ready?role=query", 503, "no query replica answers"},
		{"/-/ready?role=foo", 400, "no such role"},
		{"/debug/pprof/cmdline", 200, ""},
	} {
		res, err := http.Get(srv.URL + c.path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != c.code || !strings.Contains(string(body), c.want) {
			t.Errorf("%s: got %d %.80q", c.path, res.StatusCode, body)
		}
	}
}
