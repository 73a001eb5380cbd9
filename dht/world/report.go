package world

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
	"time"
)

// Hop is how deep searches go in a network of some size.
type Hop struct {
	Nodes        int
	Ours, Theirs float64 // queries one after another until the first values, the mean
}

// Hops measures networks of these sizes, with 30 % dead.
func Hops(sizes []int, p Plan) (all []Hop) {
	for _, size := range sizes {
		n := NewNetwork(Config{Nodes: size, Seed: p.Seed, Dead: 0.3})
		ours, theirs := Ours(n, "", p), Theirs(n, "", p)
		all = append(all, Hop{size, ours.MeanHops(), theirs.MeanHops()})
	}
	return all
}

// Report measures everything in a network of a size, and writes it as text.
func Report(w io.Writer, size string) error {
	nodes, err := strconv.Atoi(size)
	if err != nil {
		return fmt.Errorf("size of the network: %w", err)
	}
	p := Plan{Clients: 10, Lookups: 100, Settle: time.Hour, Pause: 10 * time.Second, Seed: 7}
	var rows []*Row
	for _, hostile := range []float64{0, 0.05} {
		for _, dead := range []float64{0, 0.3, 0.5} {
			name := fmt.Sprintf("%.0f %% dead", 100*dead)
			if hostile > 0 {
				name += ", 5 % hostile"
			}
			rows = append(rows, allRows(NewNetwork(Config{Nodes: nodes, Seed: 1, Dead: dead, Hostile: hostile}), name, p)...)
		}
	}
	rows = append(rows, Cold(Config{Nodes: nodes, Seed: 1}, "ours, saved table, 40 % dead since", p, 0.4))
	fmt.Fprintf(w, "%d nodes; of our node ten tables, each after an hour at rest\n", nodes)
	if err := Print(w, rows); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	fmt.Fprintln(w)
	for _, dead := range []float64{0, 0.3} {
		fmt.Fprintf(w, "upkeep of our table, %.0f %% dead at first, then 40 %% of the others die:\n", 100*dead)
		idle, decay, worst := Upkeep(Config{Nodes: nodes, Seed: 3, Dead: dead}, 10, 0.4, 9)
		if err := PrintUpkeep(w, idle, decay, worst); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	p.Clients = 5
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "nodes\tlog2\thops, library\thops, ours")
	for _, h := range Hops([]int{1000, 10_000, 100_000, 1_000_000}, p) {
		fmt.Fprintf(tw, "%d\t%.1f\t%.2f\t%.2f\n", h.Nodes, math.Log2(float64(h.Nodes)), h.Theirs, h.Ours)
	}
	return tw.Flush()
}

// allRows measures the library, our searches, our announces, and these again.
func allRows(n *Network, name string, p Plan) []*Row {
	rows := []*Row{Theirs(n, "library, "+name, p), Ours(n, "ours, "+name, p)}
	p.Announce = true
	rows = append(rows, Ours(n, "announce, "+name, p))
	p.Again, p.Lookups = true, 30
	return append(rows, Ours(n, "announce again, "+name, p))
}
