package session

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"btd/dht"
	"btd/dht/krpc"
	"btd/dht/lookup"
)

// Errors of the DHT that callers branch on.
var (
	ErrNoDHT      = errors.New("the DHT is off")
	ErrMissing    = errors.New("no such item")
	ErrNewer      = errors.New("the item is not stored") // since the DHT holds a newer version
	ErrUnanswered = errors.New("the DHT gave no answer")
)

// DHTStats is a picture of our part in the DHT.
type DHTStats struct {
	On         bool
	Problem    string // why a node is missing that should be there
	Port       int    // UDP; 0 if there is no node
	IPv4, IPv6 *DHTNode
	Torrents   int   // that are announced, or searched for
	Busy       int64 // searches that had to wait since too many ran
	Dropped    int64 // packets that came faster than they could be read
	ReadErrors int64
}

// DHTNode is what the node of one family did since the start, and holds now.
type DHTNode = dht.Stats

// Nodes is how many nodes are known, of both families.
func (s *DHTStats) Nodes() (n int) {
	for _, one := range []*DHTNode{s.IPv4, s.IPv6} {
		if one != nil {
			n += one.Nodes
		}
	}
	return n
}

// Status says in words how it stands with the DHT; "" if it is off.
func (s *DHTStats) Status() string {
	var say []string
	if s.Problem != "" {
		say = append(say, s.Problem)
	}
	for _, one := range []struct {
		family string
		node   *DHTNode
	}{{"IPv4", s.IPv4}, {"IPv6", s.IPv6}} {
		if one.node != nil {
			say = append(say, one.family+": "+one.node.Status)
		}
	}
	return strings.Join(say, "; ")
}

// DHTEvent is one thing that happened in a search.
type DHTEvent = lookup.Event

// DHTFound is what a lookup found.
type DHTFound struct {
	Peers          []netip.AddrPort
	Queries        int
	Replies        int
	FirstAfter     time.Duration // the first peers; 0 if there are none
	Elapsed        time.Duration
	Closest        int // nodes close to the hash that answered
	EstimatedSeeds float64
	EstimatedPeers float64 // that are no seeds (BEP 33)
}

// DHTItem is a value of BEP 44. Without K it is immutable.
type DHTItem struct {
	Target [20]byte
	V      []byte // bencoded, at most 1,000 bytes
	K      []byte // ed25519 public key
	Sig    []byte
	Salt   []byte // at most 64 bytes
	Seq    int64
}

func (i *DHTItem) item() *dht.Item {
	return &dht.Item{V: i.V, K: i.K, Sig: i.Sig, Salt: i.Salt, Seq: i.Seq}
}

// DHTStats pictures our part in the DHT.
func (s *Session) DHTStats() DHTStats {
	d := s.seeker
	out := DHTStats{On: s.cfg.DHT.On, Problem: d.problem, Busy: s.counters.snapshot()["dht_busy"]}
	if d.node == nil {
		return out
	}
	st := d.node.Stats()
	d.mu.Lock()
	out.Torrents = len(d.items)
	d.mu.Unlock()
	out.Port, out.IPv4, out.IPv6 = int(s.port()), st.IPv4, st.IPv6
	out.Dropped, out.ReadErrors = st.Dropped, st.ReadErrors
	return out
}

// dhtNode is the node, or why there is none.
func (s *Session) dhtNode() (node, error) {
	d := s.seeker
	switch {
	case d.node != nil:
		return d.node, nil
	case d.problem != "":
		return nil, fmt.Errorf("%w: %s", ErrNoDHT, d.problem)
	}
	return nil, ErrNoDHT
}

// DHTLookup finds the peers of a torrent, which need not be ours, and announces
// nothing. trace and peers hear of what happens as it happens; they must not
// block.
func (s *Session) DHTLookup(ctx context.Context, hash [20]byte, trace func(DHTEvent), peers func([]netip.AddrPort)) (DHTFound, error) {
	n, err := s.dhtNode()
	if err != nil {
		return DHTFound{}, err
	}
	if e := s.byWire(hash); e != nil && !e.inDHT() {
		return DHTFound{}, fmt.Errorf("%w: the torrent is private, stays in the local network or has a secret, so the DHT is not asked", ErrInvalid)
	}
	var out DHTFound
	q := dht.Search{Kind: dht.GetPeers, Scrape: true, Trace: trace}
	q.Target.SetBytes(hash[:])
	q.Peers = func(more []netip.AddrPort) {
		out.Peers = append(out.Peers, more...)
		peers(more)
	}
	r, err := n.Search(ctx, q)
	for _, one := range []*dht.Result{r.IPv4, r.IPv6} {
		if one == nil {
			continue
		}
		out.Queries += one.Stats.Queries
		out.Replies += one.Stats.Replies
		out.Closest += len(one.Closest)
		out.Elapsed = max(out.Elapsed, one.Elapsed)
		out.EstimatedSeeds, out.EstimatedPeers = max(out.EstimatedSeeds, one.Seeds), max(out.EstimatedPeers, one.Leechers)
		if at := one.Stats.FirstAt; at > 0 && (out.FirstAfter == 0 || at < out.FirstAfter) {
			out.FirstAfter = at
		}
	}
	return out, dhtError(err)
}

