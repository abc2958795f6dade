// SPDX-License-Identifier: Apache-2.0

package backend

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/tributary-project/tributary/gateway/internal/httperr"
)

// Named returns conn with errors that say which role could not be reached: gRPC's own name an address at best.
func Named(role string, conn grpc.ClientConnInterface) grpc.ClientConnInterface {
	return namedConn{role: role, conn: conn}
}

type namedConn struct {
	role string
	conn grpc.ClientConnInterface
}

// Invoke implements grpc.ClientConnInterface.
func (c namedConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return httperr.NameRole(c.role, c.conn.Invoke(ctx, method, args, reply, opts...))
}

// NewStream implements grpc.ClientConnInterface.
func (c namedConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := c.conn.NewStream(ctx, desc, method, opts...)
	if err != nil {
		return nil, httperr.NameRole(c.role, err)
	}
	return namedStream{ClientStream: s, role: c.role}, nil
}

type namedStream struct {
	grpc.ClientStream
	role string
}

// Header implements grpc.ClientStream.
func (s namedStream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	return md, httperr.NameRole(s.role, err)
}

// SendMsg implements grpc.ClientStream.
func (s namedStream) SendMsg(m any) error {
	return httperr.NameRole(s.role, s.ClientStream.SendMsg(m))
}

// RecvMsg implements grpc.ClientStream.
func (s namedStream) RecvMsg(m any) error {
	return httperr.NameRole(s.role, s.ClientStream.RecvMsg(m))
}
