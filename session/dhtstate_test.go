package session

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"btd/dht"
	"btd/metainfo"
)

// noteDHT is a node that finds nobody, and writes down all that is asked of it.
type noteDHT struct {
	node
	mu    sync.Mutex
	calls []string
	ipv4  []byte
	ipv6  []byte
}

func (f *noteDHT) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, what)
}

func (f *noteDHT) noted() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *noteDHT) Start(q dht.Search, done func(dht.Results)) func() {
	f.note("search for " + q.Target.String())
	go done(dht.Results{IPv4: &dht.Result{}})
	return func() {}
}

func (f *noteDHT) AddNode(a netip.AddrPort)   { f.note("node " + a.String()) }
func (f *noteDHT) AddHosts(h []string)        { f.note("hosts " + strings.Join(h, " ")) }
func (f *noteDHT) Stats() (s dht.ServerStats) { return s }
func (f *noteDHT) Close() error               { return nil }

func (f *noteDHT) State() (ipv4, ipv6 []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ipv4, f.ipv6
}

func (f *noteDHT) knows(ipv4, ipv6 string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ipv4, f.ipv6 = []byte(ipv4), []byte(ipv6)
}

// TestTheTableIsSavedEveryFiveMinutes counts minutes by itself.
func TestTheTableIsSavedEveryFiveMinutes(t *testing.T) {
	t.Parallel()
	fake := &noteDHT{}
	s := open(t, func(cfg *Config) { cfg.DHT = DHTConfig{On: true, fake: fake} })
	head, first, second := strings.Repeat("h", stateOfNone), strings.Repeat("1", 100), strings.Repeat("2", 100)
	d := &seeker{s: s, node: fake}
	d.init()
	began := d.saved
	is := func(when string, ipv4, ipv6 string) {
		t.Helper()
		for key, want := range map[string]string{dhtKey4: ipv4, dhtKey6: ipv6} {
			if got, err := s.db.Get(key); err != nil || string(got) != want {
				t.Errorf("%s: %s is %q, %v; want %q", when, key, got, err, want)
			}
		}
	}
	fake.knows(first, head)
	for m := range 5 {
		d.tend(began.Add(time.Duration(m) * time.Minute))
		is("before five minutes are over", "", "")
	}
	d.tend(began.Add(5 * time.Minute))
	is("after five minutes", first, "")
	fake.knows(second, first)
	d.tend(began.Add(9 * time.Minute))
	is("four minutes later", first, "")
	d.tend(began.Add(10 * time.Minute))
	is("after ten minutes", second, first)
	fake.knows(head, head) // it lost everybody: what it knew is worth more
	d.tend(began.Add(15 * time.Minute))
	is("when nobody is known", second, first)
	if got := d.recall(dhtKey4); string(got) != second {
		t.Errorf("%q is read back", got)
	}
}

// withNodes is c with a list of DHT nodes (BEP 5, "torrent file extensions").
func withNodes(t *testing.T, c content, nodes ...string) content {
	t.Helper()
	m := *c.meta
	m.Nodes = nodes
	c.file = m.Bytes()
	var err error
	if c.meta, err = metainfo.Parse(c.file); err != nil || !slices.Equal(c.meta.Nodes, nodes) {
		t.Fatalf("nodes %v, %v", c.meta.Nodes, err)
	}
	return c
}

// TestNodesOfATorrentAreAsked has a node that knows nobody, and a torrent that
// names one.
func TestNodesOfATorrentAreAsked(t *testing.T) {
	t.Parallel()
	boot, addr := bootNode(t)
	c := withNodes(t, makeContent(t, 64<<10, map[string]int{"a": 1 << 20}), addr)
	s := open(t, func(cfg *Config) { cfg.DHT = DHTConfig{On: true} })
	add(t, s, c, AddOptions{Dir: c.dir})
	until(t, "announce at the node that the torrent names", func() bool { return boot.Stats().IPv4.Peers > 0 })
}

