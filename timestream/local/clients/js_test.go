// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// javaScript is the AWS SDK for JavaScript v3 in a process of its own (testdata/js/client.mjs).
type javaScript struct {
	in  io.Writer
	out *bufio.Scanner
}

type jsAnswer struct {
	Output object
	Pages  []object
	Error  *struct {
		Name, Message string
		Members       object
		Status        int
	}
}

func (j javaScript) call(_ context.Context, service, operation string, input object) (object, error) {
	a, err := j.ask(object{"service": service, "operation": operation, "input": input})
	return a.Output, err
}

func (j javaScript) pages(_ context.Context, statement string, rows int) ([]object, error) {
	a, err := j.ask(object{"statement": statement, "rows": rows})
	return a.Pages, err
}

func (j javaScript) ask(what object) (a jsAnswer, err error) {
	if err := json.NewEncoder(j.in).Encode(what); err != nil {
		return a, err
	}
	if !j.out.Scan() {
		return a, fmt.Errorf("node ended: %w", j.out.Err())
	}
	if err := json.Unmarshal(j.out.Bytes(), &a); err != nil {
		return a, fmt.Errorf("%w: %s", err, j.out.Bytes())
	}
	switch e := a.Error; {
	case e == nil:
		return a, nil
	case e.Status == 0:
		return a, fmt.Errorf("%s: %s", e.Name, e.Message)
	default:
		return a, &apiError{e.Name, e.Message, e.Members}
	}
}

// startNode starts the SDK with the environment of all clients and more.
func startNode(t *testing.T, more map[string]string, args ...string) javaScript {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "node is not installed")
	}
	dir := filepath.Join("testdata", "js")
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		missing(t, "the AWS SDK for JavaScript is not installed: make js-clients")
	}
	cmd := exec.Command(node, append([]string{"client.mjs"}, args...)...)
	cmd.Dir, cmd.Env = dir, environ(sharedEnv(t.TempDir()), more)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v: %s", err, &stderr)
		}
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 4<<20)
	return javaScript{in, lines}
}

// environ is the environment of a client's process: settings, later ones before earlier ones, and where programs are.
func environ(settings ...map[string]string) []string {
	env := []string{"PATH=" + os.Getenv("PATH")}
	for _, m := range settings {
		for k, v := range m {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// The argument turns discovery off in this SDK; with the variables it asks for endpoints, and takes the address for a host
// without a port.
func TestJavaScriptSDK(t *testing.T) {
	s := serve(t)
	for name, way := range map[string]struct {
		args      []string
		env       map[string]string
		discovers bool
	}{
		"endpoint":                    {args: []string{s.URL}},
		"AWS_ENDPOINT_URL":            {env: map[string]string{"AWS_ENDPOINT_URL": s.URL}, discovers: true},
		"AWS_ENDPOINT_URL_TIMESTREAM": {env: map[string]string{"AWS_ENDPOINT_URL_TIMESTREAM_WRITE": s.URL, "AWS_ENDPOINT_URL_TIMESTREAM_QUERY": s.URL}, discovers: true},
		"endpoint, discovery off":     {args: []string{s.URL}, env: map[string]string{"AWS_ENABLE_ENDPOINT_DISCOVERY": "false"}},
		"endpoint, discovery on":      {args: []string{s.URL}, env: map[string]string{"AWS_ENABLE_ENDPOINT_DISCOVERY": "true"}},
	} {
		t.Run(name, func(t *testing.T) {
			database := "js-" + strings.NewReplacer(",", "", " ", "-").Replace(name)
			if discovers := walk(t, s, startNode(t, way.env, way.args...), database); discovers != way.discovers {
				t.Errorf("asked for endpoints: %v", discovers)
			}
		})
	}
	t.Run("AWS_ENDPOINT_URL, discovery off", func(t *testing.T) {
		node := startNode(t, map[string]string{"AWS_ENDPOINT_URL": s.URL, "AWS_ENABLE_ENDPOINT_DISCOVERY": "false"})
		// The SDK does not ask anybody: the variables need discovery.
		if _, err := node.call(t.Context(), query, "Query", object{"QueryString": "SELECT 1"}); err == nil || !strings.Contains(err.Error(), "Endpoint Discovery is disabled") {
			t.Errorf("got %v", err)
		}
	})
}
