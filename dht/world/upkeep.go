package world

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"btd/dht/contact"
)

// Decay is what became of a table when many nodes died at once.
type Decay struct {
	After  time.Duration // since they died
	Given  float64       // dead share of what can be handed out
	Places float64       // of all live places: suspects count
	Nodes  float64       // that can be handed out, as a share of those before
}

// decaySteps are when Upkeep looks.
var decaySteps = [...]time.Duration{time.Minute, 2 * time.Minute, 3 * time.Minute, 5 * time.Minute, 10 * time.Minute}

// Idle is the traffic of a table while nothing is searched for.
type Idle struct {
	Queries float64 // per second
	Bytes   float64 // per second, both ways, without the headers of UDP and IP
}

// Upkeep lets clients rest for an hour and looks at their traffic for two more.
// Then a share of all living nodes dies. Each value is the mean over clients;
// worst is that of the worst one after five minutes.
func Upkeep(cfg Config, clients int, share float64, seed uint64) (idle Idle, decay []Decay, worst float64) {
	decay = make([]Decay, len(decaySteps))
	each := 1 / float64(clients)
	for i := range clients {
		n := NewNetwork(cfg)
		sim := NewSim(n, seed+uint64(i))
		c := NewClient(sim, seed+uint64(i))
		sim.Run(sim.Now.Add(time.Hour), nil)
		queries, bytes := c.Queries, c.Bytes
		const rest = 2 * time.Hour
		sim.Run(sim.Now.Add(rest), nil)
		idle.Queries += each * float64(c.Queries-queries) / rest.Seconds()
		idle.Bytes += each * float64(c.Bytes-bytes) / rest.Seconds()

		before := float64(c.Table.Len())
		n.Kill(share)
		died := sim.Now
		for j, after := range decaySteps {
			sim.Run(died.Add(after), nil)
			given, places := c.deadShare()
			decay[j].After = after
			decay[j].Given += each * given
			decay[j].Places += each * places
			decay[j].Nodes += each * float64(c.Table.Len()) / before
			if after == 5*time.Minute {
				worst = max(worst, given)
			}
		}
	}
	return idle, decay, worst
}

// deadShare is how much of a client's table is dead: of what can be handed
// out, and of all live places.
func (c *Client) deadShare() (given, places float64) {
	good, dead, suspect, deadSuspect := 0, 0, 0, 0
	for n, ok := range c.Table.All() {
		d := c.sim.dead(n)
		switch {
		case ok && d:
			dead++
			good++
		case ok:
			good++
		case d:
			deadSuspect++
			suspect++
		default:
			suspect++
		}
	}
	return float64(dead) / float64(max(1, good)), float64(dead+deadSuspect) / float64(max(1, good+suspect))
}

func (s *Sim) dead(n contact.Node) bool {
	rank, ok := s.Net.At(n.Addr)
	return !ok || s.Net.Dead(rank)
}

// PrintUpkeep writes what Upkeep found.
func PrintUpkeep(w io.Writer, idle Idle, decay []Decay, worst float64) error {
	fmt.Fprintf(w, "idle: %.2f queries/s, %.0f B/s (without headers), %.0f B/s (with 28 bytes of UDP and IPv4 for each packet)\n",
		idle.Queries, idle.Bytes, idle.Bytes+2*28*idle.Queries)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "after they died\tdead of what is handed out\tdead of all places\tnodes left to hand out")
	for d := range slices.Values(decay) {
		fmt.Fprintf(tw, "%v\t%.1f %%\t%.1f %%\t%.0f %%\n", d.After, 100*d.Given, 100*d.Places, 100*d.Nodes)
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	_, err := fmt.Fprintf(w, "the worst table after 5 min: %.1f %%\n", 100*worst)
	return err
}