// TestPrivateTorrentsAskNothingOfTheDHT adds them in every way.
func TestPrivateTorrentsAskNothingOfTheDHT(t *testing.T) {
	t.Parallel()
	fake := &noteDHT{}
	s := open(t, func(cfg *Config) { cfg.DHT = DHTConfig{On: true, fake: fake} })
	whole := withNodes(t, makePrivate(t, makeContent(t, 64<<10, map[string]int{"a": 1 << 20})), "n.example:1")
	add(t, s, whole, AddOptions{Dir: whole.dir})
	await(t, s, whole, "a seed", complete)
	missing := withNodes(t, makePrivate(t, makeContent(t, 32<<10, map[string]int{"b": 1 << 20})), "n.example:2")
	add(t, s, missing, AddOptions{})
	await(t, s, missing, "a download", func(v Torrent) bool { return v.State == StateDownloading })
	for _, c := range []content{whole, missing} {
		until(t, "first announce", func() bool { return s.announcer.knows(s.byWire(c.meta.Hash.Wire())) })
		if err := s.Reannounce(t.Context(), c.meta.Hash); err != nil {
			t.Fatal(err)
		}
		if err := s.Stop(t.Context(), c.meta.Hash); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context(), c.meta.Hash); err != nil {
			t.Fatal(err)
		}
	}
	await(t, s, missing, "a download again", func(v Torrent) bool { return v.State == StateDownloading })
	// A public one comes after them, so that what they asked would be there.
	public := withNodes(t, makeContent(t, 64<<10, map[string]int{"c": 1 << 20}), "n.example:3")
	add(t, s, public, AddOptions{Dir: public.dir})
	target, q := public.meta.Hash.Wire(), dht.Search{}
	q.Target.SetBytes(target[:])
	want := "search for " + q.Target.String()
	until(t, "search for the public one", func() bool { return slices.Contains(fake.noted(), want) })
	for _, call := range fake.noted() {
		if call != want && call != "hosts n.example:3" {
			t.Errorf("the DHT was told: %s", call)
		}
	}
}

// TestPrivateNetworksStayApart has two networks, each with a bootstrap list of
// its own, and a torrent of one that names a node of the other.
func TestPrivateNetworksStayApart(t *testing.T) {
	t.Parallel()
	bootA, addrA := bootNode(t)
	bootB, addrB := bootNode(t)
	c := withNodes(t, makeContent(t, 64<<10, map[string]int{"a": 1 << 20}), addrB)
	seed := seedOf(t, c, joins(addrA))
	until(t, "announce in its network", func() bool { return bootA.Stats().IPv4.Peers > 0 })
	stranger, friend := open(t, joins(addrB)), open(t, joins(addrA))
	for _, s := range []*Session{stranger, friend} {
		until(t, "node", func() bool { st := s.DHTStats(); return st.Nodes() > 0 })
	}
	look := func(s *Session) (found DHTFound) { // until a node answers in time
		t.Helper()
		until(t, "node to answer", func() bool {
			var err error
			found, err = s.DHTLookup(t.Context(), c.meta.Hash.Wire(), nil, func([]netip.AddrPort) {})
			return err == nil && found.Replies > 0
		})
		return found
	}
	until(t, "seed in its own network", func() bool { return slices.Contains(look(friend).Peers, seed.Addr()) })
	if got := look(stranger); len(got.Peers) > 0 {
		t.Errorf("in the other network %v is found", got.Peers)
	}
	until(t, "node of the stranger alone in its network", func() bool { return bootB.Stats().IPv4.Nodes == 1 })
	until(t, "two nodes in the other", func() bool { return bootA.Stats().IPv4.Nodes == 2 })
	if st := bootB.Stats().IPv4; st.Torrents != 0 {
		t.Errorf("the other network keeps %d torrents", st.Torrents)
	}
}
