package piece

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// node is one client of a simulated swarm where everybody is connected to
// everybody and nobody chokes.
type node struct {
	p     *Picker
	peers []*Peer   // as p sees the others, by number of node
	queue [][]Block // what the others requested from us, by number of node
	turn  int       // whom we serve next
	fresh int       // blocks that came in
	sent  int       // blocks that went out
	left  []int     // blocks missing, by piece
}

// sim is a swarm whose node 0 is the seed.
type sim struct {
	geo   Geometry
	nodes []*node
	depth int // requests that each keeps outstanding at each other
}

func newSim(g Geometry, leechers, depth int, seed uint64) *sim {
	s := &sim{geo: g, depth: depth}
	for k := range leechers + 1 {
		n := &node{p: NewPicker(g, rand.New(rand.NewPCG(seed, uint64(k))))}
		n.queue = make([][]Block, leechers+1)
		for j := range leechers + 1 {
			pr := n.p.Join()
			if j == 0 {
				f := NewBitfield(g.Pieces())
				f.Fill()
				n.p.PeerBitfield(pr, f)
			}
			n.peers = append(n.peers, pr)
		}
		n.p.Leave(n.peers[k]) // no connection to itself
		for i := range Index(g.Pieces()) {
			n.left = append(n.left, g.Blocks(i))
			if k == 0 {
				n.p.Passed(i)
			}
		}
		s.nodes = append(s.nodes, n)
	}
	return s
}

// request lets node k fill its queues at the others.
func (s *sim) request(k int) {
	n := s.nodes[k]
	for j, pr := range n.peers {
		if j != k {
			q := n.p.Pick(pr, s.depth-pr.Outstanding(), s.nodes[j].queue[k])
			s.nodes[j].queue[k] = n.p.Duplicate(pr, s.depth-pr.Outstanding(), alike, q)
		}
	}
}

// alike is what is expected of all.
func alike(*Peer) Pace { return Pace{Latency: time.Second, Each: time.Second} }

// serve lets node k send up to n blocks, one to each in turn.
func (s *sim) serve(k, n int) error {
	from := s.nodes[k]
	for idle := 0; n > 0 && idle < len(s.nodes); {
		to := from.turn % len(s.nodes)
		from.turn++
		if len(from.queue[to]) == 0 {
			idle++
			continue
		}
		b := from.queue[to][0]
		from.queue[to] = from.queue[to][1:]
		idle, n = 0, n-1
		from.sent++
		if err := s.deliver(k, to, b); err != nil {
			return err
		}
	}
	return nil
}

func (s *sim) deliver(k, to int, b Block) error {
	n := s.nodes[to]
	if !s.nodes[k].p.Have().Has(b.Piece) {
		return fmt.Errorf("node %d is asked for piece %d that it lacks", k, b.Piece)
	}
	fresh, cancel := n.p.Received(n.peers[k], b)
	if !fresh {
		return fmt.Errorf("node %d got %v twice in spite of cancels", to, b)
	}
	n.fresh++
	for _, pr := range cancel {
		at := slices.Index(n.peers, pr)
		q := s.nodes[at].queue[to]
		s.nodes[at].queue[to] = slices.Delete(q, slices.Index(q, b), slices.Index(q, b)+1)
	}
	if n.left[b.Piece]--; n.left[b.Piece] == 0 {
		n.p.Passed(b.Piece)
		for j, o := range s.nodes {
			if j != to {
				o.p.PeerHas(o.peers[to], b.Piece)
			}
		}
	}
	return nil
}

// run takes steps until everybody has everything. In a step every node may
// send rate blocks.
func (s *sim) run(rate, most int) (steps int, err error) {
	for step := range most {
		missing := 0
		for k, n := range s.nodes {
			missing += n.p.Missing()
			s.request(k)
		}
		if missing == 0 {
			return step, nil
		}
		for k := range s.nodes {
			if err := s.serve(k, rate); err != nil {
				return step, err
			}
		}
	}
	return most, fmt.Errorf("not done after %d steps", most)
}

