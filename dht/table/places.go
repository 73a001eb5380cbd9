package table

import (
	"math/bits"
	"slices"
	"time"

	"btd/dht/contact"
)

// admit makes a node that is not known yet a spare of its bucket. It returns
// nil if there is no place for it, or if the rules are against it.
func (t *Table) admit(n contact.Node, now time.Time) *entry {
	if !t.usable(n) || t.liars.has(n.Addr, now) || t.dead.has(n.Addr, now) {
		return nil
	}
	key := contact.KeyOf(n.ID)
	i, _ := t.bucketOf(key)
	network := contact.NetworkOf(n.Addr)
	if network != 0 {
		if old := t.byHost[n.Addr.Addr()]; old != nil && !t.gives(old) {
			return nil
		}
		if t.networks[network] >= perNetworkTable {
			return nil
		}
	}
	if old := t.withID(i, n); old != nil && !t.gives(old) {
		return nil
	}
	if !t.makeSpare(i, now) {
		return nil
	}
	e := &entry{
		node: n, key: key, network: network, bucket: uint8(i), group: groupOf(key, i), added: now,
		secure: contact.Secure(n.ID, n.Addr.Addr()),
	}
	t.byAddr[n.Addr] = e
	if network != 0 {
		t.byHost[n.Addr.Addr()] = e
		t.networks[network]++
	}
	b := &t.buckets[i]
	b.spare = append(b.spare, e)
	t.deepest = max(t.deepest, i)
	return e
}

// gives reports whether a known node gives way to another that has its id or
// its address: only if it missed a query or never answered. It is removed then.
func (t *Table) gives(old *entry) bool {
	if old.fails == 0 && old.proven() {
		return false
	}
	t.remove(old)
	return true
}

// withID is the node of a bucket that has the same id.
func (t *Table) withID(i int, n contact.Node) *entry {
	b := &t.buckets[i]
	for _, list := range [2][]*entry{b.live, b.spare} {
		for _, e := range list {
			if e.node.ID == n.ID {
				return e
			}
		}
	}
	return nil
}

// makeSpare makes room for one more spare. Who is known for less than a minute
// is not pushed out by one more stranger, so that a flood of them gets nowhere.
func (t *Table) makeSpare(i int, now time.Time) bool {
	b := &t.buckets[i]
	if len(b.spare) < capacity(i) {
		return true
	}
	worst := b.spare[0]
	for _, e := range b.spare[1:] {
		if t.worseSpare(e, worst) {
			worst = e
		}
	}
	if !worst.proven() && !worst.restored && now.Sub(worst.added) < time.Minute {
		return false
	}
	if worst.proven() && worst.rtt <= 2*b.rtt() && now.Sub(worst.answered) < 15*time.Minute {
		return false // all spares are good ones
	}
	t.remove(worst)
	return true
}

// rtt is the mean round-trip time of a bucket's live nodes.
func (b *bucket) rtt() (mean time.Duration) {
	for _, e := range b.live {
		mean += e.rtt / time.Duration(len(b.live))
	}
	return mean
}

// worseSpare reports whether a is a worse spare than b: never answered, slow,
// then the older.
func (t *Table) worseSpare(a, b *entry) bool {
	if a.proven() != b.proven() {
		return b.proven()
	}
	if a.restored != b.restored {
		return b.restored
	}
	if a.proven() && a.rtt != b.rtt {
		return a.rtt > b.rtt
	}
	return a.added.Before(b.added)
}

// remove forgets a node.
func (t *Table) remove(e *entry) {
	b := &t.buckets[e.bucket]
	if e.live {
		t.retire(e)
	} else if at := slices.Index(b.spare, e); at >= 0 {
		b.spare = slices.Delete(b.spare, at, at+1)
	}
	delete(t.byAddr, e.node.Addr)
	if e.network == 0 {
		return
	}
	delete(t.byHost, e.node.Addr.Addr())
	if t.networks[e.network]--; t.networks[e.network] == 0 {
		delete(t.networks, e.network)
	}
}

// retire takes a node out of its live place.
func (t *Table) retire(e *entry) {
	b := &t.buckets[e.bucket]
	at := slices.Index(b.live, e)
	b.live = slices.Delete(b.live, at, at+1)
	b.keys = slices.Delete(b.keys, at, at+1)
	e.live = false
	t.live--
	if e.fails == 0 {
		t.good--
	}
}

