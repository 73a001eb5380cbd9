package lsd

import "container/heap"

// queue is torrents by when they are due.
type queue struct{ items byDue }

func (q *queue) first() *item {
	if len(q.items) == 0 {
		return nil
	}
	return q.items[0]
}

func (q *queue) push(it *item)   { heap.Push(&q.items, it) }
func (q *queue) remove(it *item) { heap.Remove(&q.items, it.pos) }
func (q *queue) fix(it *item)    { heap.Fix(&q.items, it.pos) }

// byDue is for container/heap.
type byDue []*item

func (h byDue) Len() int           { return len(h) }
func (h byDue) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h byDue) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

// Push is for container/heap.
func (h *byDue) Push(x any) {
	it := x.(*item)
	it.pos = len(*h)
	*h = append(*h, it)
}

// Pop is for container/heap.
func (h *byDue) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	it.pos = -1
	return it
}
