// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	statusv1 "github.com/tributary-project/tributary/proto/tributary/status/v1"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
)

// Role is the role of this service in the status API.
const Role = "ingest"

// GetStatus implements statusv1.StatusServiceServer.
func (s *Service) GetStatus(_ context.Context, req *statusv1.GetStatusRequest) (*statusv1.GetStatusResponse, error) {
	if r := req.GetRole(); r != "" && r != Role {
		return nil, status.Errorf(codes.NotFound, "role %.50q: this process is %s", r, Role)
	}
	res := &statusv1.GetStatusResponse{
		Role:         Role,
		Build:        &statusv1.Build{Version: s.deps.Build.Version, Revision: s.deps.Build.Revision, GoVersion: s.deps.Build.GoVersion},
		StartTime:    timestamppb.New(s.started),
		Database:     s.cfg.Database,
		Table:        s.cfg.Table,
		Ledger:       ledger.Proto(s.totals.Counts()),
		Dependencies: []*statusv1.Dependency{s.writeDependency(), s.queryDependency()},
	}
	for _, x := range s.deps.Settings {
		res.Settings = append(res.Settings, &statusv1.Setting{Name: x.Name, Value: x.Value})
	}
	return res, nil
}

func (s *Service) writeDependency() *statusv1.Dependency {
	d := &statusv1.Dependency{Name: "timestream-write", Target: s.deps.Target, Healthy: true}
	switch h := s.sender.Health(); {
	case !h.Known:
		d.Message = "nothing was written yet"
	case h.Failure != nil:
		d.Healthy, d.Message = false, h.Failure.Text
	}
	return d
}

// queryDependency is the endpoint that the catalogue is read from. Writing goes on without it.
func (s *Service) queryDependency() *statusv1.Dependency {
	d := &statusv1.Dependency{Name: "timestream-query", Target: s.deps.Target, Healthy: true}
	switch st := s.store.Catalogue(); {
	case st.Err != nil:
		d.Healthy, d.Message = false, "the catalogue of the table cannot be read; writing goes on with what is known of it"
	case st.Degraded:
		d.Message = "DESCRIBE or SHOW MEASURES is denied; columns and names are read from the data"
	case !st.Loaded:
		d.Message = "the catalogue of the table was not read yet"
	}
	return d
}