// settle moves a spare to a live place, which must be free.
func (t *Table) settle(e *entry, now time.Time) {
	b := &t.buckets[e.bucket]
	if at := slices.Index(b.spare, e); at >= 0 {
		b.spare = slices.Delete(b.spare, at, at+1)
	}
	b.live = append(b.live, e)
	b.keys = append(b.keys, e.key.Hi)
	b.changed = now
	e.live = true
	t.live++
	t.good++
}

// swap gives the live place of out to in.
func (t *Table) swap(out, in *entry, now time.Time) {
	t.retire(out)
	b := &t.buckets[out.bucket]
	b.spare = append(b.spare, out)
	t.settle(in, now)
}

// fits reports whether one more node of e's network may be live in its bucket
// once without is gone.
func (t *Table) fits(e, without *entry) bool {
	if e.network == 0 {
		return true
	}
	n := 0
	for _, o := range t.buckets[e.bucket].live {
		if o.network == e.network && o != without {
			n++
		}
	}
	return n < perNetworkBucket
}

// promote gives a spare that just answered a live place, if there is one or if
// it is better than who has the worst.
func (t *Table) promote(e *entry, now time.Time) {
	b := &t.buckets[e.bucket]
	if len(b.live) < capacity(int(e.bucket)) {
		if t.fits(e, nil) {
			t.settle(e, now)
		}
		return
	}
	for _, o := range b.live {
		if o.fails > 0 && t.fits(e, o) {
			t.swap(o, e, now)
			return
		}
	}
	if now.Sub(e.first) < t.cfg.Quarantine {
		return
	}
	if o := t.victim(e); o != nil {
		t.swap(o, e, now)
	}
}

// groups is the number of parts of a bucket that nodes are spread over.
func groups(bucket int) int { return capacity(bucket) / 4 }

// groupOf is the part of bucket i that an id is in.
func groupOf(key contact.Key, i int) uint8 {
	n := groups(i)
	shift := i + bits.Len(uint(n)) // the bit that makes the bucket, and those that count its parts
	if shift > 64 {
		return 0
	}
	return uint8(key.Hi>>(64-shift)) & uint8(n-1)
}

// victim is the live node of a full bucket that a spare may push out; nil if
// all are better.
func (t *Table) victim(e *entry) *entry {
	b := &t.buckets[e.bucket]
	var crowd [32]int
	for _, o := range b.live {
		crowd[o.group]++
	}
	own := e.group
	free := t.fits(e, nil)
	var worst *entry
	for _, o := range b.live {
		if !free && o.network != e.network || !better(e, o, crowd[own], crowd[o.group], own == o.group) {
			continue
		}
		if worst == nil || worse(o, worst, crowd[o.group], crowd[worst.group]) {
			worst = o
		}
	}
	return worst
}

// better reports whether spare e may take the place of o: a secure id for one
// that is not, never the other way round; then the more even spread; then a
// round trip that is clearly shorter. crowd is how many are in the same part
// of the bucket.
func better(e, o *entry, crowdE, crowdO int, same bool) bool {
	switch {
	case e.secure != o.secure:
		return e.secure
	case !same && crowdE+1 < crowdO:
		return true
	case !same && crowdE >= crowdO:
		return false
	}
	return e.rtt > 0 && e.rtt < o.rtt*3/4
}

// worse reports whether live node a is to go before b.
func worse(a, b *entry, crowdA, crowdB int) bool {
	switch {
	case a.secure != b.secure:
		return b.secure
	case crowdA != crowdB:
		return crowdA > crowdB
	}
	return a.rtt > b.rtt
}

// ready is the best spare for a place that becomes free: it answered within
// the last quarter of an hour; in a sweep, since that began. Those known for
// long come first.
func (t *Table) ready(i int, now time.Time) (best *entry) {
	for _, e := range t.buckets[i].spare {
		if !e.proven() || e.fails > 0 || now.Sub(e.answered) > 15*time.Minute || e.answered.Before(t.keeper.sweep) || !t.fits(e, nil) {
			continue
		}
		if best == nil || t.readier(e, best, now) {
			best = e
		}
	}
	return best
}

func (t *Table) readier(a, b *entry, now time.Time) bool {
	if a.secure != b.secure {
		return a.secure
	}
	if old := now.Sub(a.first) >= t.cfg.Quarantine; old != (now.Sub(b.first) >= t.cfg.Quarantine) {
		return old
	}
	return a.rtt < b.rtt
}

// fill gives free live places of a bucket to spares that are ready.
func (t *Table) fill(i int, now time.Time) {
	for len(t.buckets[i].live) < capacity(i) {
		e := t.ready(i, now)
		if e == nil {
			return
		}
		t.settle(e, now)
	}
}
