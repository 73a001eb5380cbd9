package session

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"btd/metainfo"
	"btd/peerwire"
)

// afar is a connection whose other end says that it is somewhere else.
type afar struct {
	net.Conn
	from string
}

func (a afar) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(a.from))
}

var outside = netip.MustParseAddrPort("192.0.2.7:6881")

// TestLANTorrentsKnowOnlyLocalPeers tells one of peers on the Internet in all
// the ways there are.
func TestLANTorrentsKnowOnlyLocalPeers(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	tracker := newFakeTracker(t, say(answerPeers("", outside, netip.MustParseAddrPort("127.0.0.9:9"))))
	boot, addr := bootNode(t)
	s := open(t, joins(addr))
	v := addMagnet(t, s, c.link("x.scope=lan", "x.pe="+outside.String(), "tr="+tracker.url), AddOptions{
		Peers: []netip.AddrPort{outside},
	})
	if v.Options.Scope != metainfo.ScopeLAN {
		t.Errorf("scope %v", v.Options.Scope)
	}
	await(t, s, c, "the tracker's peers", func(v Torrent) bool { return v.PeersKnown > 0 })
	if err := s.AddPeers(t.Context(), c.meta.Hash, []netip.AddrPort{outside}); !errors.Is(err, ErrInvalid) {
		t.Errorf("adding a peer on the Internet: %v", err)
	}
	if err := s.AddPeers(t.Context(), c.meta.Hash, []netip.AddrPort{netip.MustParseAddrPort("[fe80::1]:1")}); !errors.Is(err, ErrInvalid) {
		t.Errorf("adding a link-local peer in no network: %v", err)
	}
	r, h := dialExt(t, s, c, "pexpeer", peerwire.ExtHandshake{M: peerwire.ExtIDs{peerwire.ExtPEX: 1}})
	m := peerwire.PEX{Added: []peerwire.PEXPeer{{Addr: outside}, {Addr: netip.MustParseAddrPort("127.0.0.8:9")}}}
	r.send(peerwire.AppendExtended(nil, h.M[peerwire.ExtPEX], m.Append(nil)))
	v = await(t, s, c, "the peer that was heard of", func(v Torrent) bool { return v.PeersKnown >= 2 })
	if v.PeersKnown != 2 {
		t.Errorf("%d addresses are known, want the two on loopback", v.PeersKnown)
	}

	// What was found in the DHT before somebody knew better.
	e := s.byWire(c.meta.Hash.Wire())
	s.found(e, []netip.AddrPort{outside, netip.MustParseAddrPort("127.0.0.7:9")}, FromDHT)
	if v = await(t, s, c, "a third peer", func(v Torrent) bool { return v.PeersKnown >= 3 }); v.PeersKnown != 3 {
		t.Errorf("%d addresses are known, want the three on loopback", v.PeersKnown)
	}
	if st := s.DHTStats(); st.Torrents != 0 || boot.Stats().IPv4.Torrents != 0 {
		t.Errorf("%d torrents are announced in the DHT", st.Torrents)
	}
	if _, err := s.DHTLookup(t.Context(), c.meta.Hash.Wire(), nil, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("looking it up in the DHT: %v", err)
	}
	if again := reopen(t, s); again.byWire(c.meta.Hash.Wire()).scope() != metainfo.ScopeLAN {
		t.Error("the scope is forgotten after a restart")
	}
}

