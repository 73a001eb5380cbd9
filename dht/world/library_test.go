package world

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"

	k_nearest_nodes "github.com/anacrolix/dht/v2/k-nearest-nodes"

	dk "github.com/anacrolix/dht/v2/krpc"
	"github.com/anacrolix/dht/v2/traversal"
	"github.com/anacrolix/dht/v2/types"
)

// TestModelOfTheLibrary runs the library's own traversal through the same
// network and compares.
func TestModelOfTheLibrary(t *testing.T) {
	for _, dead := range []float64{0, 0.3} {
		n := NewNetwork(Config{Nodes: 20_000, Seed: 1, Dead: dead})
		p := Plan{Clients: 4, Lookups: 60, Seed: 7}
		model, real := Theirs(n, "model", p), &Row{Name: "library"}
		for i := range p.Clients {
			sim := NewSim(n, p.Seed+uint64(i))
			lib := NewLibrary(sim, p.Seed+uint64(i))
			targets := p.targets(i)
			for range p.Lookups {
				target := randomID(targets)
				synctest.Test(t, func(*testing.T) { real.add(n, realLookup(n, lib, target, sim.rng)) })
			}
		}
		for what, pair := range map[string][2]float64{
			"first p25":    {Quantile(model.First, 0.25).Seconds(), Quantile(real.First, 0.25).Seconds()},
			"complete p50": {Quantile(model.Complete, 0.5).Seconds(), Quantile(real.Complete, 0.5).Seconds()},
			"queries p50":  {float64(Quantile(model.Queries, 0.5)), float64(Quantile(real.Queries, 0.5))},
			"true 8":       {model.True8(), real.True8()},
		} {
			if d := pair[0] / pair[1]; d < 0.85 || d > 1.15 {
				t.Errorf("%.0f %% dead: %s is %.3f in the model, %.3f in the library", 100*dead, what, pair[0], pair[1])
			}
		}
	}
}

// realLookup is one search of the library in virtual time.
func realLookup(n *Network, lib *Library, target krpc.ID, rng *rand.Rand) Outcome {
	out := Outcome{Target: target}
	began := time.Now()
	var mu sync.Mutex
	var scratch []int
	op := traversal.Start(traversal.OperationInput{
		Target: target.AsByteArray(),
		DoQuery: func(ctx context.Context, a dk.NodeAddr) (res traversal.QueryResult) {
			addr := a.ToNodeAddrPort().AddrPort
			mu.Lock()
			out.Queries++
			out.Bytes += querySize(getPeers)
			rank, ok := n.At(netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()))
			lucky := rng.Float64() >= n.cfg.Loss
			jitter := 0.9 + 0.2*rng.Float64()
			mu.Unlock()
			if !ok || n.Dead(rank) || !lucky {
				time.Sleep(libraryTimeout)
				return
			}
			rtt := time.Duration(float64(n.RTT(rank)) * jitter)
			if rtt >= libraryTimeout {
				time.Sleep(libraryTimeout)
				return
			}
			time.Sleep(rtt)
			mu.Lock()
			defer mu.Unlock()
			r := n.answer(rank, getPeers, target, &scratch)
			out.Bytes += r.Size
			if r.Values && out.First == 0 {
				out.First = time.Since(began)
			}
			info := func(c contact.Node) dk.NodeInfo {
				return dk.NodeInfo{ID: c.ID.AsByteArray(), Addr: dk.NodeAddrPort{AddrPort: c.Addr}.ToNodeAddr()}
			}
			self := info(n.Node(rank))
			res.ResponseFrom, res.ClosestData = &self, "token"
			for _, c := range r.Nodes {
				res.Nodes = append(res.Nodes, info(c))
			}
			return
		},
	})
	var start []types.AddrMaybeId
	for _, c := range lib.start {
		var ami types.AddrMaybeId
		ami.FromNodeInfo(dk.NodeInfo{ID: c.ID.AsByteArray(), Addr: dk.NodeAddrPort{AddrPort: c.Addr}.ToNodeAddr()})
		start = append(start, ami)
	}
	op.AddNodes(start)
	<-op.Stalled()
	out.Complete = time.Since(began)
	op.Stop()
	<-op.Stopped()
	op.Closest().Range(func(e k_nearest_nodes.Elem) {
		a := e.Addr.AddrPort
		out.Closest = append(out.Closest, contact.Node{ID: e.ID.Int160(), Addr: netip.AddrPortFrom(a.Addr().Unmap(), a.Port())})
	})
	return out
}
