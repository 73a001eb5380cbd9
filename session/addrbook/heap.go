package addrbook

// Slots of entry.at: an entry is in at most one queue (ready or waiting), and
// in the order of eviction.
const (
	inQueue = iota
	inEvict
	slots
)

// heap is a binary heap of entries that know where they are, so that any of
// them can be removed in O(log n).
type heap struct {
	slot  int
	less  func(a, b *entry) bool
	items []*entry
}

func (h *heap) has(e *entry) bool {
	i := e.at[h.slot]
	return i < len(h.items) && h.items[i] == e
}

// first is the least entry, nil if there is none.
func (h *heap) first() *entry {
	if len(h.items) == 0 {
		return nil
	}
	return h.items[0]
}

func (h *heap) push(e *entry) {
	h.items = append(h.items, e)
	h.up(len(h.items) - 1)
}

// remove takes e out, if it is in.
func (h *heap) remove(e *entry) {
	if !h.has(e) {
		return
	}
	i, last := e.at[h.slot], len(h.items)-1
	moved := h.items[last]
	h.items[last] = nil
	h.items = h.items[:last]
	if i < last {
		h.items[i] = moved
		h.up(i)
		h.down(moved.at[h.slot])
	}
}

// reset makes the heap valid again after the order has changed.
func (h *heap) reset() {
	for i, e := range h.items {
		e.at[h.slot] = i
	}
	for i := len(h.items)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h *heap) up(i int) {
	e := h.items[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(e, h.items[parent]) {
			break
		}
		h.set(i, h.items[parent])
		i = parent
	}
	h.set(i, e)
}

func (h *heap) down(i int) {
	e := h.items[i]
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			break
		}
		if r := child + 1; r < len(h.items) && h.less(h.items[r], h.items[child]) {
			child = r
		}
		if !h.less(h.items[child], e) {
			break
		}
		h.set(i, h.items[child])
		i = child
	}
	h.set(i, e)
}

func (h *heap) set(i int, e *entry) {
	h.items[i] = e
	e.at[h.slot] = i
}
