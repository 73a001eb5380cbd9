package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

const (
	maxRequest    = 1536    // bytes of a packet; a scrape of 74 torrents has 1,496
	maxReadErrors = 100     // in a row
	socketBuffer  = 4 << 20 // bytes; the system may give less
)

// ServeUDP answers the packets of BEP 15 on a UDP socket until ctx ends. It
// closes the socket.
func (s *Server) ServeUDP(ctx context.Context, conn net.PacketConn) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	if udp, ok := conn.(*net.UDPConn); ok {
		_ = udp.SetReadBuffer(socketBuffer)  // what there is will do
		_ = udp.SetWriteBuffer(socketBuffer) // likewise
		if done, err := s.serveBatches(ctx, udp); done {
			return err
		}
	}
	return s.servePackets(ctx, conn)
}

// servePackets answers packets one by one, as every system can.
func (s *Server) servePackets(ctx context.Context, conn net.PacketConn) error {
	buf, reply, out := make([]byte, maxRequest), make([]byte, 0, maxPacket), newAnswer()
	for bad := 0; ; {
		n, from, err := conn.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if bad++; err != nil && (errors.Is(err, net.ErrClosed) || bad > maxReadErrors) {
			return fmt.Errorf("serving the tracker: %w", err)
		}
		if err != nil {
			continue // Windows reports that an earlier answer of ours was not wanted
		}
		bad = 0
		udp, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		at := udp.AddrPort()
		reply = s.packet(reply[:0], buf[:n], sourceOf(at.Addr(), zoneIndex(at.Addr()), netip.Addr{}), at.Port(), out, time.Now())
		if len(reply) > 0 {
			_, _ = conn.WriteTo(reply, from) // as lost as any packet may be
		}
	}
}

// zoneIndex is the index of the interface that a zone names.
func zoneIndex(a netip.Addr) uint32 {
	if a.Zone() == "" {
		return 0
	}
	ifc, err := net.InterfaceByName(a.Zone())
	if err != nil {
		return 0
	}
	return uint32(ifc.Index)
}
