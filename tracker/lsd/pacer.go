package lsd

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"time"
)

// When a torrent is announced.
const (
	// Every is the time between two announces of a torrent (BEP 14).
	Every = 5 * time.Minute

	// Gap is the shortest time between two announces of a torrent, whatever
	// happens (BEP 14).
	Gap = time.Minute

	prompt  = 500 * time.Millisecond // in which one that begins is announced
	answers = 2500 * time.Millisecond
	spread  = 30 * time.Second // added to Every, so that hosts that start together drift apart
)

// How much is sent in all.
const (
	perMinute = 20 // packets on each interface
	burst     = 10 // at once, after a rest
	apart     = 5  // so few hashes get packets of their own: some clients read the first only
)

// enough answers of others make ours superfluous: whoever began knows somebody,
// and hears of the others from there.
const enough = 5

// Of whom is remembered that he was heard.
const (
	maxSeen  = 8192
	seenFor  = 10 * time.Minute
	maxEnded = 4096 // torrents of which the last announce is remembered after their end
)

// Class says what a torrent is to the local network.
type Class uint8

// The classes.
const (
	Listening Class = iota // it is not announced, only heard of
	Regular                // announced every five minutes
	Local                  // likewise, before all others; who begins to announce it gets an answer
)

// Pacer decides when which torrents are announced. The clock, the packets
// and the sockets are its caller's.
type Pacer struct {
	rng   *rand.Rand
	items map[Hash]*item
	due   [2]queue           // of Local and of Regular torrents
	ended map[Hash]time.Time // when those that were removed had been announced last

	room float64 // packets that may be sent now
	at   time.Time

	seen  map[sight]time.Time
	order []sight // a ring once it is full
	next  int
}

// item is one torrent.
type item struct {
	hash    Hash
	class   Class
	due     time.Time
	regular time.Time // due, if nobody makes it earlier
	last    time.Time // when it was announced; zero if never
	heard   int       // announces of others since an answer was planned; -1 while none is
	pos     int       // in its heap, -1 if it is in none
}

// sight is somebody who was heard.
type sight struct {
	hash   Hash
	peer   netip.AddrPort
	cookie string
}

// Hit is a torrent of ours that somebody announced.
type Hit struct {
	Hash  Hash
	Fresh bool // he was not heard of in the last ten minutes
}

// NewPacer returns a Pacer of no torrents.
func NewPacer(rng *rand.Rand) *Pacer {
	return &Pacer{rng: rng, items: map[Hash]*item{}, ended: map[Hash]time.Time{}, room: burst, seen: map[sight]time.Time{}}
}

// Set adds a torrent, or changes its class. One that is to be announced is
// announced soon.
func (p *Pacer) Set(h Hash, c Class, now time.Time) {
	it := p.items[h]
	switch {
	case it == nil:
		it = &item{hash: h, last: p.ended[h], heard: -1, pos: -1}
		delete(p.ended, h)
		p.items[h] = it
	case it.class == c:
		return
	}
	p.unqueue(it)
	it.class = c
	p.queue(it, it.notBefore(p.within(now, prompt)))
}

// Remove forgets a torrent.
func (p *Pacer) Remove(h Hash, now time.Time) {
	it := p.items[h]
	if it == nil {
		return
	}
	p.unqueue(it)
	delete(p.items, h)
	if now.Sub(it.last) >= Gap {
		return
	}
	if len(p.ended) >= maxEnded {
		for k, at := range p.ended {
			if now.Sub(at) >= Gap {
				delete(p.ended, k)
			}
		}
	}
	if len(p.ended) < maxEnded {
		p.ended[h] = it.last
	}
}

// Len is the number of torrents.
func (p *Pacer) Len() int { return len(p.items) }

// Again announces everything soon: there is a network that was not there
// before. Of torrents that are not Local this is done only if all is true.
func (p *Pacer) Again(all bool, now time.Time) {
	at := p.within(now, prompt)
	for _, it := range p.items {
		if it.class == Local || all {
			p.unqueue(it)
			p.queue(it, it.notBefore(at))
		}
	}
}

