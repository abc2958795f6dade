// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"sync"
	"time"

	"github.com/tributary-project/tributary/gateway/internal/httperr"
	"github.com/tributary-project/tributary/gateway/internal/otlp"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	statusv1 "github.com/tributary-project/tributary/proto/tributary/status/v1"
)

//go:embed page.html
var pageHTML string

// PrometheusConfig is the block for prometheus.yml that makes a Prometheus write to and read from the gateway at
// baseURL.
func PrometheusConfig(baseURL string) string {
	return `remote_write:
  - url: ` + baseURL + `/api/v1/write
    protobuf_message: io.prometheus.write.v2.Request
remote_read:
  - url: ` + baseURL + `/api/v1/read
    read_recent: true
`
}

// SQLPath takes {"statement": "SELECT …"} by POST and answers with messages of JSON, one a line.
const SQLPath = jsonPrefix + "sql"

type pageRole struct {
	Name, Target, Message, Table string
	Healthy                      bool
}

type pageCounts struct {
	Kind   string
	Counts *ingestv1.Counts
}

type page struct {
	Status        *statusv1.GetStatusResponse
	Start         string
	Roles         []pageRole
	YAML          string
	Ledger        []pageCounts
	LedgerError   string
	TelemetryPath string
	URL           string
	OTLP          string
	WritePaths    []string
	SQLPath       string
}

// statusPage shows people what the gateway is and how it fares.
func (g *Gateway) statusPage() http.Handler {
	t := template.Must(template.New("page").Parse(pageHTML))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var out bytes.Buffer
		if err := t.Execute(&out, g.page(r)); err != nil {
			g.logger.Error("status page", "err", err)
			http.Error(w, "status page: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = out.WriteTo(w) //nolint:errcheck // the client went away
	})
}

func (g *Gateway) page(r *http.Request) page {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	own := g.status.own()
	p := page{
		Status:        own,
		Start:         own.GetStartTime().AsTime().UTC().Format(time.RFC3339),
		YAML:          PrometheusConfig(scheme + "://" + r.Host),
		TelemetryPath: g.cfg.TelemetryPath,
		URL:           scheme + "://" + r.Host,
		OTLP:          scheme + "://" + r.Host + otlp.Path,
		WritePaths:    writePaths(),
		SQLPath:       SQLPath,
		Roles:         make([]pageRole, len(own.GetDependencies())),
	}
	var ingestStatus *statusv1.GetStatusResponse
	var wg sync.WaitGroup
	for i, d := range own.GetDependencies() {
		role := &p.Roles[i]
		*role = pageRole{Name: d.GetName(), Target: d.GetTarget(), Healthy: d.GetHealthy(), Message: d.GetMessage()}
		wg.Go(func() {
			res, err := g.status.GetStatus(r.Context(), &statusv1.GetStatusRequest{Role: role.Name})
			if role.Name == roleIngest {
				ingestStatus = res
				if err != nil {
					p.LedgerError = httperr.From(err).Text
				}
			}
			if res.GetDatabase() != "" {
				role.Table = res.GetDatabase() + "." + res.GetTable()
			}
		})
	}
	wg.Wait()
	if l := ingestStatus.GetLedger(); l != nil {
		p.Ledger = []pageCounts{
			{"Samples", l.GetSamples()},
			{"Histograms", l.GetHistograms()},
			{"Exemplars", l.GetExemplars()},
			{"Metadata", l.GetMetadata()},
			{"Start timestamps", l.GetStartTimestamps()},
		}
	}
	return p
}
