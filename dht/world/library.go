package world

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

// What the search of the library goes by (traversal.OperationInput, and
// QueryResendDelay with one try).
const (
	libraryAlpha   = 3
	libraryTimeout = 2 * time.Second
)

// Library is a client with the rules of the library. Its table is as correct
// and as stale as those of all other nodes.
type Library struct {
	sim   *Sim
	start []contact.Node
}

// NewLibrary makes a client with a table of eight nodes for each bucket.
func NewLibrary(s *Sim, seed uint64) *Library {
	id := rand.New(rand.NewPCG(seed, 3)).Uint64()
	var ranks []int
	for c := range 64 {
		ranks = s.Net.bucket(id, c, ranks)
	}
	l := &Library{sim: s}
	for _, r := range ranks {
		l.start = append(l.start, s.Net.Node(r))
	}
	return l
}

// operation is one search.
type operation struct {
	lib       *Library
	target    krpc.ID
	hop       map[netip.AddrPort]int
	unqueried []contact.Node // by distance
	queried   map[netip.AddrPort]bool
	closest   []contact.Node // that answered with a token, by distance
	under     int            // queries under way
	began     time.Time
	out       Outcome
}

func (o *operation) nearer(a, b contact.Node) int {
	return a.ID.Distance(o.target).Cmp(b.ID.Distance(o.target))
}

func (o *operation) add(nodes []contact.Node, hop int) {
	for _, n := range nodes {
		if o.queried[n.Addr] || n.Addr.Port() == 0 || slices.Contains(o.unqueried, n) {
			continue
		}
		if o.hop[n.Addr] == 0 {
			o.hop[n.Addr] = hop
		}
		at, _ := slices.BinarySearchFunc(o.unqueried, n, o.nearer)
		o.unqueried = slices.Insert(o.unqueried, at, n)
	}
}

// haveQuery reports whether there is anybody worth asking: the result is not
// full, or the next is no farther than its last.
func (o *operation) haveQuery() bool {
	if len(o.unqueried) == 0 {
		return false
	}
	return len(o.closest) < k || o.nearer(o.unqueried[0], o.closest[k-1]) <= 0
}

func (o *operation) step() {
	for o.under < libraryAlpha && o.haveQuery() {
		n := o.unqueried[0]
		o.unqueried = slices.Delete(o.unqueried, 0, 1)
		o.queried[n.Addr] = true
		o.under++
		o.out.Queries++
		o.out.Bytes += querySize(getPeers)
		o.lib.sim.query(n.Addr, getPeers, o.target, libraryTimeout, func(r Reply) { o.answered(n, r) }, func() {
			o.under--
			o.step()
		})
	}
}

func (o *operation) answered(n contact.Node, r Reply) {
	o.under--
	o.out.Bytes += r.Size
	hop := o.hop[n.Addr]
	if r.Values && o.out.First == 0 {
		o.out.First, o.out.Hops = o.lib.sim.Now.Sub(o.began), hop
	}
	if len(r.Token) > 0 {
		from := contact.Node{ID: r.ID, Addr: r.From}
		at, _ := slices.BinarySearchFunc(o.closest, from, o.nearer)
		o.closest = slices.Insert(o.closest, at, from)
		o.closest = o.closest[:min(len(o.closest), k)]
	}
	o.add(r.Nodes, hop+1)
	o.step()
}

// Lookup searches for who has something, and waits for the end.
func (l *Library) Lookup(target krpc.ID) Outcome {
	o := &operation{
		lib: l, target: target, hop: map[netip.AddrPort]int{}, queried: map[netip.AddrPort]bool{},
		began: l.sim.Now, out: Outcome{Target: target},
	}
	o.add(l.start, 1)
	o.step()
	l.sim.Run(o.began.Add(time.Hour), func() bool { return o.under == 0 })
	o.out.Complete = l.sim.Now.Sub(o.began)
	o.out.Closest = o.closest
	return o.out
}
