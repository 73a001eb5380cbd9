package piece

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const ms = time.Millisecond

// Blocks in bursts, as they come from a socket, and then none.
func TestFlow(t *testing.T) {
	var f Flow
	now := time.Unix(1000, 0)
	if e := f.Pace(now, false); e.Each != 0 || e.Delay != 0 || e.Latency != flowUnseen || f.Rate(now) != 0 {
		t.Errorf("nothing known, but %+v", e)
	}
	f.Asked(now)
	if e := f.Pace(now.Add(70*ms), true); e.Delay != 70*ms {
		t.Errorf("%+v after 70 ms of silence", e)
	}
	for range 40 {
		asked := now
		now = now.Add(5 * ms)
		for range 10 {
			f.Arrived(now, asked)
		}
	}
	if r := f.Rate(now); r < 1900 || r > 2100 {
		t.Errorf("rate %.0f, want 2000 blocks a second", r)
	}
	if e := f.Pace(now, true); e.Latency != 5*ms || e.Delay != 0 || e.Each < 450*time.Microsecond || e.Each > 550*time.Microsecond {
		t.Errorf("while it sends: %+v", e)
	}
	if e := f.Pace(now.Add(6*ms), true); e.Delay > ms {
		t.Errorf("within its latency it is not late: %+v", e)
	}
	now = now.Add(300 * ms)
	if e := f.Pace(now, true); e.Delay < 290*ms || e.Delay > 300*ms {
		t.Errorf("300 ms of silence: %+v", e)
	}
	if e := f.Pace(now, false); e.Delay != 0 {
		t.Errorf("it owes nothing: %+v", e)
	}
	f.Asked(now)
	for range 40 { // at once it is ten times slower
		now = now.Add(5 * ms)
		f.Arrived(now, now.Add(-6*ms))
	}
	if r := f.Rate(now); r < 190 || r > 300 {
		t.Errorf("rate %.0f, want 200 blocks a second", r)
	}
	f.Arrived(now.Add(time.Hour), now)
	f.Arrived(now.Add(2*time.Hour), now)
	if e := f.Pace(now.Add(2*time.Hour), true); e.Each != flowSlow {
		t.Errorf("a block an hour: %+v", e)
	}
}

