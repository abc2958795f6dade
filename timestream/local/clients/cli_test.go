// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// awsCLI is the AWS CLI, a process for each call.
type awsCLI struct {
	bin      string
	env      []string
	endpoint string // for --endpoint-url, when it is not empty
}

var (
	cliError = regexp.MustCompile(`(?m)^An error occurred \((\w+)\) when calling the \w+ operation(?: \(reached max retries: \d+\))?: (.*)$`)
	// The CLI shows the members of an error to those who debug: the body of the answer, as Python writes bytes.
	cliBody    = regexp.MustCompile(`(?m)^b'(\{.*"__type".*\})'$`)
	upper      = regexp.MustCompile(`([a-z])([A-Z])`)
	cliVersion = regexp.MustCompile(`^aws-cli/(\d+)\.(\d+)\.`)
)

func (c awsCLI) call(ctx context.Context, service, operation string, input object) (object, error) {
	in, err := json.Marshal(input)
	if err != nil {
		return nil, err
	}
	args := []string{service, strings.ToLower(upper.ReplaceAllString(operation, "$1-$2")), "--cli-input-json", string(in)}
	if operation == "WriteRecords" {
		args = append(args, "--debug")
	}
	if operation == "Query" {
		args = append(args, "--no-paginate")
	}
	return c.run(ctx, args...)
}

func (c awsCLI) pages(ctx context.Context, statement string, rows int) ([]object, error) {
	out, err := c.run(ctx, query, "query", "--query-string", statement, "--page-size", strconv.Itoa(rows))
	return []object{out}, err // it puts the pages together
}

func (c awsCLI) run(ctx context.Context, args ...string) (object, error) {
	if c.endpoint != "" {
		args = append(args, "--endpoint-url", c.endpoint)
	}
	cmd := exec.CommandContext(ctx, c.bin, args...)
	cmd.Env = c.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		m := cliError.FindSubmatch(stderr.Bytes())
		if m == nil {
			return nil, fmt.Errorf("aws %v: %w: %s", args, err, stderr.Bytes())
		}
		e := &apiError{Code: string(m[1]), Message: string(m[2])}
		if body := cliBody.FindSubmatch(stderr.Bytes()); body != nil {
			text := strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(string(body[1]))
			if err := json.Unmarshal([]byte(text), &e.Members); err != nil {
				return nil, fmt.Errorf("%w: %s", err, text)
			}
		}
		return nil, e
	}
	var out object
	if stdout.Len() == 0 {
		return out, nil
	}
	return out, json.Unmarshal(stdout.Bytes(), &out)
}

// clis finds the AWS CLIs of the machine, by version.
func clis(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/bin") {
		bin := filepath.Join(dir, "aws")
		out, err := exec.Command(bin, "--version").Output()
		if version := string(cliVersion.Find(out)); err == nil && version != "" {
			version, _, _ = strings.Cut(string(out), " ")
			if found[version] == "" {
				found[version] = bin
			}
		}
	}
	if len(found) == 0 {
		missing(t, "the AWS CLI is not installed (Debian: apt-get install awscli)")
	}
	return found
}

// knowsVariables tells whether a version of the CLI knows AWS_ENDPOINT_URL: 2.13 and 1.29 were the first, and Debian 12 has 2.9.
func knowsVariables(t *testing.T, version string) bool {
	t.Helper()
	m := cliVersion.FindStringSubmatch(version)
	major, err1 := strconv.Atoi(m[1])
	minor, err2 := strconv.Atoi(m[2])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return major > 2 || major == 2 && minor >= 13 || major == 1 && minor >= 29
}

// The argument skips endpoint discovery, the variables do not. Where they are not known, an alias gives the argument.
func TestCLI(t *testing.T) {
	for version, bin := range clis(t) {
		name := strings.NewReplacer("/", "-", ".", "-").Replace(version)
		client := func(t *testing.T, endpoint string, more map[string]string) awsCLI {
			t.Helper()
			env := sharedEnv(t.TempDir())
			maps.Copy(env, more)
			return awsCLI{bin: bin, env: environ(env), endpoint: endpoint}
		}
		t.Run(version+"/argument", func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			if walk(t, s, client(t, s.URL, nil), name) {
				t.Error("asked for endpoints")
			}
		})
		if knowsVariables(t, version) {
			t.Run(version+"/variable", func(t *testing.T) {
				t.Parallel()
				s := serve(t)
				if !walk(t, s, client(t, "", map[string]string{"AWS_ENDPOINT_URL": s.URL}), name) {
					t.Error("did not ask for endpoints")
				}
			})
			t.Run(version+"/services", func(t *testing.T) {
				t.Parallel()
				s := serve(t)
				file := filepath.Join(t.TempDir(), "services")
				if err := os.WriteFile(file, []byte(services(s.URL)), 0o600); err != nil {
					t.Fatal(err)
				}
				c := client(t, "", map[string]string{"AWS_CONFIG_FILE": file})
				out, err := c.call(t.Context(), query, "Query", object{"QueryString": "SELECT 1"})
				if err != nil || strings.Join(rows(out), "") != "1" {
					t.Errorf("got %v, %v", out, err)
				}
			})
			continue
		}
		t.Run(version+"/variable", func(t *testing.T) {
			t.Parallel()
			// It goes to AWS, which a proxy shows without anybody going there.
			proxy, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			asked := make(chan string, 1)
			go func() {
				defer close(asked)
				conn, err := proxy.Accept()
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				line, _ := bufio.NewReader(conn).ReadString('\n')
				asked <- line
			}()
			c := client(t, "", map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "HTTPS_PROXY": "http://" + proxy.Addr().String()})
			if out, err := c.call(t.Context(), query, "Query", object{"QueryString": "SELECT 1"}); err == nil {
				t.Errorf("got %v", out)
			}
			_ = proxy.Close()
			if line := <-asked; !strings.HasPrefix(line, "CONNECT query.timestream.us-east-1.amazonaws.com:443 ") {
				t.Errorf("asked for %q", line)
			}
		})
		t.Run(version+"/alias", func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			home := t.TempDir()
			if err := os.MkdirAll(filepath.Join(home, ".aws", "cli"), 0o700); err != nil {
				t.Fatal(err)
			}
			alias := fmt.Sprintf("[toplevel]\n%[1]s = %[1]s --endpoint-url %[3]s\n%[2]s = %[2]s --endpoint-url %[3]s\n", write, query, s.URL)
			if err := os.WriteFile(filepath.Join(home, ".aws", "cli", "alias"), []byte(alias), 0o600); err != nil {
				t.Fatal(err)
			}
			if walk(t, s, client(t, "", map[string]string{"HOME": home}), name) {
				t.Error("asked for endpoints")
			}
		})
	}
}