// A seed and its leechers, all with the same upload: everybody gets all, no
// block twice, and the leechers get most of it from each other.
func TestSwarm(t *testing.T) {
	for _, tt := range []struct {
		name     string
		pieces   int64
		blocks   int64
		leechers int
		depth    int
		copies   float64 // that the seed may send; it does not idle before the end
	}{
		{"six leechers", 512, 16, 6, 16, 1.12},
		{"six leechers, long queues", 512, 16, 6, 64, 1.2},
		{"six leechers, large pieces", 128, 64, 6, 16, 1.2},
		{"six leechers, a fifth of it all requested at once", 512, 64, 6, 1000, 1.5},
		{"twenty leechers", 1000, 8, 20, 8, 1.17},
		{"pieces of one block", 4000, 1, 8, 8, 1.1},
		{"one leecher", 50, 8, 1, 8, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, err := NewGeometry(tt.pieces*tt.blocks*BlockSize-1000, tt.blocks*BlockSize)
			if err != nil {
				t.Fatal(err)
			}
			const rate = 4
			s := newSim(g, tt.leechers, tt.depth, 1)
			blocks := int(tt.pieces * tt.blocks)
			steps, err := s.run(rate, 20*blocks)
			if err != nil {
				t.Fatal(err)
			}
			for k, n := range s.nodes[1:] {
				if n.fresh != blocks {
					t.Errorf("leecher %d got %d blocks of %d", k, n.fresh, blocks)
				}
				if err := check(n.p); err != nil {
					t.Errorf("leecher %d: %v", k, err)
				}
			}
			copies := float64(s.nodes[0].sent) / float64(blocks)
			t.Logf("the seed sent %.2f copies in %d steps", copies, steps)
			if copies > tt.copies {
				t.Errorf("the seed sent %.2f copies, want at most %.2f", copies, tt.copies)
			}
		})
	}
}

// In sequential mode all want the same at the same time, and the seed has to
// send much of it to each; rarest first is what prevents that.
func TestRarestFirstSparesTheSeed(t *testing.T) {
	g, err := NewGeometry(200*4*BlockSize, 4*BlockSize)
	if err != nil {
		t.Fatal(err)
	}
	sent := map[bool]int{}
	for _, sequential := range []bool{false, true} {
		s := newSim(g, 10, 8, 3)
		for _, n := range s.nodes {
			n.p.SetSequential(sequential)
		}
		if _, err := s.run(4, 20000); err != nil {
			t.Fatal(err)
		}
		sent[sequential] = s.nodes[0].sent
	}
	if sent[true] < 2*sent[false] {
		t.Errorf("the seed sent %d blocks rarest first, %d in sequential mode", sent[false], sent[true])
	}
}

// Leechers that come later, slow ones that time out, and bad pieces.
func TestSwarmWithTrouble(t *testing.T) {
	g, err := NewGeometry(60*8*BlockSize-5, 8*BlockSize)
	if err != nil {
		t.Fatal(err)
	}
	s := newSim(g, 5, 8, 2)
	r := rand.New(rand.NewPCG(8, 8))
	for step := range 20000 {
		missing := 0
		for k, n := range s.nodes {
			missing += n.p.Missing()
			if step >= 100*(k-3) {
				s.request(k)
			}
		}
		if missing == 0 {
			return
		}
		for k, n := range s.nodes {
			for to := range n.queue {
				if r.IntN(20) == 0 { // all is rejected, as by a choke
					n.queue[to] = nil
					s.nodes[to].p.DroppedAll(s.nodes[to].peers[k])
				}
			}
			if err := s.serve(k, 1+k); err != nil {
				t.Fatal(err)
			}
			i := Index(r.IntN(g.Pieces()))
			if b := n.p.lookup(i); b != nil && r.IntN(10) == 0 {
				for j, pr := range n.peers { // what is requested of it is rejected, the rest was bad
					s.nodes[j].queue[k] = slices.DeleteFunc(s.nodes[j].queue[k], func(b Block) bool {
						if b.Piece == i {
							n.p.Dropped(pr, b)
						}
						return b.Piece == i
					})
				}
				n.p.Failed(i)
				n.left[i] = g.Blocks(i)
			}
			if err := check(n.p); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
		}
	}
	t.Error("not done after 20,000 steps")
}
