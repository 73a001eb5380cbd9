package dht

import (
	"net/netip"
	"time"

	"btd/dht/krpc"
)

// Count is of one kind of query.
type Count struct{ In, Out int64 }

// Traffic is what went over the wire.
type Traffic struct {
	PacketsIn, PacketsOut int64
	BytesIn, BytesOut     int64
	Largest               int   // bytes of the largest packet sent
	SendErrors            int64 // packets that did not go out
}

// Held is what is stored for others.
type Held struct {
	Torrents  int // that peers are stored of
	Peers     int
	Items     int
	ItemBytes int
}

// Abuse is what was not done, or not believed.
type Abuse struct {
	Unreachable   int64 // packets from addresses that cannot be, or that are refused
	TooFast       int64 // queries that were not answered since their sender asks too much
	NoBudget      int64 // the same, since we send too much
	BadTokens     int64
	BadSignatures int64 // of put queries
	BadItems      int64 // in replies to get
}

// Stats counts what a node did since its start, and what it holds now.
type Stats struct {
	ID       krpc.ID
	Status   string
	External netip.Addr // our address as others see it; invalid if unknown

	Traffic
	Held
	Abuse

	Queries   [krpc.NumMethods]Count
	Answers   int64                 // sent, errors included
	Refusals  int64                 // errors sent
	Replies   int64                 // to our queries
	Errors    int64                 // to our queries, and replies that cannot be read
	TimedOut  int64                 // queries of ours
	Unmatched int64                 // replies that nobody waits for (any more)
	Faults    [krpc.NumFaults]int64 // packets that cannot be read, by what is wrong

	Nodes          int // that can be handed out
	Pending        int // queries under way
	Searches       int64
	Running        int // searches now
	Waiting        int // searches that wait for their turn
	AddressChanges int64
}

// Stats is what happened so far.
func (n *Node) Stats(now time.Time) Stats {
	s := n.stats
	s.ID, s.Status, s.External = n.self, n.Status(now), n.votes.external
	s.Nodes, s.Pending = n.table.Len(), len(n.pending.byID)
	s.Running, s.Waiting = n.Searches()
	s.Torrents, s.Peers = n.peers.Len()
	s.Items, s.ItemBytes = n.items.Len()
	return s
}
