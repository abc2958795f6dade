// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tributary-project/tributary/timestream/local/status"
)

// harness shows the page in a frame of a width and notes what a browser makes of it: what sticks out at the side, and the lowest
// contrast between a text and what is behind it (Web Content Accessibility Guidelines 2.2, relative luminance).
const harness = `<!doctype html><title>harness</title><iframe id="f" src="/" style="width:%dpx;height:1400px;border:0"></iframe><pre id="result"></pre><script>
const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const rgb = s => s.match(/[\d.]+/g).map(Number);
document.getElementById("f").onload = e => {
  const w = e.target.contentWindow, d = w.document, root = d.documentElement;
  let contrast = 99, worst = "";
  for (const el of d.body.querySelectorAll("*")) {
    if (![...el.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    let behind = el;
    while (rgb(w.getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
    const [a, b] = [luminance(rgb(w.getComputedStyle(el).color)), luminance(rgb(w.getComputedStyle(behind).backgroundColor))];
    const c = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (c < contrast) { contrast = c; worst = el.outerHTML.slice(0, 80); }
  }
  document.getElementById("result").textContent = JSON.stringify({
    overflow: root.scrollWidth - root.clientWidth, contrast, worst,
    background: w.getComputedStyle(d.body).backgroundColor, title: d.title, rows: d.querySelectorAll("#tables tbody tr").length,
  });
};
</script>`

// TestBrowser shows the page in a real browser, in both colour schemes, on a wide and on a narrow screen.
func TestBrowser(t *testing.T) {
	bin := browser(t)
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", status.New(options(t, full())))
	mux.HandleFunc("GET /harness/{width}", func(w http.ResponseWriter, r *http.Request) {
		var width int
		_, _ = fmt.Sscan(r.PathValue("width"), &width)
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, harness, width)
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	backgrounds := map[string]string{}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int{1280, 360} {
			t.Run(fmt.Sprintf("%s/%d", scheme, width), func(t *testing.T) {
				var got struct {
					Overflow, Contrast       float64
					Worst, Background, Title string
					Rows                     int
				}
				dom, log := show(t, bin, scheme, "--dump-dom", fmt.Sprintf("%s/harness/%d", srv.URL, width))
				_, text, _ := strings.Cut(dom, `<pre id="result">`)
				text, _, _ = strings.Cut(text, "</pre>")
				if err := json.Unmarshal([]byte(html.UnescapeString(text)), &got); err != nil {
					t.Fatalf("%v: %s\n%s", err, dom, log)
				}
				if got.Title != "timestream-local" || got.Rows != 3 {
					t.Errorf("got %+v", got)
				}
				if got.Overflow > 0 {
					t.Errorf("%v pixels stick out at the side", got.Overflow)
				}
				if got.Contrast < 4.5 {
					t.Errorf("contrast %.2f of %s", got.Contrast, got.Worst)
				}
				if strings.Contains(log, "Content Security Policy") {
					t.Errorf("the page wants what its policy forbids: %s", log)
				}
				backgrounds[scheme] = got.Background
			})
		}
	}
	if backgrounds["light"] == backgrounds["dark"] {
		t.Errorf("the same in the dark: %v", backgrounds)
	}
	// Pictures for people.
	dir := os.Getenv("STATUS_SCREENSHOTS")
	if dir == "" {
		return
	}
	for _, scheme := range []string{"light", "dark"} {
		for _, size := range []string{"1280,1100", "390,1700"} {
			file := filepath.Join(dir, "status-"+scheme+"-"+strings.Split(size, ",")[0]+".png")
			show(t, bin, scheme, "--window-size="+size, "--hide-scrollbars", "--screenshot="+file, srv.URL)
		}
	}
}

// browser finds Chromium. The gate has it; elsewhere the test may be left out.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if bin, err := exec.LookPath(name); err == nil {
			return bin
		}
	}
	const what = "no browser is installed (Debian: apt-get install chromium)"
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
	return ""
}

// show runs the browser without a screen and returns its output and its log.
func show(t *testing.T, bin, scheme string, args ...string) (out, log string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	dark := map[string]string{"light": "1", "dark": "0"}[scheme]
	args = append([]string{"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--no-proxy-server",
		"--user-data-dir=" + t.TempDir(), "--enable-logging=stderr", "--blink-settings=preferredColorScheme=" + dark}, args...)
	cmd := exec.CommandContext(ctx, bin, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v: %s", bin, err, &stderr)
	}
	return stdout.String(), stderr.String()
}
