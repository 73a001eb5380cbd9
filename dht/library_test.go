package dht

import (
	"crypto/ed25519"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	library "github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/bep44"
	"github.com/anacrolix/dht/v2/exts/getput"
	libkrpc "github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/log"
	"github.com/anacrolix/torrent/metainfo"
	"golang.org/x/time/rate"

	"btd/dht/store"
)

// shelf stores peers for the library, whose own way to do it does not work.
type shelf struct {
	mu    sync.Mutex
	peers map[metainfo.Hash][]libkrpc.NodeAddr
}

func (s *shelf) AddPeer(h metainfo.Hash, a libkrpc.NodeAddr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peers[h] = append(s.peers[h], a)
}

func (s *shelf) GetPeers(h metainfo.Hash) []libkrpc.NodeAddr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.peers[h])
}

// theirs is a node of the library that knows one of ours.
func theirs(t *testing.T, host string, know netip.AddrPort) (*library.Server, netip.AddrPort) {
	t.Helper()
	conn, addr := bind(t, "udp4", host)
	cfg := library.NewDefaultServerConfig()
	cfg.Conn, cfg.NoSecurity = conn, true
	cfg.PeerStore = &shelf{peers: map[metainfo.Hash][]libkrpc.NodeAddr{}}
	cfg.SendLimiter = rate.NewLimiter(rate.Inf, 1) // by default all nodes of a process share one, and drop replies beyond it
	cfg.Logger = log.Default.FilterLevel(log.Critical)
	cfg.StartingNodes = func() ([]library.Addr, error) {
		return []library.Addr{library.NewAddr(net.UDPAddrFromAddrPort(know))}, nil
	}
	s, err := library.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, addr
}

// mixed is a network of a few of ours and a few of the library's.
func mixed(t *testing.T) (ours []*Server, others []*library.Server) {
	t.Helper()
	ours, addrs := crowd(t, 6)
	var known []netip.AddrPort
	for range 6 {
		s, addr := theirs(t, "127.0.0.1", addrs[0])
		others, known = append(others, s), append(known, addr)
		if _, err := s.BootstrapContext(within(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range ours {
		for _, addr := range known {
			s.AddNode(addr)
		}
		if _, err := s.Search(within(t, time.Minute), Search{Kind: FindNode, Target: id160(t, s)}); err != nil {
			t.Fatal(err)
		}
	}
	return ours, others
}

// lookUp is what a node of the library finds.
func lookUp(t *testing.T, s *library.Server, hash [20]byte, port int) (found []netip.AddrPort) {
	t.Helper()
	var opts []library.AnnounceOpt
	if port != 0 {
		opts = append(opts, library.AnnouncePeer(library.AnnouncePeerOpts{Port: port}))
	}
	a, err := s.AnnounceTraversal(hash, opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	ctx := within(t, time.Minute)
	for {
		select {
		case v, ok := <-a.Peers:
			if !ok {
				return found
			}
			for _, p := range v.Peers {
				ip, _ := netip.AddrFromSlice(p.IP)
				found = append(found, netip.AddrPortFrom(ip.Unmap(), uint16(p.Port)))
			}
		case <-ctx.Done():
			t.Fatal("the library's lookup does not end")
		}
	}
}

func TestPeersGoBetweenUsAndTheLibrary(t *testing.T) {
	t.Parallel()
	ours, others := mixed(t)
	ctx := within(t, 2*time.Minute)
	host := netip.MustParseAddr("127.0.0.1")
	hash := hashOf(1)
	if r, err := ours[2].Search(ctx, Search{Kind: GetPeers, Target: hash, Announce: true, Port: 1111}); err != nil || r.Stored() < 1 {
		t.Fatalf("%+v, %v", r.IPv4, err)
	}
	if got := lookUp(t, others[3], hash.AsByteArray(), 2222); !slices.Contains(got, netip.AddrPortFrom(host, 1111)) {
		t.Errorf("the library finds %v", got)
	}
	var got []netip.AddrPort
	if r, err := ours[4].Search(ctx, Search{Kind: GetPeers, Target: hash, Peers: func(p []netip.AddrPort) { got = append(got, p...) }}); err != nil ||
		!slices.Contains(got, netip.AddrPortFrom(host, 1111)) || !slices.Contains(got, netip.AddrPortFrom(host, 2222)) {
		t.Errorf("we find %v: %+v, %v", got, r.IPv4, err)
	}
	for _, s := range ours {
		if s := s.Stats().IPv4; s.Faults != [len(s.Faults)]int64{} || s.Errors != 0 {
			t.Errorf("faults %v, errors %d", s.Faults, s.Errors)
		}
	}
}

func TestItemsGoBetweenUsAndTheLibrary(t *testing.T) {
	t.Parallel()
	ours, others := mixed(t)
	ctx := within(t, 2*time.Minute)
	key, salt := ed25519.NewKeyFromSeed(make([]byte, 32)), []byte("salt")
	item, err := SignItem(key, salt, 1, []byte("5:first"))
	if err != nil {
		t.Fatal(err)
	}
	target := item.Target()
	if n, err := ours[1].Put(ctx, target, salt, func(*Item) *Item { return item }); err != nil || n < 1 {
		t.Fatalf("put: %d, %v", n, err)
	}
	got, _, err := getput.Get(ctx, target.AsByteArray(), others[1], nil, salt)
	if err != nil || string(got.V) != "5:first" || got.Seq != 1 {
		t.Errorf("the library gets %+v, %v", got, err)
	}
	_, err = getput.Put(ctx, target.AsByteArray(), others[2], salt, func(seq int64) bep44.Put {
		put := bep44.Put{V: "second", Salt: salt, Seq: seq + 1, K: (*[32]byte)(key.Public().(ed25519.PublicKey))}
		put.Sign(key)
		return put
	})
	if err != nil {
		t.Fatal(err)
	}
	if i, err := ours[3].Get(ctx, target, salt); err != nil || string(i.V) != "6:second" || i.Seq != 2 {
		t.Errorf("we get %+v, %v", i, err)
	}
	fixed, _ := NewItem([]byte("d1:ai1ee"))
	if n, err := ours[5].Put(ctx, fixed.Target(), nil, func(*Item) *Item { return fixed }); err != nil || n < 1 {
		t.Fatalf("put: %d, %v", n, err)
	}
	id := fixed.Target()
	if got, _, err := getput.Get(ctx, id.AsByteArray(), others[4], nil, nil); err != nil || string(got.V) != string(fixed.V) {
		t.Errorf("the library gets %+v, %v", got, err)
	}
}

// TestTheLibrarySignsTheSame holds our signatures against the library's.
func TestTheLibrarySignsTheSame(t *testing.T) {
	t.Parallel()
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	for _, salt := range []string{"", "a", "a longer salt of some bytes"} {
		for _, seq := range []int64{0, 1, 1 << 40} {
			v := []byte("d1:ai1ee")
			if got, want := store.Sign(key, []byte(salt), seq, v), bep44.Sign(key, []byte(salt), seq, v); !slices.Equal(got, want) {
				t.Errorf("salt %q, %d: %x, want %x", salt, seq, got, want)
			}
			if !bep44.Verify(key.Public().(ed25519.PublicKey), []byte(salt), seq, v, store.Sign(key, []byte(salt), seq, v)) {
				t.Error("the library does not take our signature")
			}
		}
	}
}
