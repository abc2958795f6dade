// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"net"
)

// nameServer is a DNS server for which every name has the same addresses: replicas behind one name without a cluster.
type nameServer struct {
	address string // host:port
	conn    net.PacketConn
	ended   chan struct{}
}

func serveNames(hosts []net.IP) (*nameServer, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0") //nolint:noctx // it returns at once
	if err != nil {
		return nil, err
	}
	s := &nameServer{address: conn.LocalAddr().String(), conn: conn, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		query := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			if answer := answerName(query[:n], hosts); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	return s, nil
}

func (s *nameServer) close() {
	_ = s.conn.Close()
	<-s.ended
}

// answerName answers a query of one question (RFC 1035, section 4): an A record for each host to a question for those, an empty
// answer to others. It returns nil when there is nothing to answer.
func answerName(query []byte, hosts []net.IP) []byte {
	const header, typeA, classIN = 12, 1, 1
	if len(query) < header || binary.BigEndian.Uint16(query[4:]) != 1 {
		return nil
	}
	end := header
	for end < len(query) && query[end] != 0 {
		end += 1 + int(query[end])
	}
	question := end + 1 + 4 // the name's last byte, type and class
	if question > len(query) {
		return nil
	}
	if binary.BigEndian.Uint16(query[end+1:]) != typeA {
		hosts = nil
	}
	const response, recursionAvailable = 0x80, 0x80
	out := append([]byte(nil), query[:question]...)
	out[2] |= response
	out[3] = recursionAvailable
	binary.BigEndian.PutUint16(out[6:], uint16(len(hosts)))
	clear(out[8:header])
	for _, h := range hosts {
		out = append(out, 0xc0, header, 0, typeA, 0, classIN, 0, 0, 0, 1, 0, net.IPv4len) // the question's name, a second to live
		out = append(out, h.To4()...)
	}
	return out
}
