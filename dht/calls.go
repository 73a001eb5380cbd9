package dht

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"btd/dht/krpc"
	"btd/dht/lookup"
)

// otherPatience is how long a family that knows nobody is waited for when a
// search is over in the other one. Once the server has run for settled, it is
// not waited for at all.
const (
	otherPatience = 3 * time.Second
	settled       = 30 * time.Second
)

// Results are how a search ended in each family; nil where there is no node.
type Results struct{ IPv4, IPv6 *Result }

// each goes through the results that there are.
func (r Results) each(f func(*Result)) {
	for _, x := range []*Result{r.IPv4, r.IPv6} {
		if x != nil {
			f(x)
		}
	}
}

// Err is nil if the search succeeded in one family.
func (r Results) Err() (err error) {
	ok := false
	r.each(func(x *Result) {
		if x.Err == nil {
			ok = true
		} else if err == nil || err == ErrNoNodes {
			err = x.Err // what a family says that has nodes is worth more
		}
	})
	if ok {
		return nil
	}
	return err
}

// Peers is how many peers were found.
func (r Results) Peers() (n int) {
	r.each(func(x *Result) { n += x.Peers })
	return n
}

// Stored is how many nodes took the announce or the item.
func (r Results) Stored() (n int) {
	r.each(func(x *Result) { n += x.Stored })
	return n
}

// Bad is how many replies had an item that is not what it should be.
func (r Results) Bad() (n int) {
	r.each(func(x *Result) { n += x.Bad })
	return n
}

// Item is the newest item found.
func (r Results) Item() (newest *Item) {
	r.each(func(x *Result) {
		if x.Item != nil && (newest == nil || x.Item.Seq > newest.Seq) {
			newest = x.Item
		}
	})
	return newest
}

// Start searches in both families at once. The callbacks of q come one at a
// time, from goroutines of the Server; they must not block, and may call Start
// and AddNode but none of the methods that wait. q.Done is called for each
// family, done, which may be nil, once at the end. cancel may be called at any
// time, more than once; after it done is still called, with ErrClosed for what
// was not over.
func (s *Server) Start(q Search, done func(Results)) (cancel func()) {
	c := &common{server: s, q: q, done: done, left: len(s.loops)}
	for _, l := range s.loops {
		one := c.search(l.ipv6)
		if !l.post(func(now time.Time) {
			stop, err := l.node.Start(one, now)
			if err != nil {
				one.Done(Result{Target: q.Target, Err: err})
				return
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.stop[family(l.ipv6)] = stop
		}) {
			one.Done(Result{Target: q.Target, Err: ErrClosed})
		}
	}
	return func() {
		for i := range s.loops {
			c.giveUp(s.loops[i], ErrClosed, func() bool { return true })
		}
	}
}

// common is what the searches of both families have in common.
type common struct {
	server  *Server
	mu      sync.Mutex // around callbacks, too
	q       Search
	done    func(Results)
	left    int
	over    [2]bool
	results Results
	stop    [2]func() // to be called in the loop
}

func family(ipv6 bool) int {
	if ipv6 {
		return 1
	}
	return 0
}

// search is q with callbacks for one family.
func (c *common) search(ipv6 bool) Search {
	q := c.q
	if f := q.Peers; f != nil {
		q.Peers = func(p []netip.AddrPort) { c.serial(func() { f(p) }) }
	}
	if f := q.Item; f != nil {
		q.Item = func(i Item) { c.serial(func() { f(i) }) }
	}
	if f := q.Put; f != nil {
		q.Put = func(newest *Item) (i *Item) { c.serial(func() { i = f(newest) }); return i }
	}
	if f := q.Samples; f != nil {
		q.Samples = func(x Samples) { c.serial(func() { f(x) }) }
	}
	if f := q.Trace; f != nil {
		q.Trace = func(e lookup.Event) { c.serial(func() { f(e) }) }
	}
	q.Done = func(r Result) { c.end(ipv6, r) }
	return q
}

func (c *common) serial(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *common) end(ipv6 bool, r Result) {
	c.mu.Lock()
	at := family(ipv6)
	if c.over[at] {
		c.mu.Unlock()
		return
	}
	c.over[at] = true
	if c.left--; ipv6 {
		c.results.IPv6 = &r
	} else {
		c.results.IPv4 = &r
	}
	if c.q.Done != nil {
		c.q.Done(r)
	}
	last, results := c.left == 0, c.results
	c.mu.Unlock()
	switch {
	case last && c.done != nil:
		c.done(results)
	case !last && r.Err != ErrNoNodes && r.Err != ErrClosed:
		// The other family is not waited for very long if it knows nobody: many
		// hosts have an address of it, but no way out.
		for _, l := range c.server.loops {
			if l.ipv6 != ipv6 && l.lonely.Load() {
				wait := otherPatience
				if time.Since(l.started) > settled {
					wait = 0
				}
				time.AfterFunc(wait, func() {
					c.giveUp(l, ErrNoNodes, func() bool { return l.node.table.Len() == 0 })
				})
			}
		}
	}
}

// giveUp ends the search in one loop, if a condition that is tried there is
// true.
func (c *common) giveUp(l *loop, err error, when func() bool) {
	l.post(func(time.Time) {
		if !when() {
			return
		}
		c.mu.Lock()
		stop := c.stop[family(l.ipv6)]
		c.mu.Unlock()
		if stop != nil {
			stop()
		}
		c.end(l.ipv6, Result{Target: c.q.Target, Err: err})
	})
}

// Search searches in both families and waits for the end, or for ctx: then
// what was found so far has been told of, and the error is that of ctx. It must
// not be called from callbacks.
func (s *Server) Search(ctx context.Context, q Search) (Results, error) {
	over := make(chan Results, 1)
	cancel := s.Start(q, func(r Results) { over <- r })
	select {
	case r := <-over:
		return r, r.Err()
	case <-ctx.Done():
	}
	cancel()
	return <-over, context.Cause(ctx)
}

// Get finds an item (BEP 44): the newest one if it is mutable, which has the
// salt.
func (s *Server) Get(ctx context.Context, target krpc.ID, salt []byte) (*Item, error) {
	r, err := s.Search(ctx, Search{Kind: Get, Target: target, Salt: salt})
	if i := r.Item(); i != nil {
		return i, nil
	}
	return nil, err
}

// Put finds the newest item at target in both families, asks what is to be
// stored instead, and stores that. It returns at how many nodes; 0 without an
// error if next returns nil.
func (s *Server) Put(ctx context.Context, target krpc.ID, salt []byte, next func(newest *Item) *Item) (stored int, err error) {
	newest, err := s.Get(ctx, target, salt)
	if err != nil && err != ErrNotFound {
		return 0, err
	}
	item := next(newest)
	if item == nil {
		return 0, nil
	}
	if err := item.Check(); err != nil {
		return 0, err
	}
	r, err := s.Search(ctx, Search{Kind: Get, Target: target, Salt: salt, Put: func(*Item) *Item { return item }})
	return r.Stored(), err
}
