package table

import (
	"net/netip"
	"time"

	"btd/dht/contact"
	"btd/dht/krpc"
)

// What upkeep keeps to.
const (
	startRate   = 10 // queries per second to nodes of an earlier run, and just after the first answer
	starting    = 30 * time.Second
	settling    = 10 * time.Minute // how long after the start the table may fill at Config.Busy
	selfSearch  = 30 * time.Minute // between searches for ourselves
	retryAfter  = 5 * time.Second  // from the first miss to the second query
	freshSmall  = 13 * time.Minute // a node of a small bucket is asked again: BEP 5 calls it good for 15 min
	freshLarge  = 26 * time.Minute // the same for large buckets, of which there is always another to hand out
	reaskSpare  = 10 * time.Minute
	hurryAfter  = 3   // queries sent sooner after one was lost
	doubtAfter  = 4   // queries without an answer before the link is tried
	early       = 0.1 // of the time after which a node is asked again: before it is due
	longStreak  = 15  // answers in a row: then all is well
	window      = 10  // queries that say whether many nodes are dead
	dryAfter    = 5   // replies in a row that name nobody new: there are no more nodes
	improveEach = 3   // of this many queries, one looks for something better
)

// Kind is what Upkeep asks for.
type Kind uint8

// The kinds of actions.
const (
	None     Kind = iota // nothing now
	Ping                 // send a ping to Node
	FindNode             // send find_node for Target to Node, and call Named with the nodes in the reply
	Search               // run a search for Target, to the end
)

// Action is what Upkeep asks for.
type Action struct {
	Kind   Kind
	Node   contact.Node
	Target krpc.ID
}

// keeper is the state of upkeep.
type keeper struct {
	began    time.Time // when the first node answered; zero before
	searched time.Time // for ourselves, last
	next     time.Time // query, not before
	turn     int
	results  [window]bool // of queries to nodes that were good: whether they failed
	counted  int
	streak   int              // answers in a row
	turned   time.Time        // when a long streak ended
	hurry    int              // queries to be sent sooner, to see whether more are dead
	sweep    time.Time        // when all live nodes began to be asked, since many are dead; zero if not
	before   int              // good nodes when the sweep began
	restored []netip.AddrPort // to be asked, the best first
}

// Upkeep says what to ask next, or None, and when to call again. The budget is
// Config.Idle. It is Config.Busy for ten minutes while the table fills, while
// Failing is true, and for three queries after one was lost; nodes of an earlier
// run, and any for half a minute after the first answer, are asked ten times a
// second. A Search for our own id is due when the first node has answered, after
// Rehome, and each half an hour.
func (t *Table) Upkeep(now time.Time) (Action, time.Time) {
	k := &t.keeper
	if t.good > 0 && (k.searched.IsZero() || now.Sub(k.searched) >= selfSearch) {
		k.searched = now
		return Action{Kind: Search, Target: t.self.ID()}, now
	}
	if now.Before(k.next) {
		return Action{}, k.next
	}
	if e := t.nextRestored(); e != nil {
		k.next = now.Add(time.Second / startRate)
		return t.probe(e, now), k.next
	}
	t.alarm(now)
	age := now.Sub(k.began)
	filling := !k.began.IsZero() && age < settling && !t.LinkDown()
	rate := t.cfg.Idle
	switch {
	case filling && age < starting:
		rate = startRate
	case t.LinkDown():
	case filling || t.Failing() || k.hurry > 0:
		rate = t.cfg.Busy
	}
	pause := time.Duration(float64(time.Second) / rate)
	a := t.choose(now, filling)
	if a.Kind == None {
		k.next = now.Add(min(pause, time.Second*5))
		return a, k.next
	}
	k.turn++
	k.hurry = max(0, k.hurry-1)
	k.next = now.Add(pause)
	return a, k.next
}

// nextRestored is the node of an earlier run that is to be asked next.
func (t *Table) nextRestored() *entry {
	k := &t.keeper
	for len(k.restored) > 0 {
		e := t.byAddr[k.restored[0]]
		k.restored = k.restored[1:]
		if e != nil && e.restored {
			return e
		}
	}
	k.restored = nil
	return nil
}
