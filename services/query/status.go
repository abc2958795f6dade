// SPDX-License-Identifier: Apache-2.0

package query

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	statusv1 "github.com/tributary-project/tributary/proto/tributary/status/v1"
)

// GetStatus implements statusv1.StatusServiceServer.
func (s *Service) GetStatus(_ context.Context, req *statusv1.GetStatusRequest) (*statusv1.GetStatusResponse, error) {
	if r := req.GetRole(); r != "" && r != role {
		return nil, status.Errorf(codes.NotFound, "this is %s, not %q", role, r)
	}
	b := s.deps.Build
	out := &statusv1.GetStatusResponse{
		Role:      role,
		Build:     &statusv1.Build{Version: b.Version, Revision: b.Revision, GoVersion: b.GoVersion},
		StartTime: timestamppb.New(s.start),
		Database:  s.cfg.Database,
		Table:     s.cfg.Table,
	}
	for _, x := range s.deps.Settings {
		out.Settings = append(out.Settings, &statusv1.Setting{Name: x.Name, Value: x.Value})
	}
	timestream := &statusv1.Dependency{Name: "timestream-query", Target: s.deps.Target, Healthy: true}
	if err := s.last(); err != nil {
		timestream.Healthy, timestream.Message = false, err.Error()
	}
	out.Dependencies = append(out.Dependencies, timestream)
	return out, nil
}
