package dht

import (
	"net/netip"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
	"btd/dht/lookup"
	"btd/dht/store"
	"btd/dht/table"
)

// Kind is what a search asks each node.
type Kind uint8

// The kinds of searches.
const (
	FindNode Kind = iota
	GetPeers      // BEP 5; may announce and scrape
	Get           // BEP 44; may put
	Sample        // BEP 51: which torrents the nodes near the target know
)

// Search says what is searched for. Callbacks are called during HandlePacket,
// Tick and Start; they may be nil.
type Search struct {
	Kind   Kind
	Target krpc.ID

	// Calm says that nobody waits for the result. While all searches are calm,
	// packets are taken in a few at a time, each up to a fiftieth of a second
	// late: waking up costs more than all that is done with them.
	Calm bool

	// GetPeers.
	NoSeed      bool   // peers that are no seeds, if possible (BEP 33)
	Scrape      bool   // filters as well (BEP 33)
	Announce    bool   // tell the closest nodes that we have the torrent
	Port        uint16 // announced
	ImpliedPort bool   // the port that our packets come from counts instead
	Seed        bool   // we are a seed (BEP 33)

	// Peers hears of peers as they come, each once. The slice is valid during
	// the call.
	Peers func([]netip.AddrPort)

	// Get.
	Salt []byte // of the mutable item
	// Item hears of each item that is newer than the ones before and whose
	// signature, or hash, is right.
	Item func(Item)
	// Put is called when the closest nodes are known, with the newest item
	// found, nil if there is none. What it returns is stored there, unless nil.
	Put func(newest *Item) *Item

	// Samples hears of what each node tells (Sample). A node is not asked again
	// before its interval is over, whatever the target.
	Samples func(Samples)

	Trace func(lookup.Event)
	Done  func(Result) // called once, unless the search is cancelled
}

// Result is how a search ended.
type Result struct {
	Target  krpc.ID
	Err     error
	Closest []lookup.Found // that answered, the nearest first
	Stats   lookup.Stats
	Elapsed time.Duration
	Cached  bool // it began with the closest nodes of an earlier search
	Peers   int  // that were told of
	Item    *Item
	Bad     int   // replies whose item has a wrong signature, or is none
	Stored  int   // nodes that took the announce or the item
	Codes   []int // of errors by which others refused
	// Seeds and Leechers are estimates from filters, and Filters is from how
	// many nodes these came (BEP 33).
	Seeds, Leechers float64
	Filters         int
}

const (
	maxRunning  = 64                      // searches at once
	maxWaiting  = 1024                    // beyond
	patience    = 60 * time.Second        // for a first node, and for the whole of a search
	maxPeers    = 4096                    // of one search
	startNodes  = 32                      // that a search begins with
	maxCached   = 1 << 17                 // targets whose closest nodes are remembered
	resendAfter = 1500 * time.Millisecond // of an announce or a put
	writeTries  = 2
)

// searches are those under way and waiting.
type searches struct {
	running []*search
	waiting []*search
	memory  *lookup.Memory
}

// search is one under way.
type search struct {
	Search
	look    *lookup.Lookup
	asked   time.Time // of us
	began   time.Time
	next    time.Time // when it is to be driven
	over    bool
	writing bool
	blind   bool                            // it began when the table was empty
	parked  bool                            // nobody answered: it waits for a first node
	inner   bool                            // asked for by the table
	scraped bool                            // of what this node keeps
	byAddr  map[netip.AddrPort]*transaction // the latest to each address
	seen    map[netip.AddrPort]struct{}     // peers told of
	holders map[netip.AddrPort]int64        // sequence numbers of items, for cas
	writes  []write
	item    *Item // to be put
	seeds   store.Filter
	peers   store.Filter
	result  Result
}

// write is one announce_peer or put.
type write struct {
	to    lookup.Found
	sent  time.Time
	tries int
	done  bool
}

// remembered tells whether the closest nodes have something, so that it pays
// to know them the next time.
func (s *search) remembered() bool { return s.Kind == GetPeers || s.Kind == Get }

// next is when the first search is to be driven; zero if there is none.
func (ss *searches) next() (at time.Time) {
	for _, s := range ss.running {
		if at.IsZero() || s.next.Before(at) {
			at = s.next
		}
	}
	if len(ss.waiting) > 0 && len(ss.running) < maxRunning {
		if give := ss.waiting[0].asked.Add(patience); at.IsZero() || give.Before(at) {
			at = give
		}
	}
	return at
}

// Start begins a search with the next Tick and returns how to cancel it. The
// error is ErrBusy.
func (n *Node) Start(s Search, now time.Time) (cancel func(), err error) {
	if len(n.searches.waiting) >= maxWaiting {
		return nil, ErrBusy
	}
	run := &search{Search: s, asked: now}
	n.searches.waiting = append(n.searches.waiting, run)
	n.dueAt(now)
	return func() { run.over = true }, nil
}

