package metafetch

import (
	"bytes"
	"crypto/sha1"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// other is a peer of a simulated swarm.
type other struct {
	size  int
	data  []byte
	delay time.Duration
	host  int  // 0 means one of its own
	mute  bool // never answers
	no    bool // rejects
	asked int
}

// answer is one that is on its way.
type answer struct {
	at    time.Time
	peer  uint32
	piece int
}

// world runs a Fetcher against peers in virtual time.
type world struct {
	t      *testing.T
	f      *Fetcher
	now    time.Time
	peers  map[uint32]*other
	flying []answer
	liars  []uint32
	info   []byte
	most   int // requests outstanding with one peer
}

func newWorld(t *testing.T, info []byte, cfg Config) *world {
	return &world{t: t, f: New(sha1.Sum(info), cfg), now: start, peers: map[uint32]*other{}}
}

func (w *world) add(id uint32, o other) *other {
	if o.size == 0 {
		o.size = len(o.data)
	}
	w.peers[id] = &o
	if o.host == 0 {
		o.host = int(id)
	}
	w.f.Join(id, host(o.host), o.size)
	return &o
}

func host(n int) netip.Addr { return netip.AddrFrom4([4]byte{20, 0, byte(n >> 8), byte(n)}) }

// run goes on until the dictionary is there or limit has passed.
func (w *world) run(limit time.Duration) time.Duration {
	end := w.now.Add(limit)
	for step := 0; w.info == nil && step < 200_000; step++ {
		reqs, next := w.f.Requests(w.now)
		for _, r := range reqs {
			w.ask(r)
		}
		at := next
		for _, a := range w.flying {
			if at.IsZero() || a.at.Before(at) {
				at = a.at
			}
		}
		if at.IsZero() || at.After(end) {
			return w.now.Sub(start)
		}
		w.now = at
		for i := 0; i < len(w.flying) && w.info == nil; {
			if a := w.flying[i]; !a.at.After(w.now) {
				w.flying = slices.Delete(w.flying, i, i+1)
				w.deliver(a)
				continue
			}
			i++
		}
	}
	return w.now.Sub(start)
}

func (w *world) ask(r Request) {
	p := w.peers[r.Peer]
	if p == nil {
		w.t.Fatalf("peer %d was asked, who is gone", r.Peer)
	}
	p.asked++
	n := 1
	for _, a := range w.flying {
		if a.peer == r.Peer {
			n++
		}
	}
	w.most = max(w.most, n)
	if !p.mute {
		w.flying = append(w.flying, answer{w.now.Add(p.delay), r.Peer, r.Piece})
	}
}

func (w *world) deliver(a answer) {
	p := w.peers[a.peer]
	if p == nil {
		return
	}
	if p.no {
		w.f.Reject(a.peer, a.piece, w.now)
		return
	}
	from := a.piece * PieceSize
	r := w.f.Data(a.peer, a.piece, p.size, p.data[from:min(from+PieceSize, p.size)], w.now)
	w.liars = append(w.liars, r.Liars...)
	for _, id := range r.Liars {
		delete(w.peers, id)
		w.f.Leave(id)
	}
	w.info = r.Info
}

func random(n int, seed byte) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func (w *world) wantInfo(info []byte) {
	w.t.Helper()
	if !bytes.Equal(w.info, info) {
		w.t.Fatalf("got %d bytes after %v, want %d", len(w.info), w.now.Sub(start), len(info))
	}
	if reqs, next := w.f.Requests(w.now); reqs != nil || !next.IsZero() {
		w.t.Error("it goes on after the end")
	}
}

func TestOnePeer(t *testing.T) {
	for _, size := range []int{1, PieceSize - 1, PieceSize, PieceSize + 1, 10*PieceSize + 5} {
		info := random(size, 1)
		w := newWorld(t, info, Config{})
		p := w.add(1, other{data: info, delay: 50 * time.Millisecond})
		w.run(time.Minute)
		w.wantInfo(info)
		if pieces := (size + PieceSize - 1) / PieceSize; p.asked != pieces || w.most > 4 || len(w.liars) > 0 {
			t.Errorf("%d bytes: %d requests for %d pieces, %d at a time", size, p.asked, pieces, w.most)
		}
	}
}

func TestManyPeersShareTheWork(t *testing.T) {
	info := random(64*PieceSize, 1)
	alone := newWorld(t, info, Config{})
	alone.add(1, other{data: info, delay: 100 * time.Millisecond})
	one := alone.run(time.Minute)
	w := newWorld(t, info, Config{})
	for id := range uint32(8) {
		w.add(id+1, other{data: info, delay: 100 * time.Millisecond})
	}
	eight := w.run(time.Minute)
	w.wantInfo(info)
	if eight > one/7 {
		t.Errorf("eight peers take %v, one takes %v", eight, one)
	}
	asked := 0
	for _, p := range w.peers {
		asked += p.asked
	}
	if asked != 64 {
		t.Errorf("%d requests for 64 pieces", asked)
	}
}

func TestSilentAndUnwillingPeers(t *testing.T) {
	info := random(9*PieceSize, 1)
	w := newWorld(t, info, Config{})
	w.add(1, other{data: info, mute: true})
	w.add(2, other{data: info, no: true, delay: 10 * time.Millisecond})
	w.add(3, other{data: info, delay: 10 * time.Millisecond})
	took := w.run(time.Minute)
	w.wantInfo(info)
	if took > 4*time.Second {
		t.Errorf("it took %v: a late piece is to be asked of others after 3 s", took)
	}
	if w.peers[2].asked > 4 {
		t.Errorf("a peer that rejects was asked %d times", w.peers[2].asked)
	}
}

func TestLateAnswersCount(t *testing.T) {
	info := random(4*PieceSize, 1)
	w := newWorld(t, info, Config{})
	w.add(1, other{data: info, delay: 20 * time.Second})
	if took := w.run(time.Minute); took != 20*time.Second {
		t.Errorf("it took %v", took)
	}
	w.wantInfo(info)
	if got := w.peers[1].asked; got != 4 {
		t.Errorf("%d requests", got)
	}
}

func TestNobodyThere(t *testing.T) {
	info := random(100, 1)
	w := newWorld(t, info, Config{})
	w.add(1, other{size: -1})
	w.add(2, other{size: 30<<20 + 1})
	w.add(3, other{size: 1 << 31})
	w.run(time.Hour)
	if w.info != nil || w.f.Sources() != 0 {
		t.Fatal("somebody was asked")
	}
	// One of them learns the dictionary later.
	w.peers[1].data, w.peers[1].size = info, len(info)
	w.f.Join(1, host(1), len(info))
	w.run(time.Hour)
	w.wantInfo(info)
}

func TestMuteSwarmIsAskedLessAndLess(t *testing.T) {
	info := random(100, 1)
	w := newWorld(t, info, Config{})
	p := w.add(1, other{data: info, mute: true})
	w.run(time.Hour)
	if p.asked < 5 || p.asked > 20 {
		t.Errorf("asked %d times in an hour", p.asked)
	}
}

func TestSizeIsBelievedOnlyByHash(t *testing.T) {
	info := random(5*PieceSize+7, 1)
	w := newWorld(t, info, Config{})
	for id := range uint32(3) {
		w.add(id+1, other{data: random(5*PieceSize+6, 9), delay: time.Millisecond})
	}
	w.add(9, other{data: random(30<<20, 8), delay: time.Millisecond})
	w.add(10, other{data: info, delay: 80 * time.Millisecond})
	w.run(time.Minute)
	w.wantInfo(info)
	if slices.Contains(w.liars, 10) {
		t.Error("the honest peer is called a liar")
	}
}

func TestOneLiarIsNamed(t *testing.T) {
	info := random(3*PieceSize, 1)
	w := newWorld(t, info, Config{})
	w.add(1, other{data: random(len(info), 2), delay: time.Millisecond})
	w.run(time.Minute)
	if !slices.Equal(w.liars, []uint32{1}) || w.info != nil {
		t.Fatalf("liars %v", w.liars)
	}
	w.add(2, other{data: info, delay: time.Millisecond})
	w.run(time.Minute)
	w.wantInfo(info)
}

func TestLiarAmongHonestPeersIsNamed(t *testing.T) {
	info := random(40*PieceSize, 1)
	for liar := range uint32(4) {
		w := newWorld(t, info, Config{})
		for id := range uint32(4) {
			o := other{data: info, delay: 20 * time.Millisecond}
			if id == liar {
				o.data = slices.Clone(info)
				for n := range 40 {
					o.data[n*PieceSize]++
				}
			}
			w.add(id+1, o)
		}
		w.run(time.Minute)
		w.wantInfo(info)
		if !slices.Equal(slices.Compact(w.liars), []uint32{liar + 1}) {
			t.Errorf("liar %d: named %v", liar+1, w.liars)
		}
	}
}

func TestMostlyLiars(t *testing.T) {
	info := random(10*PieceSize, 1)
	w := newWorld(t, info, Config{})
	for id := range uint32(20) {
		w.add(id+1, other{data: random(len(info), byte(id+2)), delay: 10 * time.Millisecond})
	}
	w.add(21, other{data: info, delay: 10 * time.Millisecond})
	took := w.run(10 * time.Minute)
	w.wantInfo(info)
	if slices.Contains(w.liars, 21) || took > time.Minute {
		t.Errorf("liars %v, after %v", w.liars, took)
	}
}

func TestPeerThatIsToSendAllAloneMayLeave(t *testing.T) {
	info := random(8*PieceSize, 1)
	w := newWorld(t, info, Config{})
	bad := slices.Clone(info)
	bad[0]++
	w.add(1, other{data: bad, delay: time.Millisecond})
	w.add(2, other{data: info, delay: time.Millisecond})
	w.run(2 * time.Millisecond)
	w.peers[1].mute = true // it stops answering when it is to send everything
	w.run(time.Minute)
	w.wantInfo(info)
}

func TestUnaskedDataIsIgnored(t *testing.T) {
	info := random(2*PieceSize, 1)
	f := New(sha1.Sum(info), Config{})
	f.Join(1, host(1), len(info))
	if r := f.Data(1, 0, len(info), info[:PieceSize], start); r.Used {
		t.Error("data that nobody asked for was used")
	}
	if r := f.Data(7, 0, len(info), info[:PieceSize], start); r.Used || r.Info != nil {
		t.Error("data of a stranger was used")
	}
	reqs, _ := f.Requests(start)
	if len(reqs) != 2 {
		t.Fatalf("requests %v", reqs)
	}
	if r := f.Data(1, 0, len(info)+1, info[:PieceSize], start); r.Used {
		t.Error("data of another size was used")
	}
	if reqs, next := f.Requests(start); len(reqs) != 0 || !next.Equal(start.Add(10*time.Second)) {
		t.Errorf("a peer that contradicts itself is asked for %v, next %v", reqs, next)
	}
	have, pieces, size := f.Progress()
	if have != 0 || pieces != 2 || size != len(info) {
		t.Errorf("progress %d of %d, %d bytes", have, pieces, size)
	}
	f.Leave(1)
	f.Leave(1)
	if have, pieces, size = f.Progress(); have+pieces+size != 0 {
		t.Errorf("progress without peers: %d of %d, %d bytes", have, pieces, size)
	}
}

// held is the memory of all pieces.
func (f *Fetcher) held() (n int) {
	for _, c := range f.candidates {
		for _, p := range c.pieces {
			n += len(p)
		}
	}
	return n
}

// begun is the number of pieces that there are lists for.
func (f *Fetcher) begun() (n int) {
	for _, c := range f.candidates {
		n += max(len(c.pieces), len(c.from), len(c.owed), len(c.latest))
	}
	return n
}

func TestMemoryIsBounded(t *testing.T) {
	const most = 64 * PieceSize
	info := random(10, 1)
	f := New(sha1.Sum(info), Config{MaxSize: most})
	for id := uint32(1); id <= 200; id++ {
		f.Join(id, host(int(id)), most-int(id))
	}
	now := start
	for range 500 {
		reqs, _ := f.Requests(now)
		for _, r := range reqs {
			if r.Piece < 63 { // never complete
				size := most - int(r.Peer)
				f.Data(r.Peer, r.Piece, size, make([]byte, min(PieceSize, size-r.Piece*PieceSize)), now)
			}
		}
		now = now.Add(time.Second)
		if n := f.held(); n > 2*most+4*PieceSize {
			t.Fatalf("%d bytes are held, at most %d", n, 2*most)
		}
		if n := f.begun(); n > 2*most/PieceSize {
			t.Fatalf("there is room for %d pieces, want at most %d", n, 2*most/PieceSize)
		}
	}
}

// TestRandomSwarms has honest peers among all kinds of others, who come and go.
func TestRandomSwarms(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		info := random(1+rng.IntN(20*PieceSize), byte(seed))
		w := newWorld(t, info, Config{})
		honest := map[uint32]bool{}
		join := func(id uint32) {
			o := other{data: info, delay: time.Duration(rng.IntN(4000)) * time.Millisecond}
			switch rng.IntN(6) {
			case 0:
				o.mute = true
			case 1:
				o.no = true
			case 2:
				o.data = random(1+rng.IntN(20*PieceSize), byte(rng.Uint32()))
			case 3:
				o.data = slices.Clone(info)
				o.data[rng.IntN(len(info))]++
			default:
				honest[id] = true
			}
			w.add(id, o)
		}
		for id := range uint32(1 + rng.IntN(10)) {
			join(id + 1)
		}
		for id := uint32(100); id < 140 && w.info == nil; id++ {
			w.run(time.Duration(rng.IntN(5000)) * time.Millisecond)
			if rng.IntN(3) == 0 {
				gone := uint32(1 + rng.IntN(10))
				delete(w.peers, gone)
				w.f.Leave(gone)
			}
			if w.info == nil {
				join(id)
			}
		}
		honest[1000] = true
		if w.info == nil {
			w.add(1000, other{data: info, delay: time.Millisecond})
			w.run(time.Hour)
		}
		w.wantInfo(info)
		for _, id := range w.liars {
			if honest[id] {
				t.Fatalf("swarm %d: honest peer %d is called a liar", seed, id)
			}
		}
	}
}

