package lookup

import (
	"time"

	"btd/dht/contact"
)

// EventKind is what happened in a search.
type EventKind uint8

// The kinds of events.
const (
	Sent     EventKind = iota // a query
	Stalled                   // its place was given to another
	Answered                  // a reply that counts
	Refused                   // a reply that does not: Why
	Failed                    // an error message
	TimedOut                  // no reply
	Finished                  // the search is done
)

// String is the kind in a word.
func (k EventKind) String() string {
	return [...]string{"sent", "stalled", "answered", "refused", "failed", "timed out", "finished"}[k]
}

// Event is one thing that happened in a search.
type Event struct {
	At     time.Time
	Kind   EventKind
	Node   contact.Node
	Bits   int           // that its id has in common with the target: 160 is the target itself
	Hop    int           // how many queries one after another led to it, this one included
	RTT    time.Duration // of a reply
	Again  bool          // sent for the second time
	Late   bool          // a reply after its query stalled
	Named  int           // nodes in the reply
	New    int           // of them, those that became candidates
	Values bool          // the reply has what is searched for
	Why    string        // a reply was refused
}

func (l *Lookup) trace(e Event) {
	if l.cfg.Trace == nil {
		return
	}
	if !e.Node.ID.IsZero() {
		e.Bits = contact.KeyOf(e.Node.ID).Xor(l.target).Zeros()
	}
	l.cfg.Trace(e)
}