// within is a moment of the next d.
func (p *Pacer) within(now time.Time, d time.Duration) time.Time {
	return now.Add(time.Duration(p.rng.Int64N(int64(d))))
}

// notBefore is at, or later if it was announced just now.
func (it *item) notBefore(at time.Time) time.Time {
	if first := it.last.Add(Gap); !it.last.IsZero() && at.Before(first) {
		return first
	}
	return at
}

// queue makes it due at a time.
func (p *Pacer) queue(it *item, at time.Time) {
	it.due, it.regular, it.heard = at, at, -1
	if it.class != Listening {
		p.heapOf(it).push(it)
	}
}

func (p *Pacer) unqueue(it *item) {
	if it.pos >= 0 {
		p.heapOf(it).remove(it)
	}
}

func (p *Pacer) heapOf(it *item) *queue {
	if it.class == Local {
		return &p.due[0]
	}
	return &p.due[1]
}

// move changes when a queued torrent is due.
func (p *Pacer) move(it *item, at time.Time) {
	it.due = at
	p.heapOf(it).fix(it)
}

// Next is the hashes that are to be sent now, packet by packet, and when to ask
// again; next is zero if nothing will be due.
func (p *Pacer) Next(now time.Time) (packets [][]Hash, next time.Time) {
	if !p.at.IsZero() {
		p.room = min(burst, p.room+now.Sub(p.at).Minutes()*perMinute)
	}
	p.at = now
	for p.room >= 1 {
		batch := p.take(now)
		if len(batch) == 0 {
			break
		}
		if len(batch) > apart || float64(len(batch)) > p.room {
			packets = append(packets, batch)
			p.room--
			continue
		}
		for i := range batch {
			packets = append(packets, batch[i:i+1])
		}
		p.room -= float64(len(batch))
	}
	for i := range p.due {
		if it := p.due[i].first(); it != nil && (next.IsZero() || it.due.Before(next)) {
			next = it.due
		}
	}
	if p.room < 1 && !next.IsZero() {
		wait := time.Duration(math.Ceil((1 - p.room) / perMinute * float64(time.Minute)))
		if at := now.Add(wait); next.Before(at) {
			next = at
		}
	}
	return packets, next
}

// take is the hashes of one packet, of those that are due; they are due again
// together.
func (p *Pacer) take(now time.Time) (batch []Hash) {
	again := p.within(now.Add(Every), spread)
	for i := range p.due {
		for len(batch) < MaxHashes {
			it := p.due[i].first()
			if it == nil || it.due.After(now) {
				break
			}
			p.unqueue(it)
			it.last = now
			p.queue(it, again)
			batch = append(batch, it.hash)
		}
	}
	return batch
}

// Heard takes an announce of a peer in and returns those of its torrents that
// are ours.
func (p *Pacer) Heard(a *Announce, peer netip.AddrPort, now time.Time) (hits []Hit) {
	for _, h := range a.Hashes {
		it := p.items[h]
		if it == nil {
			continue
		}
		fresh := p.see(sight{h, peer, a.Cookie}, now)
		hits = append(hits, Hit{h, fresh})
		if it.class == Local {
			p.answer(it, fresh, now)
		}
	}
	return hits
}

// answer plans an answer to somebody who begins to announce it, and drops the
// plan if others answer meanwhile.
func (p *Pacer) answer(it *item, fresh bool, now time.Time) {
	if it.heard >= 0 {
		if it.heard++; it.heard >= enough {
			it.heard = -1
			p.move(it, it.regular)
		}
		return
	}
	if at := it.notBefore(p.within(now, answers)); fresh && at.Before(it.due) {
		p.move(it, at)
		it.heard = 0
	}
}

// see notes somebody and tells whether he is new.
func (p *Pacer) see(s sight, now time.Time) (fresh bool) {
	at, known := p.seen[s]
	p.seen[s] = now
	if known {
		return now.Sub(at) >= seenFor
	}
	if len(p.order) < maxSeen {
		p.order = append(p.order, s)
		return true
	}
	delete(p.seen, p.order[p.next])
	p.order[p.next] = s
	p.next = (p.next + 1) % maxSeen
	return true
}
