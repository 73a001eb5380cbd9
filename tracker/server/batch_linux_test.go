package server

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

// An answer leaves from the address that was asked, whichever of ours that
// is: a client that connected its socket would not get any other.
func TestAnswersLeaveFromWhereTheyWereAsked(t *testing.T) {
	for _, at := range []string{"0.0.0.0:0", "[::]:0"} {
		conn, err := net.ListenPacket("udp", at)
		if err != nil {
			t.Skipf("%s: %v", at, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		s := New(Config{Port: daemonPort})
		ended := make(chan error, 1)
		go func() { ended <- s.ServeUDP(ctx, conn) }()
		port := strconv.Itoa(conn.LocalAddr().(*net.UDPAddr).Port)
		for _, host := range []string{"127.0.0.1", "127.0.0.9", "127.1.2.3", "::1"} {
			if host == "::1" && at == "0.0.0.0:0" {
				continue
			}
			client, err := net.Dial("udp", net.JoinHostPort(host, port))
			if err != nil {
				t.Logf("%s: %v", host, err)
				continue
			}
			defer client.Close()
			exchange := func(p []byte) []byte {
				t.Helper()
				if err := client.SetDeadline(time.Now().Add(time.Minute)); err != nil {
					t.Fatal(err)
				}
				if _, err := client.Write(p); err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 2000)
				n, err := client.Read(b)
				if err != nil {
					t.Fatalf("at %s, asked at %s: %v", at, host, err)
				}
				return b[:n]
			}
			id := exchange(connectPacket())
			if len(id) != 16 || !bytes.Equal(id[:8], []byte{0, 0, 0, 0, 1, 2, 3, 4}) {
				t.Fatalf("connect: %x", id)
			}
			announce := func(port uint16) []byte {
				p := make([]byte, announceLen)
				copy(p, id[8:])
				p[11] = actionAnnounce
				p[71], p[95] = 1, 50
				p[96], p[97] = byte(port>>8), byte(port)
				return exchange(p)
			}
			announce(daemonPort)
			p := announce(1000)
			want := netip.AddrPortFrom(netip.MustParseAddr(host), daemonPort).String()
			found := false
			for _, peer := range list(p[20:], host != "::1") {
				found = found || peer == want
			}
			if !found {
				t.Errorf("at %s: who asked %s is told %v of our daemon, want %s", at, host, list(p[20:], host != "::1"), want)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