func TestLANTorrentsAnswerOnlyLocalPeers(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	for _, scope := range []metainfo.Scope{metainfo.ScopeInternet, metainfo.ScopeLAN} {
		s := open(t, nil)
		add(t, s, c, AddOptions{Dir: c.dir, Scope: scope})
		await(t, s, c, "seeding", complete)
		for from, want := range map[string]bool{
			"192.0.2.7:1": scope == metainfo.ScopeInternet, "[2001:db8::1]:1": scope == metainfo.ScopeInternet,
			"192.168.3.4:5": true, "[fe80::1%eth0]:5": true, "[::ffff:10.1.1.1]:5": true,
		} {
			ours, theirs := net.Pipe()
			done := make(chan error, 1)
			go func() { done <- s.welcome(afar{theirs, from}) }()
			hs := peerwire.Handshake{InfoHash: c.meta.Hash.Wire()}
			copy(hs.PeerID[:], from)
			if err := ours.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			go ours.Write(hs.Append(nil))
			_, err := peerwire.ReadHandshake(ours)
			if got := err == nil; got != want {
				t.Errorf("scope %v, from %s: answered %v (%v)", scope, from, got, err)
			}
			if err := <-done; want != (err == nil) || !want && !errors.Is(err, errUnknownTorrent) {
				t.Errorf("scope %v, from %s: %v", scope, from, err)
			}
			ours.Close()
		}
	}
}

// TestTheScopeOutlivesItsRecord has the record damaged.
func TestTheScopeOutlivesItsRecord(t *testing.T) {
	t.Parallel()
	c := makeContent(t, 64<<10, map[string]int{"": 1 << 20})
	for _, scope := range []metainfo.Scope{metainfo.ScopeInternet, metainfo.ScopeLAN} {
		s := open(t, func(cfg *Config) { cfg.Dir = c.dir })
		add(t, s, c, AddOptions{Scope: scope})
		await(t, s, c, "seeding", complete)
		if err := s.Close(); err != nil { // once more is no harm
			t.Fatal(err)
		}
		spoil(t, s.cfg.StateDir, "torrent", c.meta.Hash)
		s = reopen(t, s)
		if v := await(t, s, c, "a check", complete); v.Options.Scope != scope {
			t.Errorf("a torrent of scope %v came back as one of %v", scope, v.Options.Scope)
		}
		_, _, err := s.Add(t.Context(), c.file, AddOptions{Scope: metainfo.ScopeLAN})
		_, _, err2 := s.AddMagnet(t.Context(), c.link("x.scope=lan"), AddOptions{})
		if want := scope == metainfo.ScopeInternet; errors.Is(err, ErrInvalid) != want || errors.Is(err2, ErrInvalid) != want {
			t.Errorf("a torrent of scope %v is added again with scope lan: %v, %v", scope, err, err2)
		}
		if _, existed, err := s.Add(t.Context(), c.file, AddOptions{}); !existed || err != nil || s.byWire(c.meta.Hash.Wire()).scope() != scope {
			t.Errorf("a torrent of scope %v is added again without a scope: %v, %v", scope, existed, err)
		}
		if err := s.db.Put(scopeKey(c.meta.Hash), []byte("nonsense")); err != nil {
			t.Fatal(err)
		}
		if got := s.keptScope(c.meta.Hash); got != metainfo.ScopeLAN {
			t.Errorf("a scope that cannot be read is %v", got)
		}
		if err := s.Remove(t.Context(), c.meta.Hash, false); err != nil {
			t.Fatal(err)
		}
		if got := s.keptScope(c.meta.Hash); scope == metainfo.ScopeLAN && got != metainfo.ScopeInternet {
			t.Error("the scope of a torrent that was removed is kept")
		}
	}
}

// TestTheNarrowerScopeHolds adds links and files with and without a scope.
func TestTheNarrowerScopeHolds(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	for i, tt := range []struct {
		asked, said, want metainfo.Scope
	}{
		{metainfo.ScopeInternet, metainfo.ScopeInternet, metainfo.ScopeInternet},
		{metainfo.ScopeLAN, metainfo.ScopeInternet, metainfo.ScopeLAN},
		{metainfo.ScopeInternet, metainfo.ScopeLAN, metainfo.ScopeLAN},
	} {
		link := metainfo.Magnet{Hash: metainfo.V1([20]byte{byte(i + 1)}), Scope: tt.said}
		if v := addMagnet(t, s, link.String(), AddOptions{Scope: tt.asked, Stopped: true}); v.Options.Scope != tt.want {
			t.Errorf("asked for %v by a link of %v: %v", tt.asked, tt.said, v.Options.Scope)
		}
	}
}