// BenchmarkLargest fetches the largest dictionary from 80 peers.
func BenchmarkLargest(b *testing.B) {
	info := random(30<<20, 1)
	sum := sha1.Sum(info)
	for b.Loop() {
		f := New(sum, Config{})
		for id := range uint32(80) {
			f.Join(id+1, host(int(id)), len(info))
		}
		for done := false; !done; {
			reqs, _ := f.Requests(start)
			for _, r := range reqs {
				from := r.Piece * PieceSize
				done = f.Data(r.Peer, r.Piece, 0, info[from:min(from+PieceSize, len(info))], start).Info != nil || done
			}
		}
	}
}

// TestClaimsAloneKeepNobodyOut has many that claim the largest dictionaries and
// say no more, and one honest peer.
func TestClaimsAloneKeepNobodyOut(t *testing.T) {
	for _, size := range []int{50_000, 20 << 20} {
		info := random(size, 20)
		w := newWorld(t, info, Config{})
		for id := range uint32(60) {
			w.add(id+1, other{size: 30<<20 - int(id/20), mute: true})
		}
		w.run(time.Minute)
		w.now = start.Add(time.Minute)
		w.add(100, other{data: info, delay: 10 * time.Millisecond})
		w.run(10 * time.Minute)
		w.wantInfo(info)
		if !w.f.Fruitless(1) || w.f.Fruitless(100) || w.f.Fruitless(1000) {
			t.Error("who gave nothing is not known")
		}
	}
}