// Calm reports whether nobody waits for anything: searches are under way, and
// all of them are calm.
func (n *Node) Calm() bool {
	calm := false
	for _, s := range n.searches.running {
		if !s.Calm && !s.inner {
			return false
		}
		calm = calm || s.Calm
	}
	for _, s := range n.searches.waiting {
		if !s.Calm {
			return false
		}
	}
	return calm
}

// Searches is the number of searches under way and waiting.
func (n *Node) Searches() (running, waiting int) {
	return len(n.searches.running), len(n.searches.waiting)
}

// runSearches begins what can begin, and drives what is due.
func (n *Node) runSearches(now time.Time) {
	ss := &n.searches
	ss.compact()
	for len(ss.waiting) > 0 && len(ss.running) < maxRunning {
		s := ss.waiting[0]
		ready := n.table.Len() > 0 || (len(n.boot.addrs) > 0 && !s.parked) || now.Sub(s.asked) >= patience
		if !s.over && !ready {
			break
		}
		ss.waiting[0] = nil
		ss.waiting = ss.waiting[1:]
		if !s.over {
			n.begin(s, now)
		}
	}
	for i := 0; i < len(ss.running); i++ {
		if s := ss.running[i]; !s.over && !now.Before(s.next) {
			n.drive(s, now)
		}
	}
}

// compact takes what is over out of the running searches.
func (ss *searches) compact() {
	kept := ss.running[:0]
	for _, s := range ss.running {
		switch {
		case s.over:
		case s.parked:
			ss.waiting = append(ss.waiting, s)
		default:
			kept = append(kept, s)
		}
	}
	clear(ss.running[len(kept):])
	ss.running = kept
}

// begin starts a search at once.
func (n *Node) begin(s *search, now time.Time) {
	s.began, s.next, s.parked = now, now, false
	s.blind = n.table.Len() == 0
	s.byAddr = make(map[netip.AddrPort]*transaction)
	s.result.Target = s.Target
	if s.Kind == Get {
		s.holders = make(map[netip.AddrPort]int64)
	}
	var start []lookup.Candidate
	var silence lookup.Silence
	if s.remembered() {
		start, silence, s.result.Cached = n.searches.memory.Recall(s.Target, now, nil)
	}
	n.scratch.known = n.table.Start(s.Target, startNodes, n.scratch.known[:0])
	for _, k := range n.scratch.known {
		start = append(start, lookup.Candidate{Node: k.Node, RTT: k.RTT, Live: k.Live})
	}
	if n.table.Len() < table.K {
		for _, addr := range n.boot.addrs {
			if !n.table.Has(addr) {
				start = append(start, lookup.Candidate{Node: contact.Node{Addr: addr}})
			}
		}
	}
	s.look = lookup.New(lookup.Config{
		Self: n.self, IPv6: n.cfg.IPv6, RTT: &n.rtt, Bits: n.table.Bits(), Trace: s.Trace,
		Refuse: func(c contact.Node) bool {
			return silence.Has(c.Addr) || n.table.Refuses(c, now) || (n.cfg.Refuse != nil && n.cfg.Refuse(c.Addr))
		},
		Hold: n.pace.due, Announce: s.Announce || s.Put != nil, Values: s.remembered(), Timeout: timeout,
	}, s.Target, start, now)
	n.searches.running = append(n.searches.running, s)
	n.stats.Searches++
	n.askSelf(s, now)
	n.drive(s, now)
}

// drive takes a search as far as it gets now.
func (n *Node) drive(s *search, now time.Time) {
	for !s.over && !s.writing && !s.parked {
		unsent := false
		n.scratch.queries, s.next = s.look.Next(now, n.scratch.queries[:0])
		for _, q := range n.scratch.queries {
			if !n.askFor(s, q.Node, now) {
				unsent = true
				s.look.OnError(q.Addr, now)
			}
		}
		if unsent {
			continue // each time round a candidate is gone
		}
		if !s.look.Done(now) && now.Sub(s.began) < patience {
			break
		}
		n.found(s, now)
	}
	if s.writing && !s.over {
		n.driveWrites(s, now)
	}
	n.dueAt(s.next)
}

// askFor sends one hop of a search.
func (n *Node) askFor(s *search, to contact.Node, now time.Time) bool {
	m := &n.scratch.out
	switch s.Kind {
	case FindNode:
		n.query(m, krpc.FindNode)
		m.SetTarget(s.Target)
		n.wantBoth(m)
	case GetPeers:
		n.query(m, krpc.GetPeers)
		m.SetInfoHash(s.Target)
		if s.NoSeed {
			m.SetNoSeed()
		}
		if s.Scrape {
			m.SetScrape()
		}
	case Get:
		n.query(m, krpc.Get)
		m.SetTarget(s.Target)
	case Sample:
		method := krpc.SampleInfohashes
		if n.sampled.has(to.Addr, now) {
			method = krpc.FindNode
		}
		n.query(m, method)
		m.SetTarget(s.Target)
	}
	return n.askAs(s, m, &transaction{to: to, purpose: forSearch, search: s}, now)
}

