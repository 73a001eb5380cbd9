package world

import (
	"os"
	"slices"
	"testing"
	"time"
)

// plan is that of the small world: what holds here must hold with a margin,
// since ten thousand nodes are two thirds as deep as a million.
func plan() Plan {
	return Plan{Clients: 5, Lookups: 100, Settle: time.Hour, Pause: 10 * time.Second, Seed: 7}
}

func atMost[T int | time.Duration | float64](t *testing.T, row *Row, what string, got, most T) {
	t.Helper()
	if got > most {
		t.Errorf("%s: %s is %v, at most %v is right", row.Name, what, got, most)
	}
}

const ms = time.Millisecond

// TestGoals has the goals of docs/performance.md for a million nodes, times
// taken by a third.
func TestGoals(t *testing.T) {
	t.Parallel()
	p := plan()
	n := NewNetwork(Config{Seed: 1, Dead: 0.3})
	row := Ours(n, "30 % dead", p)
	atMost(t, row, "first p50", Quantile(row.First, 0.5), 200*ms)
	atMost(t, row, "first p99", Quantile(row.First, 0.99), 333*ms)
	atMost(t, row, "complete p50", Quantile(row.Complete, 0.5), 650*ms)
	atMost(t, row, "complete p99", Quantile(row.Complete, 0.99), 1150*ms)
	atMost(t, row, "missed", row.Missed, 0)
	atMost(t, row, "queries p50", Quantile(row.Queries, 0.5), 33)
	atMost(t, row, "queries p99", Quantile(row.Queries, 0.99), 45)
	atMost(t, row, "bytes p50", Quantile(row.Bytes, 0.5), 10_000)
	atMost(t, row, "closest not found", 1-row.True8(), 0.06)

	p.Announce = true
	row = Ours(n, "30 % dead, announce", p)
	atMost(t, row, "closest not found", 1-row.True8(), 0.03)
	p.Again = true
	p.Lookups = 60
	row = Ours(n, "30 % dead, announce again", p)
	atMost(t, row, "queries p50", Quantile(row.Queries, 0.5), 9)
	atMost(t, row, "queries p99", Quantile(row.Queries, 0.99), 12)
	atMost(t, row, "closest not found", 1-row.True8(), 0.03)
	p = plan()
	row = Ours(NewNetwork(Config{Seed: 1, Dead: 0.5}), "50 % dead", p)
	atMost(t, row, "first p50", Quantile(row.First, 0.5), 233*ms)
	atMost(t, row, "first p99", Quantile(row.First, 0.99), 467*ms)
	atMost(t, row, "missed", row.Missed, 1)
}

func TestColdStart(t *testing.T) {
	t.Parallel()
	p := plan()
	p.Clients, p.Lookups = 3, 60
	row := Cold(Config{Seed: 1}, "saved table, 40 % dead since", p, 0.4)
	atMost(t, row, "first p99", Quantile(row.First, 0.99), 667*ms)
	atMost(t, row, "missed", row.Missed, 0)
}

// TestHostile compares a network in which one in twenty lies with one in which
// nobody does.
func TestHostile(t *testing.T) {
	t.Parallel()
	for _, dead := range []float64{0.3, 0.5} {
		p := plan()
		was := Ours(NewNetwork(Config{Seed: 1, Dead: dead}), "honest", p)
		row := Ours(NewNetwork(Config{Seed: 1, Dead: dead, Hostile: 0.05}), "hostile", p)
		for _, q := range []float64{0.5, 0.99} {
			// Nobody is refused on the word of others, so that those whom
			// accomplices name wrongly are asked again under their own ids.
			atMost(t, row, "first", Quantile(row.First, q), Quantile(was.First, q)*27/20)
			atMost(t, row, "complete", Quantile(row.Complete, q), Quantile(was.Complete, q)*13/10)
			atMost(t, row, "queries", Quantile(row.Queries, q), Quantile(was.Queries, q)*13/10)
			atMost(t, row, "bytes", Quantile(row.Bytes, q), Quantile(was.Bytes, q)*13/10)
		}
		atMost(t, row, "closest found, times less", was.True8()/row.True8(), 1.3)
		atMost(t, row, "missed", row.Missed, 1)
	}
}

// TestLibraryIsSlowerThroughDeadNodes keeps the comparison honest: the model
// must show what was measured of the library.
func TestLibraryIsSlowerThroughDeadNodes(t *testing.T) {
	t.Parallel()
	p := plan()
	row := Theirs(NewNetwork(Config{Seed: 1, Dead: 0.3}), "library", p)
	if first := Quantile(row.First, 0.99); first < 2*time.Second || first > 8*time.Second {
		t.Errorf("first p99 is %v", first)
	}
	if q := Quantile(row.Queries, 0.5); q < 12 || q > 25 || row.True8() < 0.85 {
		t.Errorf("%d queries, %v of the closest", q, row.True8())
	}
}

func TestDeadNodesLeaveTheTable(t *testing.T) {
	t.Parallel()
	for _, dead := range []float64{0, 0.3} {
		idle, decay, worst := Upkeep(Config{Seed: 3, Dead: dead}, 5, 0.4, 9)
		if idle.Queries > 0.3 || idle.Bytes > 130 {
			t.Errorf("idle: %.2f queries/s, %.0f B/s", idle.Queries, idle.Bytes)
		}
		at := decay[slices.IndexFunc(decay, func(d Decay) bool { return d.After == 5*time.Minute })]
		if at.Given > 0.03 || worst > 0.05 {
			t.Errorf("after 5 minutes %.1f %% of what is handed out is dead, %.1f %% in the worst table", 100*at.Given, 100*worst)
		}
		if last := decay[len(decay)-1]; last.Nodes < 0.8 || last.Places > 0.02 {
			t.Errorf("after 10 minutes %.0f %% of the nodes are left, and %.1f %% are dead", 100*last.Nodes, 100*last.Places)
		}
	}
}

func TestSameSeedSameRun(t *testing.T) {
	t.Parallel()
	run := func() *Row {
		return Ours(NewNetwork(Config{Nodes: 2000, Seed: 5, Dead: 0.2, Hostile: 0.05}), "", Plan{
			Clients: 1, Lookups: 30, Settle: 10 * time.Minute, Pause: time.Second, Seed: 1,
		})
	}
	a, b := run(), run()
	if !slices.Equal(a.Complete, b.Complete) || !slices.Equal(a.Queries, b.Queries) || a.Found != b.Found {
		t.Error("two runs with the same seeds differ")
	}
}

// TestHopsGrowWithTheLogarithm wants as many more hops from 10,000 to 100,000
// nodes as from 1,000 to 10,000, more or less.
func TestHopsGrowWithTheLogarithm(t *testing.T) {
	t.Parallel()
	p := plan()
	p.Clients, p.Lookups = 3, 60
	hops := Hops([]int{1000, 10_000, 100_000}, p)
	a, b := hops[1].Ours-hops[0].Ours, hops[2].Ours-hops[1].Ours
	if a < 0.2 || a > 1.5 || b < 0.2 || b > 1.5 || b > 2.5*a || a > 2.5*b {
		t.Errorf("%+v", hops)
	}
}

// TestPrintAll prints the tables of docs/performance.md. It runs if
// WORLD_NODES says how large the world is to be (make world).
func TestPrintAll(t *testing.T) {
	size := os.Getenv("WORLD_NODES")
	if size == "" {
		t.Skip("WORLD_NODES is not set")
	}
	if err := Report(os.Stdout, size); err != nil {
		t.Fatal(err)
	}
}
