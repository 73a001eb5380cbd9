package addrbook

import "time"

// keep is why an address is never given up, and rather dialled about every eight
// minutes.
type keep uint8

const (
	keepNot   keep = iota
	keepLocal      // in a local network, where a dial costs little: it was switched off, and is back when somebody needs it
	keepGiven      // a person, a link or an earlier connection named it, and nobody may do so again
	keeps
)

// maxOurs is after how many tries in a row that failed for reasons of ours an
// address is given up all the same: about four hours. Such a reason may be one
// of the address after all, for some errors of a network come from the other end.
const maxOurs = 30

// tries is how often in a row there was no connection.
func (e *entry) tries() int { return int(e.failures) + int(e.ours) }

// reason is why e is to be kept, if src named it.
func (b *Book) reason(e *entry, src string) keep {
	switch {
	case src == SourceUser, src == SourceMagnet, src == SourceResume:
		return keepGiven
	case e.local:
		return keepLocal
	}
	return keepNot
}

// keep has e, which is in no heap, kept if src is a reason to. Of each reason
// there is room for an eighth of the book: whoever names addresses that do not
// exist must not have all of it for ever.
func (b *Book) keep(e *entry, src string) {
	why := b.reason(e, src)
	if why <= e.keep || b.kept[why] >= b.cfg.Max/8 {
		return
	}
	b.unkeep(e)
	e.keep = why
	b.kept[why]++
}

// unkeep takes back what keep did.
func (b *Book) unkeep(e *entry) {
	if e.keep != keepNot {
		b.kept[e.keep]--
		e.keep = keepNot
	}
}

// backoff is the wait after another failure of e.
func (b *Book) backoff(e *entry) time.Duration {
	n := max(int(e.failures), min(int(e.ours), b.cfg.MaxFailures-1))
	wait := min(b.cfg.Backoff<<min(n, 20), b.cfg.MaxBackoff)
	if wait <= 0 { // the shift overflowed
		wait = b.cfg.MaxBackoff
	}
	return wait
}

// bury gives e up if it failed too often, unless it is one to keep.
func (b *Book) bury(e *entry) {
	switch {
	case int(e.failures) < b.cfg.MaxFailures && e.ours < maxOurs:
	case e.keep != keepNot:
		e.failures = min(e.failures, uint8(b.cfg.MaxFailures-1))
	default:
		e.failures = min(e.failures, uint8(b.cfg.MaxFailures)) // who connects himself can fail for ever
		e.state, e.user = dead, false
	}
}