// DHTGet finds an item: the newest one if it is mutable.
func (s *Session) DHTGet(ctx context.Context, target [20]byte, salt []byte) (DHTItem, error) {
	n, err := s.dhtNode()
	if err != nil {
		return DHTItem{}, err
	}
	q := dht.Search{Kind: dht.Get, Salt: salt}
	q.Target.SetBytes(target[:])
	r, err := n.Search(ctx, q)
	i := r.Item()
	if i == nil {
		if err == nil {
			err = dht.ErrNotFound
		}
		return DHTItem{}, dhtError(err)
	}
	return DHTItem{Target: target, V: i.V, K: i.K, Sig: i.Sig, Salt: i.Salt, Seq: i.Seq}, nil
}

// DHTPut stores an item at the nodes closest to its target and returns that and
// how many took it. A mutable item of which there is a newer version is not
// stored: the error wraps ErrNewer.
func (s *Session) DHTPut(ctx context.Context, i DHTItem) (target [20]byte, stored int, err error) {
	item := i.item()
	if err := item.Check(); err != nil {
		return target, 0, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	at := item.Target()
	target = at.AsByteArray()
	n, err := s.dhtNode()
	if err != nil {
		return target, 0, err
	}
	var newer *dht.Item
	q := dht.Search{Kind: dht.Get, Target: at, Salt: i.Salt}
	q.Put = func(newest *dht.Item) *dht.Item {
		if newest != nil && newest.Mutable() && (newest.Seq > i.Seq || newest.Seq == i.Seq && string(newest.V) != string(i.V)) {
			newer = newest
			return nil
		}
		return item
	}
	r, err := n.Search(ctx, q)
	switch {
	case newer != nil:
		return target, 0, fmt.Errorf("%w: version %d is stored already, so %d cannot be", ErrNewer, newer.Seq, i.Seq)
	case r.Stored() > 0:
		return target, r.Stored(), nil
	case err == nil || errors.Is(err, dht.ErrNotFound):
		err = dht.ErrRefused
	}
	return target, 0, dhtError(err)
}

// dhtError maps the errors of searches onto ours.
func dhtError(err error) error {
	switch {
	case errors.Is(err, dht.ErrNotFound):
		return fmt.Errorf("%w: nobody in the DHT has it", ErrMissing)
	case errors.Is(err, dht.ErrNoNodes), errors.Is(err, dht.ErrBusy), errors.Is(err, dht.ErrRefused):
		return fmt.Errorf("%w: %w", ErrUnanswered, err)
	case errors.Is(err, dht.ErrClosed):
		return ErrClosed
	}
	return err
}

// DHTTarget is where the item of a key and a salt is stored (BEP 44, "Mutable
// items").
func DHTTarget(key, salt []byte) ([20]byte, error) {
	if len(key) != 32 {
		return [20]byte{}, fmt.Errorf("%w: the key %s has %d bytes, want 32", ErrInvalid, hex.EncodeToString(key), len(key))
	}
	i := dht.Item{K: key, Salt: salt}
	at := i.Target()
	return at.AsByteArray(), nil
}

// DHTQueries are a node's counts of queries by method.
func DHTQueries(n *DHTNode) map[string]dht.Count {
	out := map[string]dht.Count{}
	for m, c := range n.Queries {
		if c != (dht.Count{}) {
			out[krpc.Method(m).String()] = c
		}
	}
	return out
}

// DHTRefused counts what a node did not do or believe, by reason.
func DHTRefused(n *DHTNode) map[string]int64 {
	out := map[string]int64{}
	add := func(name string, c int64) {
		if c != 0 {
			out[name] = c
		}
	}
	for f, c := range n.Faults {
		add("malformed: "+krpc.Fault(f).String(), c)
	}
	add("unreachable address", n.Unreachable)
	add("too many queries", n.TooFast)
	add("no budget for a reply", n.NoBudget)
	add("bad token", n.BadTokens)
	add("bad signature", n.BadSignatures)
	add("bad item", n.BadItems)
	add("reply nobody asked for", n.Unmatched)
	return out
}
