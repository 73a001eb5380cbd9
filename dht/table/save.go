package table

import (
	"slices"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

// MaxSaved is the most nodes that Save gives.
const MaxSaved = 300

// Saved is a node to be remembered until the next run.
type Saved struct {
	contact.Node
	RTT      time.Duration // smoothed; 0 if unknown
	Answered time.Time     // last
}

// Save gives up to MaxSaved nodes that can be handed out, the best first: of
// each bucket the quickest, so that what is cut off are the slow ones of the
// large buckets.
func (t *Table) Save() []Saved {
	type ranked struct {
		rank int
		e    *entry
	}
	var all []ranked
	for i := range t.deepest + 1 {
		byRTT := slices.Clone(t.buckets[i].live)
		slices.SortFunc(byRTT, func(a, b *entry) int { return int(a.rtt - b.rtt) })
		for rank, e := range byRTT {
			if e.fails == 0 {
				all = append(all, ranked{rank, e})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return a.rank - b.rank })
	var saved []Saved
	for _, r := range all[:min(len(all), MaxSaved)] {
		saved = append(saved, Saved{r.e.node, r.e.rtt, r.e.answered})
	}
	return saved
}

// Restore takes what Save gave in an earlier run. The nodes are not handed out
// before they answer again; Upkeep asks them first, in this order, and Start
// falls back on them.
func (t *Table) Restore(saved []Saved, now time.Time) {
	for _, s := range saved[:min(len(saved), MaxSaved)] {
		if t.byAddr[s.Addr] != nil {
			continue
		}
		e := t.admit(s.Node, now)
		if e == nil {
			continue
		}
		e.restored, e.rtt, e.answered = true, max(s.RTT, 0), s.Answered
		t.keeper.restored = append(t.keeper.restored, s.Addr)
	}
}

// Rehome gives the table another id of our own (BEP 42: our address turned out
// to be another one). Nodes stay as far as the new buckets have room.
func (t *Table) Rehome(self krpc.ID, now time.Time) {
	var all []*entry
	for i := range t.deepest + 1 {
		all = append(append(all, t.buckets[i].live...), t.buckets[i].spare...)
	}
	// The live ones first, of those the quick ones.
	slices.SortStableFunc(all, func(a, b *entry) int {
		if a.live != b.live {
			if a.live {
				return -1
			}
			return 1
		}
		return int(a.rtt - b.rtt)
	})
	t.self = contact.KeyOf(self)
	clear(t.buckets[:])
	clear(t.byAddr)
	clear(t.byHost)
	clear(t.networks)
	t.live, t.good, t.deepest = 0, 0, 0
	for _, old := range all {
		e := t.admit(old.node, now)
		if e == nil {
			continue
		}
		bucket, group := e.bucket, e.group
		*e = *old
		e.bucket, e.group, e.live, e.probing = bucket, group, false, false
		if e.proven() && e.fails == 0 && len(t.buckets[bucket].live) < capacity(int(bucket)) && t.fits(e, nil) {
			t.settle(e, now)
		}
	}
	t.keeper.searched = time.Time{}
	t.keeper.began = now
}
