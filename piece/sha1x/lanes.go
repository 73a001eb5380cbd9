package sha1x

import "unsafe"

// MaxLanes is the number of messages that any machine hashes side by side at most.
const MaxLanes = 16

// few is up to how many messages crypto/sha1 does one after the other in less
// time than the lanes take, which is the same however many of them are used:
// 16 KiB of each took 38 us in 16 lanes and 43 us in 8, and 9.5 us alone on a
// processor with instructions for SHA-1.
const few = 4

// lane is a part on its way through a lane.
type lane struct {
	stream *Stream
	now    []byte   // what is left of the current slice
	then   [][]byte // the slices after it
}

// set is the lanes of a Hasher. Those in use are the first ones.
type set struct {
	state [5][MaxLanes]uint32
	data  [MaxLanes]unsafe.Pointer
	lane  [MaxLanes]lane
}

// WriteAll adds each part to its message. No two parts may be of one message.
// It is fastest with many parts of the same length, at least Lanes of them,
// whose slices have a multiple of 64 bytes.
func (h *Hasher) WriteAll(parts []Part) {
	wide := lanes()
	if h.wide > 0 {
		wide = min(wide, h.wide)
	}
	l, used := &h.lanes, 0
	for wide > few {
		for used < wide && len(parts) > 0 {
			if l.enter(h, used, parts[0]) {
				used++
			}
			parts = parts[1:]
		}
		if used <= few {
			break
		}
		l.step(wide, used)
		for i := 0; i < used; {
			if l.lane[i].fill() {
				i++
				continue
			}
			l.leave(h, i)
			used--
			if i < used {
				l.move(used, i)
			}
		}
	}
	for i := range used {
		l.leave(h, i)
	}
	for _, p := range parts {
		h.alone(p.Stream, nil, p.Data)
	}
}

// enter puts p into lane i unless it has nothing for a lane.
func (l *set) enter(h *Hasher, i int, p Part) bool {
	a := lane{stream: p.Stream, then: p.Data}
	if p.Stream.n%chunk != 0 || !a.fill() {
		h.alone(p.Stream, a.now, a.then)
		return false
	}
	l.lane[i] = a
	for k, v := range p.Stream.state {
		l.state[k][i] = v
	}
	return true
}

// fill goes on to the next slice when one is used up. It tells whether there is
// a whole chunk to hash.
func (a *lane) fill() bool {
	for len(a.now) == 0 && len(a.then) > 0 {
		a.now, a.then = a.then[0], a.then[1:]
	}
	return len(a.now) >= chunk
}

// step hashes as many chunks as every lane in use has. The lanes without a
// message hash somebody else's, for nothing.
func (l *set) step(wide, used int) {
	n := len(l.lane[0].now) / chunk
	for i := range used {
		n = min(n, len(l.lane[i].now)/chunk)
		l.data[i] = unsafe.Pointer(unsafe.SliceData(l.lane[i].now))
	}
	for i := used; i < wide; i++ {
		l.data[i] = l.data[0]
	}
	block(wide, &l.state, &l.data, n)
	for i := range used {
		a := &l.lane[i]
		a.now = a.now[n*chunk:]
		a.stream.n += uint64(n * chunk)
	}
	clear(l.data[:])
}

// leave gives the message of lane i its state back, and adds what is left of
// the part.
func (l *set) leave(h *Hasher, i int) {
	a := &l.lane[i]
	for k := range a.stream.state {
		a.stream.state[k] = l.state[k][i]
	}
	h.alone(a.stream, a.now, a.then)
	*a = lane{}
}

func (l *set) move(from, to int) {
	l.lane[to], l.lane[from] = l.lane[from], lane{}
	for k := range l.state {
		l.state[k][to] = l.state[k][from]
	}
}

// alone adds to s what no lane takes.
func (h *Hasher) alone(s *Stream, now []byte, then [][]byte) {
	if len(now) == 0 && len(then) == 0 {
		return
	}
	h.load(s)
	h.std.Write(now)
	for _, p := range then {
		h.std.Write(p)
	}
	h.store(s)
}
