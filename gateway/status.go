// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributary-project/tributary/gateway/internal/backend"
	statusv1 "github.com/tributary-project/tributary/proto/tributary/status/v1"
)

// statusTimeout bounds a question to a role behind: people wait for it.
const statusTimeout = 2 * time.Second

// statusServer tells of the gateway itself, and passes on what is asked about the roles behind it.
type statusServer struct {
	statusv1.UnsafeStatusServiceServer
	gateway *Gateway
	start   time.Time
	roles   map[string]statusv1.StatusServiceClient
}

func newStatusServer(g *Gateway, start time.Time) *statusServer {
	return &statusServer{gateway: g, start: start, roles: map[string]statusv1.StatusServiceClient{
		roleIngest: statusv1.NewStatusServiceClient(backend.Named(roleIngest, g.deps.Ingest.Conn)),
		roleQuery:  statusv1.NewStatusServiceClient(backend.Named(roleQuery, g.deps.Query.Conn)),
	}}
}

// GetStatus implements statusv1.StatusServiceServer.
func (s *statusServer) GetStatus(ctx context.Context, req *statusv1.GetStatusRequest) (*statusv1.GetStatusResponse, error) {
	role := req.GetRole()
	if role == "" || role == roleGateway {
		return s.own(), nil
	}
	client, ok := s.roles[role]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "no such role: %q; there are %s, %s, %s", role, roleGateway, roleIngest, roleQuery)
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	return client.GetStatus(ctx, &statusv1.GetStatusRequest{Role: role})
}

func (s *statusServer) own() *statusv1.GetStatusResponse {
	d := s.gateway.deps
	out := &statusv1.GetStatusResponse{
		Role:      roleGateway,
		Build:     &statusv1.Build{Version: d.Build.Version, Revision: d.Build.Revision, GoVersion: d.Build.GoVersion},
		StartTime: timestamppb.New(s.start),
	}
	for _, x := range d.Settings {
		out.Settings = append(out.Settings, &statusv1.Setting{Name: x.Name, Value: x.Value})
	}
	for _, b := range []struct{ role, target string }{{roleIngest, d.Ingest.Target}, {roleQuery, d.Query.Target}} {
		dep := &statusv1.Dependency{Name: b.role, Target: b.target, Healthy: true}
		if err := s.gateway.watchers[b.role].Err(); err != nil {
			dep.Healthy, dep.Message = false, err.Error()
		}
		out.Dependencies = append(out.Dependencies, dep)
	}
	return out
}
