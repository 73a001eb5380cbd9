package table

import (
	"iter"
	"slices"
	"time"

	"btd/dht/contact"
)

// BucketStats is what one bucket has.
type BucketStats struct {
	Bits    int           // that its nodes have in common with us
	Room    int           // live places
	Good    int           // live nodes that can be handed out
	Suspect int           // live nodes that missed a query
	Spare   int           // others, in reserve
	Secure  int           // of Good, those whose ids fit their addresses (BEP 42)
	RTT     time.Duration // median of Good
}

// Stats tells what each bucket has, up to the last that has anything.
func (t *Table) Stats() []BucketStats {
	var all []BucketStats
	for i := range t.deepest + 1 {
		b := &t.buckets[i]
		s := BucketStats{Bits: i, Room: capacity(i), Spare: len(b.spare)}
		var rtts []time.Duration
		for _, e := range b.live {
			if e.fails > 0 {
				s.Suspect++
				continue
			}
			s.Good++
			rtts = append(rtts, e.rtt)
			if e.secure {
				s.Secure++
			}
		}
		if len(rtts) > 0 {
			slices.Sort(rtts)
			s.RTT = rtts[len(rtts)/2]
		}
		all = append(all, s)
	}
	return all
}

// All ranges over the nodes in live places, with whether each can be handed
// out.
func (t *Table) All() iter.Seq2[contact.Node, bool] {
	return func(yield func(contact.Node, bool) bool) {
		for i := range t.deepest + 1 {
			for _, e := range t.buckets[i].live {
				if !yield(e.node, e.fails == 0) {
					return
				}
			}
		}
	}
}
