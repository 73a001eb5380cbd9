package session

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"btd/peerwire"
)

// TestMetadataCountsInTheUploadLimit asks for three times all of the metadata.
func TestMetadataCountsInTheUploadLimit(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10 // bytes a second; four blocks are saved up
	c := manyFiles(t)
	s := seedOf(t, c, func(cfg *Config) { cfg.Limits.Up = limit })
	single := c
	single.dir = t.TempDir() // dialExt reads a file that this torrent has not
	if err := os.WriteFile(filepath.Join(single.dir, "content"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r, _ := dialExt(t, s, single, "limited", peerwire.ExtHandshake{M: peerwire.ExtIDs{peerwire.ExtMetadata: 9}})
	r.deadline(patience)
	pieces := peerwire.MetadataPieces(len(c.meta.Raw))
	began := time.Now()
	for i := range 3 * pieces {
		m := peerwire.Metadata{Type: peerwire.MetadataRequest, Piece: i % pieces}
		r.send(peerwire.AppendExtended(nil, ourExtensions[peerwire.ExtMetadata], m.Append(nil)))
	}
	got, count := 0, 0
	for count < 3*pieces {
		msg := r.until(peerwire.Extended)
		var m peerwire.Metadata
		if msg.Ext != 9 {
			continue
		}
		if err := m.Parse(msg.Payload); err != nil || m.Type != peerwire.MetadataData {
			t.Fatalf("%+v, %v", m, err)
		}
		got += len(m.Data)
		count++
	}
	took := time.Since(began).Seconds()
	if least := float64(got-limit) / limit * 0.9; least < 0.5 || took < least {
		t.Errorf("%d bytes came within %.2f s; the limit allows that in %.2f s", got, took, least)
	}
}

func TestMetadataOfAHostIsCounted(t *testing.T) {
	t.Parallel()
	var g metaGiven
	now := time.Unix(1e9, 0)
	a, b := netip.MustParseAddr("1.2.3.4"), netip.MustParseAddr("1.2.3.5")
	for range 100 {
		g.add(a, 1, now)
	}
	g.add(b, 5, now.Add(time.Minute))
	if g.to(a) != 100 || g.to(b) != 5 {
		t.Errorf("%d and %d", g.to(a), g.to(b))
	}
	for i := range 3 * maxMetaHosts {
		g.add(netip.AddrFrom4([4]byte{9, 9, byte(i >> 8), byte(i)}), 1, now.Add(time.Minute))
		if len(g.by) > maxMetaHosts {
			t.Fatalf("%d hosts are counted", len(g.by))
		}
	}
	g.add(b, 5, now.Add(2*time.Minute))
	if g.add(b, 1, now.Add(2*time.Hour)); g.to(b) != 1 {
		t.Errorf("%d after two hours", g.to(b))
	}
}

func TestHostsAndNetworks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ ip, host, network string }{
		{"81.2.3.4", "81.2.3.4", "81.2.3.0"},
		{"::ffff:81.2.3.4", "81.2.3.4", "81.2.3.0"},
		{"192.168.1.9", "192.168.1.9", "192.168.1.9"},
		{"127.0.0.1", "127.0.0.1", "127.0.0.1"},
		{"::1", "::1", "::1"},
		{"2a00:1:2:3:4:5:6:7", "2a00:1:2:3::", "2a00:1:2::"},
		{"fe80::1%eth0", "fe80::", "fe80::"},
	} {
		ip := netip.MustParseAddr(c.ip)
		if h, n := hostOf(ip).String(), networkOf(ip).String(); h != c.host || n != c.network {
			t.Errorf("%s: host %s, network %s", c.ip, h, n)
		}
	}
}

// TestOneHostCannotHoldAllPlaces fills a torrent that waits for its metadata
// from one address.
func TestOneHostCannotHoldAllPlaces(t *testing.T) {
	t.Parallel()
	const places = 6
	c := manyFiles(t)
	s := open(t, func(cfg *Config) { cfg.MaxPeersPerTorrent = places })
	addMagnet(t, s, c.link(), AddOptions{})
	await(t, s, c, "the wait", func(v Torrent) bool { return v.State == StateMetadata }) // else callers are turned away
	number := uint32(0)
	dial := func(host string) (in bool) {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
		conn, err := d.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Skipf("dialling from %s: %v", host, err)
		}
		t.Cleanup(func() { conn.Close() })
		h := peerwire.Handshake{InfoHash: c.meta.Hash.Wire()}
		number++
		binary.BigEndian.PutUint32(h.PeerID[16:], number)
		h.SetExtended()
		if _, err := conn.Write(h.Append(nil)); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := peerwire.ReadHandshake(conn); err != nil {
			t.Fatal(err)
		}
		_, err = conn.Read(make([]byte, 1)) // whoever is admitted is greeted
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			t.Fatal("neither greeted nor turned away")
		}
		return err == nil
	}
	of := func(host string) (n int) {
		t.Helper()
		all, err := s.Peers(c.meta.Hash)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			if p.Addr.Addr().String() == host {
				n++
			}
		}
		return n
	}
	for range places {
		if !dial("127.0.0.2") {
			t.Fatal("there are places, and one was turned away")
		}
	}
	if dial("127.0.0.2") {
		t.Error("one more was admitted")
	}
	for range places {
		dial("127.0.0.3")
	}
	await(t, s, c, "places for both", func(Torrent) bool { return of("127.0.0.2")+of("127.0.0.3") == places })
	if a, b := of("127.0.0.2"), of("127.0.0.3"); a-b > 1 || b-a > 1 {
		t.Errorf("%d places for one host, %d for the other", a, b)
	}
	if !dial("127.0.0.4") {
		t.Error("a third host was turned away")
	}
}
