package tracker

import (
	"container/list"
	"context"
	"errors"
	"sync"
)

// gate admits a bounded number of requests to each tracker host at a time.
// Those that wait go in order of arrival, stopped events before all others.
//
// When a request meets an endpoint that does not answer, those that wait for
// the same endpoint fail with it: a dead tracker that serves a thousand
// torrents must cost one timeout, not a thousand of them eight at a time.
type gate struct {
	limit int
	mu    sync.Mutex
	hosts map[string]*hostQueue
}

type hostQueue struct {
	busy     int
	waiting  [2]list.List      // of *waiter: urgent, others
	turn     uint64            // counts admissions and answers
	answered map[string]uint64 // by endpoint: turn of the last answer
}

type waiter struct {
	endpoint string
	done     bool
	ready    chan error // capacity 1
}

// pass is the right to one request. It must be handed back with leave.
type pass struct {
	host, endpoint string
	turn           uint64
}

func newGate(limit int) *gate {
	return &gate{limit: limit, hosts: make(map[string]*hostQueue)}
}

// enter waits for a turn. endpoint tells apart what may fail separately:
// scheme, host, port and family.
func (g *gate) enter(ctx context.Context, host, endpoint string, urgent bool) (pass, error) {
	g.mu.Lock()
	q := g.hosts[host]
	if q == nil {
		q = &hostQueue{answered: make(map[string]uint64)}
		g.hosts[host] = q
	}
	if q.busy < g.limit {
		defer g.mu.Unlock()
		q.busy++
		q.turn++
		return pass{host, endpoint, q.turn}, nil
	}
	w := &waiter{endpoint: endpoint, ready: make(chan error, 1)}
	line := &q.waiting[1]
	if urgent {
		line = &q.waiting[0]
	}
	place := line.PushBack(w)
	g.mu.Unlock()

	select {
	case err := <-w.ready:
		return g.admitted(q, host, endpoint), err
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !w.done {
		line.Remove(place)
		g.drop(host, q)
	} else if <-w.ready == nil { // admitted at the same moment: the turn goes to the next
		g.release(host, q)
	}
	if ctx.Err() == context.DeadlineExceeded {
		return pass{}, &plainError{"other requests to this tracker took too long", ctx.Err()}
	}
	return pass{}, context.Cause(ctx)
}

func (g *gate) admitted(q *hostQueue, host, endpoint string) pass {
	g.mu.Lock()
	defer g.mu.Unlock()
	q.turn++
	return pass{host, endpoint, q.turn}
}

// leave ends a request: err is how it went. full tells whether the request had
// all the time it may take: one that its caller cut short proves nothing.
func (g *gate) leave(p pass, err error, full bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := g.hosts[p.host]
	switch {
	case errors.Is(err, errNoAnswer) || errors.Is(err, ErrNoFamily):
		if full && q.answered[p.endpoint] <= p.turn {
			q.fail(p.endpoint, err)
		}
	case errors.Is(err, context.Canceled):
	default:
		q.turn++
		q.answered[p.endpoint] = q.turn
	}
	g.release(p.host, q)
}

// release hands a turn on.
func (g *gate) release(host string, q *hostQueue) {
	q.busy--
	for i := range q.waiting {
		if front := q.waiting[i].Front(); front != nil && q.busy < g.limit {
			w := q.waiting[i].Remove(front).(*waiter)
			w.done = true
			w.ready <- nil
			q.busy++
			return
		}
	}
	g.drop(host, q)
}

// drop forgets a host that nobody uses.
func (g *gate) drop(host string, q *hostQueue) {
	if q.busy == 0 && q.waiting[0].Len() == 0 && q.waiting[1].Len() == 0 {
		delete(g.hosts, host)
	}
}

// fail turns away all that wait for an endpoint.
func (q *hostQueue) fail(endpoint string, err error) {
	for i := range q.waiting {
		for e := q.waiting[i].Front(); e != nil; {
			next := e.Next()
			if w := e.Value.(*waiter); w.endpoint == endpoint {
				q.waiting[i].Remove(e)
				w.done = true
				w.ready <- err
			}
			e = next
		}
	}
}
