package world

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"text/tabwriter"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
	"btd/dht/table"
)

// Outcome is what one search came to.
type Outcome struct {
	Target   krpc.ID
	First    time.Duration // until the first values; 0 if there were none
	Complete time.Duration
	Queries  int
	Bytes    int // both ways
	Hops     int // that led to the first values
	Closest  []contact.Node
}

// Row is what many searches came to.
type Row struct {
	Name     string
	Lookups  int
	Nowhere  int // all holders are dead
	Missed   int // without values though a holder lives
	First    []time.Duration
	Complete []time.Duration
	Queries  []int
	Bytes    []int
	Hops     int // sum
	Found    int // of the true closest living nodes
	Wanted   int
}

// add counts one search.
func (r *Row) add(n *Network, o Outcome) {
	r.Lookups++
	target := contact.KeyOf(o.Target).Hi
	holder := false
	for _, rank := range n.Closest(target, k, false, nil) {
		holder = holder || !n.Dead(rank) && !n.Hostile(rank)
	}
	switch {
	case o.First > 0:
		r.First = append(r.First, o.First)
		r.Hops += o.Hops
	case holder:
		r.Missed++
	default:
		r.Nowhere++
	}
	r.Complete = append(r.Complete, o.Complete)
	r.Queries = append(r.Queries, o.Queries)
	r.Bytes = append(r.Bytes, o.Bytes)
	for _, rank := range n.Closest(target, k, true, nil) {
		r.Wanted++
		if slices.Contains(o.Closest, n.Node(rank)) {
			r.Found++
		}
	}
}

// Quantile is the value that a share q of all are at most.
func Quantile[T int | time.Duration](all []T, q float64) T {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// True8 is the share of the true closest living nodes that were found.
func (r *Row) True8() float64 { return float64(r.Found) / float64(max(1, r.Wanted)) }

// MeanHops is the mean number of queries one after another until the first
// values.
func (r *Row) MeanHops() float64 { return float64(r.Hops) / float64(max(1, len(r.First))) }

// Print writes rows as a table.
func Print(w io.Writer, rows []*Row) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\tlookups\tfirst p50/p90/p99\tcomplete p50/p99\tmissed\ttrue 8\tqueries p50/p99\tKB p50/p99\thops")
	for _, r := range rows {
		fmt.Fprintf(tw, "%s\t%d\t%.2f / %.2f / %.2f s\t%.2f / %.2f s\t%d\t%.3f\t%d / %d\t%.1f / %.1f\t%.2f\n",
			r.Name, r.Lookups,
			Quantile(r.First, 0.5).Seconds(), Quantile(r.First, 0.9).Seconds(), Quantile(r.First, 0.99).Seconds(),
			Quantile(r.Complete, 0.5).Seconds(), Quantile(r.Complete, 0.99).Seconds(),
			r.Missed, r.True8(), Quantile(r.Queries, 0.5), Quantile(r.Queries, 0.99),
			float64(Quantile(r.Bytes, 0.5))/1000, float64(Quantile(r.Bytes, 0.99))/1000, r.MeanHops())
	}
	return tw.Flush()
}

// Plan is how a row is measured.
type Plan struct {
	Clients  int           // each with a table of its own
	Lookups  int           // of each client
	Settle   time.Duration // from a client's start to its first search
	Pause    time.Duration // between searches
	Announce bool
	Again    bool // measure the second search for each, ten minutes after the first
	Seed     uint64
}

func (p Plan) targets(client int) *rand.Rand {
	return rand.New(rand.NewPCG(p.Seed, uint64(client)+100))
}

func randomID(rng *rand.Rand) krpc.ID {
	return contact.Key{Hi: rng.Uint64(), Mid: rng.Uint64(), Lo: rng.Uint32()}.ID()
}

// Ours measures our node.
func Ours(n *Network, name string, p Plan) *Row {
	row := &Row{Name: name}
	for i := range p.Clients {
		sim := NewSim(n, p.Seed+uint64(i))
		c := NewClient(sim, p.Seed+uint64(i))
		sim.Run(sim.Now.Add(p.Settle), nil)
		targets := p.targets(i)
		for range p.Lookups {
			target := randomID(targets)
			out := c.Lookup(target, p.Announce)
			if p.Again {
				sim.Run(sim.Now.Add(10*time.Minute), nil)
				out = c.Lookup(target, p.Announce)
			}
			row.add(n, out)
			sim.Run(sim.Now.Add(p.Pause), nil)
		}
	}
	return row
}

// Cold measures the first search after a start with a saved table, of whose
// nodes a share died since, and without any bootstrap host.
func Cold(cfg Config, name string, p Plan, share float64) *Row {
	row := &Row{Name: name}
	n := NewNetwork(cfg)
	var saved [][]table.Saved
	for i := range p.Clients {
		sim := NewSim(n, p.Seed+uint64(i))
		c := NewClient(sim, p.Seed+uint64(i))
		sim.Run(sim.Now.Add(p.Settle), nil)
		saved = append(saved, c.Table.Save())
	}
	n.Kill(share)
	for i := range p.Clients {
		targets := p.targets(i)
		for j := range p.Lookups {
			sim := NewSim(n, p.Seed+uint64(i*p.Lookups+j))
			c := RestoredClient(sim, p.Seed+uint64(i), saved[i])
			row.add(n, c.Lookup(randomID(targets), false))
		}
	}
	return row
}

// Theirs measures the library's rules.
func Theirs(n *Network, name string, p Plan) *Row {
	row := &Row{Name: name}
	for i := range p.Clients {
		sim := NewSim(n, p.Seed+uint64(i))
		l := NewLibrary(sim, p.Seed+uint64(i))
		targets := p.targets(i)
		for range p.Lookups {
			row.add(n, l.Lookup(randomID(targets)))
		}
	}
	return row
}
