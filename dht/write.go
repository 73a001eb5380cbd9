package dht

import (
	"time"

	"btd/dht/krpc"
)

// driveWrites sends what is to be stored at the closest nodes: as soon as they
// may be asked, and once more where no answer comes.
func (n *Node) driveWrites(s *search, now time.Time) {
	s.next = now.Add(timeout)
	waiting := false
	for i := range s.writes {
		w := &s.writes[i]
		if w.done {
			continue
		}
		if w.tries > 0 && now.Sub(w.sent) >= timeout {
			w.done = true
			continue
		}
		if w.tries == 0 || (w.tries < writeTries && now.Sub(w.sent) >= resendAfter) {
			if due := n.pace.due(w.to.Addr); due.After(now) {
				w.done = w.tries == 0 && now.Sub(s.began) >= 2*patience
				waiting = waiting || !w.done
				if due.Before(s.next) {
					s.next = due
				}
				continue
			}
			w.tries++
			w.sent = now
			if !n.writeTo(s, i, now) {
				w.done = true
				continue
			}
		}
		waiting = true
		after := timeout
		if w.tries < writeTries {
			after = resendAfter
		}
		if at := w.sent.Add(after); at.Before(s.next) {
			s.next = at
		}
	}
	if !waiting {
		switch {
		case s.result.Err != nil || s.result.Stored > 0:
		case len(s.result.Codes) > 0, s.Announce: // they answered before
			s.result.Err = ErrRefused
		default:
			s.result.Err = ErrNoNodes
		}
		n.finish(s, now)
	}
}

// writeTo sends an announce_peer or a put.
func (n *Node) writeTo(s *search, i int, now time.Time) bool {
	m, to := &n.scratch.out, &s.writes[i].to
	n.scratch.token = append(n.scratch.token[:0], to.Token...)
	if s.Announce {
		n.query(m, krpc.AnnouncePeer)
		m.SetInfoHash(s.Target)
		m.SetPort(s.Port, s.ImpliedPort)
		if s.Seed {
			m.SetSeed()
		}
	} else {
		n.query(m, krpc.Put)
		m.SetV(s.item.V)
		if s.item.Mutable() {
			m.SetKey(s.item.K, s.item.Sig)
			m.SetSeq(s.item.Seq)
			m.SetSalt(s.item.Salt)
			if seq, holds := s.holders[to.Addr]; holds && s.item.CAS {
				m.SetCas(seq)
			}
		}
	}
	m.SetToken(n.scratch.token)
	return n.askAs(s, m, &transaction{to: to.Node, purpose: forWrite, search: s, write: i}, now)
}

// writeReply takes the answer to a write: code is 0, or that of an error.
func (n *Node) writeReply(t *transaction, code int, now time.Time) {
	s := t.search
	if s.over || s.writes[t.write].done {
		return
	}
	s.writes[t.write].done = true
	if code == 0 {
		s.result.Stored++
	} else {
		s.result.Codes = append(s.result.Codes, code)
	}
	n.drive(s, now)
}