// TestSlowLiarsTakeTurns has two liars that came first. Each sends pieces, as
// slowly as it may, and never the last; an honest peer came last.
func TestSlowLiarsTakeTurns(t *testing.T) {
	info := random(20*PieceSize, 21)
	wrong := random(20*PieceSize, 22)
	w := newWorld(t, info, Config{Pipeline: 1})
	w.f.Join(1, host(1), len(wrong))
	w.f.Join(2, host(2), len(wrong))
	w.f.Join(3, host(3), len(info))
	c := w.f.candidates[0]
	c.distrusted = true
	for step := 0; step < 100_000 && w.info == nil; step++ {
		if w.now.Sub(start) > time.Hour {
			t.Fatal("after an hour the honest peer had no turn")
		}
		reqs, next := w.f.Requests(w.now)
		for _, r := range reqs {
			piece := wrong[r.Piece*PieceSize:][:PieceSize]
			switch {
			case r.Peer == 3:
				piece = info[r.Piece*PieceSize:][:PieceSize]
			case r.Piece == 19:
				continue
			default:
				w.now = w.now.Add(8 * time.Second)
			}
			w.info = w.f.Data(r.Peer, r.Piece, len(info), piece, w.now).Info
		}
		if len(reqs) == 0 {
			if next.IsZero() {
				t.Fatal("nothing is waited for")
			}
			w.now = next
		}
	}
	w.wantInfo(info)
}
