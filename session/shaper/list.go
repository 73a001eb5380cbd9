package shaper

// node is the place of a value in a list. It is part of the value, so that
// lists need no memory of their own.
type node[T any] struct {
	next, prev *node[T]
	val        *T
}

// list is a doubly linked ring. The zero value is an empty list.
type list[T any] struct {
	root node[T]
	n    int
}

// front is the first value, nil if there is none.
func (l *list[T]) front() *T {
	if l.n == 0 {
		return nil
	}
	return l.root.next.val
}

// push adds a node, which is in no list, at the end, or else at the front.
func (l *list[T]) push(e *node[T], front bool) {
	if l.root.next == nil {
		l.root.next, l.root.prev = &l.root, &l.root
	}
	next := &l.root
	if front {
		next = l.root.next
	}
	e.prev, e.next = next.prev, next
	e.prev.next, next.prev = e, e
	l.n++
}

// remove takes out a node of this list.
func (l *list[T]) remove(e *node[T]) {
	e.prev.next, e.next.prev = e.next, e.prev
	e.next, e.prev = nil, nil
	l.n--
}

// rotate moves the first value to the end.
func (l *list[T]) rotate() {
	if l.n > 1 {
		e := l.root.next
		l.remove(e)
		l.push(e, false)
	}
}
