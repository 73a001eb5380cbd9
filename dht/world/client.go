package world

import (
	"math/rand/v2"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
	"btd/dht/lookup"
	"btd/dht/table"
)

// Client is a node of ours: the real routing table and the real searches,
// driven by the simulated network.
type Client struct {
	sim    *Sim
	Table  *table.Table
	rtt    lookup.RTT
	cfg    lookup.Config
	memory *lookup.Memory
	closed bool

	Queries int // of upkeep and searches of the table
	Bytes   int // of these, both ways
}

// NewClient starts a client. It bootstraps from some random living nodes, and
// keeps its table from then on.
func NewClient(s *Sim, seed uint64) *Client {
	c, rng := newClient(s, seed)
	var hosts []lookup.Candidate
	for len(hosts) < 3 {
		r := rng.IntN(len(s.Net.ids))
		if !s.Net.Dead(r) && !s.Net.Hostile(r) {
			hosts = append(hosts, lookup.Candidate{Node: contact.Node{Addr: s.Net.Node(r).Addr}})
		}
	}
	c.search(c.cfg.Self, findNode, c.cfg, hosts, nil, nil)
	c.upkeep()
	return c
}

// RestoredClient starts a client with nothing but what another with the same
// seed saved.
func RestoredClient(s *Sim, seed uint64, saved []table.Saved) *Client {
	c, _ := newClient(s, seed)
	c.Table.Restore(saved, s.Now)
	c.upkeep()
	return c
}

func newClient(s *Sim, seed uint64) (*Client, *rand.Rand) {
	rng := rand.New(rand.NewPCG(seed, 3))
	self := randomID(rng)
	c := &Client{sim: s, Table: table.New(table.Config{}, self, rng, s.Now)}
	c.cfg = lookup.Config{Self: self, RTT: &c.rtt}
	c.memory = lookup.NewMemory(10_000, false, rng)
	return c, rng
}

// Close ends upkeep.
func (c *Client) Close() { c.closed = true }

// upkeep does what the table wants done, for ever.
func (c *Client) upkeep() {
	if c.closed {
		return
	}
	a, next := c.Table.Upkeep(c.sim.Now)
	switch a.Kind {
	case table.Search:
		c.search(a.Target, findNode, c.cfg, nil, nil, nil)
	case table.Ping, table.FindNode:
		q := ping
		if a.Kind == table.FindNode {
			q = findNode
		}
		c.count(querySize(q))
		c.query(a.Node, q, a.Target, func(r Reply) {
			c.Bytes += r.Size
			c.Table.Named(r.From, r.Nodes, c.sim.Now)
		}, func() {})
	}
	c.sim.At(next, c.upkeep)
}

func (c *Client) count(bytes int) {
	c.Queries++
	c.Bytes += bytes
}

// query asks a node, and tells the table how that ended.
func (c *Client) query(to contact.Node, q kind, target krpc.ID, answered func(Reply), lost func()) {
	c.sim.query(to.Addr, q, target, givingUp, func(r Reply) {
		if r.Size > largest {
			c.Bytes += r.Size
			c.sim.At(c.sim.Now.Add(givingUp-r.RTT), func() {
				c.Table.TimedOut(to.Addr, c.sim.Now)
				lost()
			})
			return
		}
		c.Table.Answered(to, r.ID, r.RTT, c.sim.Now)
		answered(r)
	}, func() {
		c.Table.TimedOut(to.Addr, c.sim.Now)
		lost()
	})
}

// search runs a search. Its traffic is counted in out, or as the table's if
// that is nil. done is called when it is over.
func (c *Client) search(target krpc.ID, q kind, cfg lookup.Config, start []lookup.Candidate, out *Outcome, done func(*lookup.Lookup)) {
	for _, s := range c.Table.Start(target, 32, nil) {
		start = append(start, lookup.Candidate{Node: s.Node, RTT: s.RTT, Live: s.Live})
	}
	l := lookup.New(cfg, target, start, c.sim.Now)
	over := false
	var wakeAt time.Time
	var step func()
	queries := []lookup.Query(nil)
	step = func() {
		if over {
			return
		}
		var wake time.Time
		queries, wake = l.Next(c.sim.Now, queries[:0])
		for _, x := range queries {
			if out == nil {
				c.count(querySize(q))
			} else {
				out.Queries++
				out.Bytes += querySize(q)
			}
			c.query(x.Node, q, target, func(r Reply) {
				if out == nil {
					c.Bytes += r.Size
				} else if !over {
					out.Bytes += r.Size
				}
				l.OnReply(lookup.Reply{From: r.From, ID: r.ID, Nodes: r.Nodes, Token: r.Token, Values: r.Values, RTT: r.RTT}, c.sim.Now)
				step()
			}, step)
		}
		if l.Done(c.sim.Now) {
			over = true
			if done != nil {
				done(l)
			}
			return
		}
		if !wake.Equal(wakeAt) {
			wakeAt = wake
			c.sim.At(wake, step)
		}
	}
	step()
}

// Lookup searches for who has something, and waits for the end. It remembers
// who was closest in an earlier search for the same.
func (c *Client) Lookup(target krpc.ID, announce bool) Outcome {
	out := Outcome{Target: target}
	cfg := c.cfg
	cfg.Announce, cfg.Values = announce, true
	cfg.Bits = c.Table.Bits()
	start, silence, _ := c.memory.Recall(target, c.sim.Now, nil)
	cfg.Refuse = func(n contact.Node) bool { return silence.Has(n.Addr) || c.Table.Refuses(n, c.sim.Now) }
	began, over := c.sim.Now, false
	c.search(target, getPeers, cfg, start, &out, func(l *lookup.Lookup) {
		over = true
		out.Complete = c.sim.Now.Sub(began)
		st := l.Stats()
		out.First, out.Hops = st.FirstAt, st.Hops
		for _, f := range l.Closest(nil) {
			out.Closest = append(out.Closest, f.Node)
		}
		c.memory.Keep(l, c.sim.Now)
	})
	c.sim.Run(began.Add(10*time.Minute), func() bool { return over })
	return out
}
