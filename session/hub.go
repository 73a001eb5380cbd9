package session

import (
	"sync"
	"time"

	"btd/metainfo"
)

const (
	hubHistory    = 1024 // events kept for subscribers that come back
	hubSubscriber = 512  // events a subscriber may lag behind
)

// hub numbers events and hands them to subscribers in order.
type hub struct {
	mu      sync.Mutex
	seq     uint64
	history []Event // ring, the newest at (seq-1) % hubHistory
	subs    map[chan Event]struct{}
	closed  bool
}

func newHub() *hub {
	return &hub{history: make([]Event, 0, hubHistory), subs: map[chan Event]struct{}{}}
}

// publish never blocks: a subscriber whose channel is full is cut off.
func (h *hub) publish(kind EventKind, hash metainfo.Hash, t *Torrent, message string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.seq++
	ev := Event{Seq: h.seq, Time: time.Now(), Kind: kind, Hash: hash, Torrent: t, Message: message}
	if len(h.history) < hubHistory {
		h.history = append(h.history, ev)
	} else {
		h.history[(h.seq-1)%hubHistory] = ev
	}
	for c := range h.subs {
		select {
		case c <- ev:
		default:
			delete(h.subs, c)
			close(c)
		}
	}
}

// subscribe replays what came after since (0 means from now on) and goes on
// from there. lost tells that events after since are no longer known.
func (h *hub) subscribe(since uint64) (events <-chan Event, cancel func(), lost bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	oldest := h.seq - uint64(len(h.history)) // the newest event that is no longer known
	if since == 0 || since > h.seq {
		lost, since = since > h.seq, h.seq
	} else if since < oldest {
		lost, since = true, oldest
	}
	c := make(chan Event, hubSubscriber+hubHistory)
	if h.closed {
		close(c)
		return c, func() {}, lost
	}
	for s := since + 1; s <= h.seq; s++ {
		c <- h.history[(s-1)%hubHistory]
	}
	h.subs[c] = struct{}{}
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := h.subs[c]; ok {
			delete(h.subs, c)
			close(c)
		}
	}, lost
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for c := range h.subs {
		delete(h.subs, c)
		close(c)
	}
}
