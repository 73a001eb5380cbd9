package server

import (
	"container/list"
	"math/rand/v2"
	"net/netip"
	"time"
)

// store holds all swarms. It is not safe for concurrent use.
type store struct {
	cfg    Config
	rng    *rand.Rand
	swarms map[[20]byte]*swarm
	recent list.List // of *swarm, the one announced to last at the back
	peers  int
}

// swarm is the peers of one torrent.
type swarm struct {
	hash      [20]byte
	peers     map[netip.AddrPort]*peer
	sets      [2][2][]*peer // by IPv6 and by seed
	recent    list.List     // of *peer, the one heard of last at the back
	downloads int
	place     *list.Element // in store.recent
}

type peer struct {
	addr  netip.AddrPort
	id    [20]byte
	seed  bool
	done  bool // its completed event was counted
	at    int  // index in its set
	heard time.Time
	place *list.Element // in swarm.recent
}

func newStore(cfg Config) *store {
	return &store{
		cfg:    cfg,
		rng:    rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		swarms: make(map[[20]byte]*swarm),
	}
}

// expire drops what has been silent for too long: at most n peers.
func (st *store) expire(now time.Time, n int) {
	for front := st.recent.Front(); front != nil && n > 0; front = st.recent.Front() {
		sw := front.Value.(*swarm)
		if !sw.expire(st, now, &n) && n > 0 {
			return // its last announce is recent, and so are those of the swarms behind it
		}
	}
}

// expire drops silent peers of one swarm, and the swarm when it is empty.
func (sw *swarm) expire(st *store, now time.Time, n *int) (gone bool) {
	for front := sw.recent.Front(); front != nil && *n > 0; front = sw.recent.Front() {
		p := front.Value.(*peer)
		if now.Sub(p.heard) < st.cfg.Expire {
			return false
		}
		st.remove(sw, p)
		*n--
	}
	return sw.recent.Len() == 0
}

// current returns a swarm without its silent peers; nil if there is none. A
// bounded number of other silent peers goes too, so that memory is given back
// without a timer.
func (st *store) current(hash [20]byte, now time.Time) *swarm {
	st.expire(now, expireStep)
	if sw := st.swarms[hash]; sw != nil {
		n := len(sw.peers)
		sw.expire(st, now, &n)
	}
	return st.swarms[hash]
}

const expireStep = 64

// remove drops a peer, and the swarm with its last peer.
func (st *store) remove(sw *swarm, p *peer) {
	sw.leaveSet(p)
	sw.recent.Remove(p.place)
	delete(sw.peers, p.addr)
	st.peers--
	if len(sw.peers) == 0 {
		st.recent.Remove(sw.place)
		delete(st.swarms, sw.hash)
	}
}

func (sw *swarm) set(p *peer) *[]*peer {
	return &sw.sets[index(p.addr.Addr().Is6())][index(p.seed)]
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (sw *swarm) joinSet(p *peer) {
	set := sw.set(p)
	p.at = len(*set)
	*set = append(*set, p)
}

func (sw *swarm) leaveSet(p *peer) {
	set := sw.set(p)
	last := len(*set) - 1
	(*set)[p.at] = (*set)[last]
	(*set)[p.at].at = p.at
	(*set)[last] = nil
	*set = (*set)[:last]
}

// update enters what a peer said of itself. It returns its swarm: nil if
// there is none, and full if there is no room for it.
func (st *store) update(a announce, now time.Time) (sw *swarm, full bool) {
	sw = st.current(a.hash, now)
	var p *peer
	if sw != nil {
		p = sw.peers[a.addr]
	}
	if a.event == eventStopped {
		if p != nil && p.id == a.peerID {
			st.remove(sw, p)
		}
		return sw, false
	}
	if p == nil {
		if sw, p = st.join(sw, a); p == nil {
			return nil, true
		}
	}
	if a.event == eventCompleted && !p.done {
		p.done = true
		sw.downloads++
	}
	if seed := a.left == 0; seed != p.seed {
		sw.leaveSet(p)
		p.seed = seed
		sw.joinSet(p)
	}
	p.id, p.heard = a.peerID, now
	sw.recent.MoveToBack(p.place)
	st.recent.MoveToBack(sw.place)
	return sw, false
}

// join makes room for a new peer and enters it.
func (st *store) join(sw *swarm, a announce) (*swarm, *peer) {
	if sw != nil && len(sw.peers) >= st.cfg.SwarmPeers {
		st.remove(sw, sw.recent.Front().Value.(*peer)) // the one silent for longest
		sw = st.swarms[a.hash]
	}
	if st.peers >= st.cfg.MaxPeers || sw == nil && len(st.swarms) >= st.cfg.MaxTorrents {
		return nil, nil
	}
	if sw == nil {
		sw = &swarm{hash: a.hash, peers: make(map[netip.AddrPort]*peer)}
		sw.place = st.recent.PushBack(sw)
		st.swarms[a.hash] = sw
	}
	p := &peer{addr: a.addr, id: a.peerID, seed: a.left == 0}
	p.place = sw.recent.PushBack(p)
	sw.peers[p.addr] = p
	sw.joinSet(p)
	st.peers++
	return sw, p
}

// sample appends up to n peers of one family, drawn at random, but not the
// one that asks. Seeds are of no use to a seed.
func (st *store) sample(dst []*peer, sw *swarm, v6 bool, a announce, n int) []*peer {
	leechers, seeds := sw.sets[index(v6)][0], sw.sets[index(v6)][1]
	if a.left == 0 {
		seeds = nil
	}
	fromSeeds := min(len(seeds), max(n/2, n-len(leechers)))
	dst = st.draw(dst, leechers, a.addr, n-fromSeeds)
	return st.draw(dst, seeds, a.addr, fromSeeds)
}

// draw appends up to n peers of a set, drawn without replacement by moving
// them to the front.
func (st *store) draw(dst []*peer, set []*peer, but netip.AddrPort, n int) []*peer {
	for i := 0; i < len(set) && n > 0; i++ {
		j := i + st.rng.IntN(len(set)-i)
		set[i], set[j] = set[j], set[i]
		set[i].at, set[j].at = i, j
		if set[i].addr != but {
			dst = append(dst, set[i])
			n--
		}
	}
	return dst
}

// counts of a swarm; nil is a torrent nobody knows.
func (sw *swarm) counts() (seeds, leechers, downloads int) {
	if sw == nil {
		return 0, 0, 0
	}
	for _, family := range sw.sets {
		leechers += len(family[0])
		seeds += len(family[1])
	}
	return seeds, leechers, sw.downloads
}