func TestFair(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, tt := range []struct {
		rate    float64
		latency time.Duration
		left    int
		all     float64
		want    int
	}{
		{1000, ms, 400, 2000, 100},       // half of its part
		{1000, 60 * ms, 400, 2000, 120},  // twice what is on the way
		{1000, 900 * ms, 400, 2000, 200}, // its part, no more
		{1000, ms, 400, 1000, 200},
		{1000, ms, 400, 900, 200}, // it is faster than all were a moment ago
		{10, ms, 400, 4000, 0},
		{1000, ms, 0, 1000, 0},
	} {
		f := Flow{rate: tt.rate, latency: tt.latency}
		if got := f.Fair(now, tt.left, tt.all); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}

// source is a seed in virtual time.
type source struct {
	delay  time.Duration // one way
	rate   float64       // blocks in a millisecond
	late   int           // blocks that it has handed to its system, and cannot take back
	fails  time.Duration // when it stops sending; 0 is never
	slows  time.Duration // when it falls to a fifth of its rate; 0 is never
	pauses time.Duration // from one pause of 15 ms to the next; 0 is never

	pr     *Peer
	flow   Flow
	depth  int
	asked  map[Block]time.Time
	mail   []letter // from us
	queue  []Block
	out    []letter // to us
	credit float64
}

// letter is a request, a cancel or a block on its way.
type letter struct {
	at     time.Time
	block  Block
	cancel bool
}

// fetch is a download from sources in virtual time.
type fetch struct {
	p       *Picker
	now     time.Time
	sources []*source
	left    []int // by piece
	total   int   // blocks that came
}

func newFetch(t *testing.T, blocks int64, sources []*source) *fetch {
	g, err := NewGeometry(blocks*BlockSize, 64*BlockSize)
	if err != nil {
		t.Fatal(err)
	}
	x := &fetch{p: NewPicker(g, rand.New(rand.NewPCG(1, 1))), now: time.Unix(1000, 0), sources: sources}
	for i := range Index(g.Pieces()) {
		x.left = append(x.left, g.Blocks(i))
	}
	for _, s := range sources {
		s.pr, s.depth, s.asked = x.p.Join(), 16, map[Block]time.Time{}
		f := NewBitfield(g.Pieces())
		f.Fill()
		x.p.PeerBitfield(s.pr, f)
	}
	return x
}

// ask fills the pipeline of s as the session does.
func (x *fetch) ask(s *source) {
	all, deep := 0.0, 0
	for _, o := range x.sources {
		all += o.flow.Rate(x.now)
		deep += o.depth
	}
	depth := s.depth
	if left := x.p.Left(); left <= 2*deep && s.flow.Rate(x.now) > 0 {
		depth = min(depth, s.flow.Fair(x.now, left, all)+8)
	}
	n := depth - s.pr.Outstanding()
	if n <= 0 {
		return
	}
	if s.pr.Outstanding() == 0 {
		s.flow.Asked(x.now)
	}
	l := x.p.Pick(s.pr, n, nil)
	l = x.p.Duplicate(s.pr, n-len(l), x.pace, l)
	for _, b := range l {
		s.asked[b] = x.now
		s.mail = append(s.mail, letter{x.now.Add(s.delay), b, false})
	}
}

func (x *fetch) pace(pr *Peer) Pace { return x.of(pr).flow.Pace(x.now, pr.Outstanding() > 0) }

func (x *fetch) of(pr *Peer) *source {
	return x.sources[slices.IndexFunc(x.sources, func(s *source) bool { return s.pr == pr })]
}

// work is a millisecond of s.
func (s *source) work(now, began time.Time) {
	for len(s.mail) > 0 && !s.mail[0].at.After(now) {
		m := s.mail[0]
		s.mail = s.mail[1:]
		if !m.cancel {
			s.queue = append(s.queue, m.block)
		} else if at := slices.Index(s.queue, m.block); at >= s.late {
			s.queue = slices.Delete(s.queue, at, at+1)
		}
	}
	since := now.Sub(began)
	if s.fails > 0 && since >= s.fails || s.pauses > 0 && since%s.pauses < 15*ms {
		return
	}
	rate := s.rate
	if s.slows > 0 && since >= s.slows {
		rate /= 5
	}
	for s.credit += rate; s.credit >= 1 && len(s.queue) > 0; s.credit-- {
		s.out = append(s.out, letter{at: now.Add(s.delay), block: s.queue[0]})
		s.queue = s.queue[1:]
	}
	s.credit = min(s.credit, 1)
}

// receive takes what has arrived from s.
func (x *fetch) receive(s *source) {
	for len(s.out) > 0 && !s.out[0].at.After(x.now) {
		b := s.out[0].block
		s.out = s.out[1:]
		s.flow.Arrived(x.now, s.asked[b])
		s.depth = min(s.depth+1, 1000)
		x.total++
		fresh, cancel := x.p.Received(s.pr, b)
		for _, pr := range cancel {
			o := x.of(pr)
			o.mail = append(o.mail, letter{x.now.Add(o.delay), b, true})
		}
		if fresh {
			if x.left[b.Piece]--; x.left[b.Piece] == 0 {
				x.p.Passed(b.Piece)
			}
		}
	}
}

// run is how long it takes, and how many blocks came twice.
func (x *fetch) run(t *testing.T) (took time.Duration, twice int) {
	began, blocks := x.now, x.p.Left()
	end := time.Time{}
	for x.now.Sub(began) < time.Minute {
		for _, s := range x.sources {
			s.work(x.now, began)
			x.receive(s)
		}
		if x.p.Missing() == 0 && end.IsZero() {
			end = x.now
		}
		if !end.IsZero() && x.now.Sub(end) > 2*time.Second { // what is on the way comes too
			return end.Sub(began), x.total - blocks
		}
		for _, s := range x.sources {
			x.ask(s)
		}
		x.now = x.now.Add(ms)
	}
	t.Fatal("not done after a minute")
	return 0, 0
}

// Downloads that are over before anybody knows a rate by the second: hardly
// anything comes twice, and nobody waits for the slow or the dead.
func TestEndgameInTime(t *testing.T) {
	const blocks = 6400
	for _, tt := range []struct {
		name    string
		sources []*source
		twice   int           // at most
		took    time.Duration // at most
	}{
		{"one", []*source{{rate: 20}}, 0, 330 * ms},
		{"two alike, near", []*source{{rate: 20, late: 100}, {rate: 20, late: 100}}, 0, 180 * ms},
		{"three alike, 20 ms away", []*source{{rate: 10, delay: 10 * ms, late: 100}, {rate: 10, delay: 10 * ms, late: 100}, {rate: 10, delay: 10 * ms, late: 100}}, 30, 400 * ms},
		{"two with pauses", []*source{{rate: 20, late: 100, pauses: 61 * ms}, {rate: 20, late: 100, pauses: 43 * ms}}, 30, 250 * ms},
		{"one ten times as fast", []*source{{rate: 20, late: 50}, {rate: 2, late: 50}}, 20, 320 * ms},
		{"one five hundred times as fast", []*source{{rate: 20, late: 1}, {rate: 0.04, late: 1}}, 20, 380 * ms},
		{"one slow and far away", []*source{{rate: 20, delay: ms, late: 1}, {rate: 0.5, delay: 80 * ms, late: 1}}, 64, 400 * ms},
		{"one that slows down", []*source{{rate: 20, late: 20}, {rate: 20, late: 20, slows: 120 * ms}}, 10, 230 * ms},
		{"one that never answers", []*source{{rate: 20}, {rate: 20, fails: ms / 2}}, 0, 400 * ms},
		{"one that fails early", []*source{{rate: 20}, {rate: 20, fails: 60 * ms}}, 0, 400 * ms},
		{"one that fails late", []*source{{rate: 20}, {rate: 20, fails: 140 * ms}}, 0, 260 * ms},
		{"all slow", []*source{{rate: 0.5, late: 1}, {rate: 0.7, late: 1}, {rate: 0.6, late: 1}}, 16, 3700 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newFetch(t, blocks, tt.sources)
			took, twice := x.run(t)
			t.Logf("%s, %d of %d blocks twice", took, twice, blocks)
			if twice > tt.twice || took > tt.took {
				t.Errorf("%s, %d blocks twice; want at most %s and %d", took, twice, tt.took, tt.twice)
			}
			if err := check(x.p); err != nil {
				t.Error(err)
			}
		})
	}
}
