package world

import (
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

// Sizes on the wire, without the headers of UDP and IP: those of the packets
// that btd sends, and replies as most other programs make them.
const (
	pingSize     = 62
	pingReply    = 66
	findSize     = 99
	getSize      = 106
	replySize    = 71 // of find_node and get_peers, without nodes, token and values
	tokenSize    = 17
	nodesHead    = 11
	nodeSize     = 26
	valuesSize   = 10 + 5*8 // five peers
	givingUp     = 4 * time.Second
	largest      = 1500 // of the packets that are read whole; others are dropped
	announceSize = 140
)

// kind is that of a query.
type kind uint8

const (
	ping kind = iota
	findNode
	getPeers
)

// Reply is what a node answers.
type Reply struct {
	From   netip.AddrPort
	ID     krpc.ID
	Nodes  []contact.Node
	Token  []byte
	Values bool
	RTT    time.Duration
	Size   int // bytes
}

// Sim is a network in virtual time.
type Sim struct {
	Net *Network
	Now time.Time

	rng    *rand.Rand
	queue  queue
	number uint64
	ranks  []int // scratch
}

// NewSim begins a simulation.
func NewSim(n *Network, seed uint64) *Sim {
	return &Sim{Net: n, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), rng: rand.New(rand.NewPCG(seed, 2))}
}

// event is something that happens later.
type event struct {
	at     time.Time
	number uint64 // the order of those at the same time
	do     func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].number < q[j].number
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is of heap.Interface.
func (q *queue) Push(x any) { *q = append(*q, x.(event)) }

// Pop is of heap.Interface.
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// At makes something happen at a time, or now if that is past.
func (s *Sim) At(t time.Time, do func()) {
	if t.Before(s.Now) {
		t = s.Now
	}
	s.number++
	heap.Push(&s.queue, event{t, s.number, do})
}

// Run goes on until a time, or until stop says so.
func (s *Sim) Run(until time.Time, stop func() bool) {
	for len(s.queue) > 0 && !s.queue[0].at.After(until) {
		e := heap.Pop(&s.queue).(event)
		s.Now = e.at
		e.do()
		if stop != nil && stop() {
			return
		}
	}
	s.Now = until
}

// query asks the node at an address. One of both is called: answered when its
// reply comes, or lost after a time.
func (s *Sim) query(to netip.AddrPort, q kind, target krpc.ID, timeout time.Duration, answered func(Reply), lost func()) {
	rank, ok := s.Net.At(to)
	lucky := s.rng.Float64() >= s.Net.cfg.Loss
	jitter := 0.9 + 0.2*s.rng.Float64()
	if !ok || s.Net.Dead(rank) || !lucky {
		s.At(s.Now.Add(timeout), lost)
		return
	}
	rtt := time.Duration(float64(s.Net.RTT(rank)) * jitter)
	if rtt >= timeout {
		s.At(s.Now.Add(timeout), lost)
		return
	}
	s.At(s.Now.Add(rtt), func() {
		r := s.Net.answer(rank, q, target, &s.ranks)
		r.RTT = rtt
		answered(r)
	})
}

// answer is what the node of a rank answers.
func (n *Network) answer(rank int, q kind, target krpc.ID, scratch *[]int) Reply {
	self := n.Node(rank)
	r := Reply{From: self.Addr, ID: self.ID}
	if q != ping {
		key := contact.KeyOf(target).Hi
		*scratch = n.closestOf(n.ids[rank], key, k, (*scratch)[:0])
		for _, o := range *scratch {
			r.Nodes = append(r.Nodes, n.Node(o))
		}
		if q == getPeers {
			r.Token = []byte("8 bytes.")
			*scratch = n.Closest(key, k, false, (*scratch)[:0])
			for _, o := range *scratch {
				r.Values = r.Values || o == rank
			}
		}
	}
	if n.cfg.Hostile > 0 {
		n.deceive(rank, target, &r)
	}
	r.Size = r.size(q)
	return r
}

func (r *Reply) size(q kind) int {
	if q == ping {
		return pingReply
	}
	size := replySize
	if len(r.Nodes) > 0 {
		size += nodesHead + nodeSize*len(r.Nodes)
	}
	if len(r.Token) > 0 {
		size += tokenSize
	}
	if r.Values {
		size += valuesSize
	}
	return size
}

func querySize(q kind) int {
	return [...]int{pingSize, findSize, getSize}[q]
}