// askAs sends a query of a search. An earlier one to the same address may
// still be answered.
func (n *Node) askAs(s *search, m *krpc.Message, t *transaction, now time.Time) bool {
	if before := s.byAddr[t.to.Addr]; before != nil && !before.over {
		t.twin = before
	}
	if !n.ask(m, t, now) {
		return false
	}
	s.byAddr[t.to.Addr] = t
	return true
}

// searchReply takes a reply to a hop of a search.
func (n *Node) searchReply(t *transaction, m *krpc.Message, rtt time.Duration, now time.Time) {
	s := t.search
	if s.over || s.parked {
		return
	}
	var item *Item
	peers := n.scratch.peers[:0]
	switch s.Kind {
	case GetPeers:
		for addr := range m.Peers() {
			if contact.MayName(t.to.Addr, addr) && len(peers) < maxPeers {
				peers = append(peers, addr)
			}
		}
		n.scratch.peers = peers
	case Get:
		item = n.readItem(s, m, t.to.Addr)
	case Sample:
		n.readSamples(s, t, m, now)
	}
	if !s.writing && !s.look.OnReply(lookup.Reply{
		From: t.to.Addr, ID: m.ID, Nodes: n.readNodes(m), Token: m.Token, RTT: rtt,
		Values: len(peers) > 0 || item != nil,
	}, now) {
		n.drive(s, now)
		return
	}
	if len(peers) > 0 {
		n.tellPeers(s, peers)
	}
	if item != nil {
		n.tellItem(s, item)
		if !item.Mutable() && s.Put == nil {
			n.found(s, now) // it cannot be another one
			return
		}
	}
	if s.Scrape && m.Has&(krpc.HasBFsd|krpc.HasBFpe) != 0 {
		s.seeds.Add(m.BFsd)
		s.peers.Add(m.BFpe)
		s.result.Filters++
	}
	n.drive(s, now)
}

// tellPeers hands on those peers that are new.
func (n *Node) tellPeers(s *search, peers []netip.AddrPort) {
	if s.seen == nil {
		s.seen = make(map[netip.AddrPort]struct{}, len(peers))
	}
	fresh := peers[:0]
	for _, p := range peers {
		if _, known := s.seen[p]; !known && len(s.seen) < maxPeers {
			s.seen[p] = struct{}{}
			fresh = append(fresh, p)
		}
	}
	s.result.Peers = len(s.seen)
	if len(fresh) > 0 && s.Peers != nil {
		s.Peers(fresh)
	}
}

// found is the end of the search proper: the closest nodes are known. One that
// nobody answered, and that had none but bootstrap hosts to ask, goes round
// again when there is a node, which there may be by now.
func (n *Node) found(s *search, now time.Time) {
	if !s.inner && s.look.Stats().Replies == 0 && (s.blind || n.table.Len() == 0) && now.Sub(s.asked) < patience {
		s.parked = true
		n.dueAt(now)
		return
	}
	n.scratch.found = s.look.Closest(n.scratch.found[:0])
	s.result.Closest = append([]lookup.Found(nil), n.scratch.found...)
	s.result.Stats = s.look.Stats()
	if s.remembered() {
		n.searches.memory.Keep(s.look, now)
	}
	if s.result.Stats.Replies == 0 {
		s.result.Err = ErrNoNodes
	}
	switch {
	case s.Announce:
	case s.Put != nil:
		if s.item = s.Put(s.result.Item); s.item == nil {
			n.finish(s, now)
			return
		}
	default:
		if s.Kind == Get && s.result.Item == nil && s.result.Err == nil {
			s.result.Err = ErrNotFound
		}
		n.finish(s, now)
		return
	}
	s.writing = true
	for _, c := range s.result.Closest {
		if c.Token != "" {
			s.writes = append(s.writes, write{to: c})
		}
	}
}

// finish ends a search and tells its caller.
func (n *Node) finish(s *search, now time.Time) {
	s.over = true
	if len(n.searches.waiting) > 0 {
		n.dueAt(now)
	}
	s.result.Elapsed = now.Sub(s.began)
	s.result.Seeds, s.result.Leechers = s.seeds.Estimate(), s.peers.Estimate()
	if s.Done != nil {
		s.Done(s.result)
	}
}

// abort ends all searches with ErrClosed.
func (n *Node) abort(now time.Time) {
	all := append(n.searches.running, n.searches.waiting...)
	n.searches.running, n.searches.waiting = nil, nil
	for _, s := range all {
		if !s.over {
			s.result.Target, s.result.Err = s.Target, ErrClosed
			s.began = s.asked
			n.finish(s, now)
		}
	}
}
