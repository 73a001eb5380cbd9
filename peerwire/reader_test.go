package peerwire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"btd/piece"
)

// pool counts the block buffers that are out.
type pool struct {
	free      []*piece.Buffer
	out, most int
}

// patience is how long a test waits for what must come, on a busy machine.
const patience = 2 * time.Minute

func (p *pool) alloc() *piece.Buffer {
	p.out++
	p.most = max(p.most, p.out)
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	return new(piece.Buffer)
}

func (p *pool) put(b *piece.Buffer) {
	p.out--
	p.free = append(p.free, b)
}

func (p *pool) config() ReaderConfig { return ReaderConfig{Alloc: p.alloc, Free: p.put} }

// stream is a net.Conn whose reads come from memory, in chunks of random
// size, whatever the size of the buffer.
type stream struct {
	net.Conn
	b     []byte
	chunk func() int // nil: as much as there is room for
	calls int
}

func (s *stream) next(room int) int {
	n := min(len(s.b), room)
	if s.chunk != nil {
		n = min(n, max(1, s.chunk()))
	}
	s.calls++
	return n
}

func (s *stream) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := s.next(len(p))
	copy(p, s.b[:n])
	s.b = s.b[n:]
	return n, nil
}

// scatter does what readv does.
func (s *stream) scatter(direct []byte, segs []segment) (total int, err error) {
	room := len(direct)
	for _, g := range segs {
		room += len(g.b)
	}
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := s.next(room)
	rest := s.b[:n]
	s.b = s.b[n:]
	rest = rest[copy(direct, rest):]
	for _, g := range segs {
		rest = rest[copy(g.b, rest):]
	}
	return n, nil
}

// newTestReader reads from s by readv or by plain reads.
func newTestReader(s *stream, cfg ReaderConfig, vectored bool) *Reader {
	r := NewReader(s, cfg)
	if vectored {
		r.scatter, r.shrink = s.scatter, func() {}
	}
	return r
}

// decodeAll is what a Reader has to make of b: the messages that Decode
// finds, without those that are unknown.
func decodeAll(b []byte) (all []Message, err error) {
	for len(b) > 0 {
		var m Message
		n, err := Decode(b, &m)
		if err != nil {
			return all, err
		}
		b = b[n:]
		if m.ID.Known() {
			all = append(all, m)
		}
	}
	return all, nil
}

// checkReader reads b to its end and compares with Decode.
func checkReader(t *testing.T, b []byte, chunk func() int, vectored bool) {
	t.Helper()
	checkReaderOf(t, b, chunk, func(s *stream, cfg ReaderConfig) *Reader { return newTestReader(s, cfg, vectored) })
}

// checkReaderOf is checkReader for a Reader that is made in another way.
func checkReaderOf(t *testing.T, b []byte, chunk func() int, newReader func(*stream, ReaderConfig) *Reader) {
	t.Helper()
	want, wantErr := decodeAll(b)
	var p pool
	s := &stream{b: b, chunk: chunk}
	r := newReader(s, p.config())
	for i := 0; ; i++ {
		ready, calls := r.Buffered(), s.calls
		var m Message
		err := r.Next(&m)
		if ready && s.calls != calls {
			t.Fatalf("message %d was said to be buffered, and %d reads were made for it", i, s.calls-calls)
		}
		if err != nil {
			if i != len(want) {
				t.Fatalf("%v after %d messages, want %d (then %v)", err, i, len(want), wantErr)
			}
			switch {
			case wantErr == nil && err != io.EOF:
				t.Fatalf("got %v, want io.EOF", err)
			case wantErr == io.ErrUnexpectedEOF && !errors.Is(err, wantErr),
				errors.Is(wantErr, ErrMalformed) && !errors.Is(err, ErrMalformed):
				t.Fatalf("got %v, want %v", err, wantErr)
			}
			break
		}
		if i >= len(want) {
			t.Fatalf("got %v after the end", m.ID)
		}
		if m.ID == Piece {
			if long := m.Length > piece.BlockSize; long != (m.Buf == nil) {
				t.Fatalf("piece of %d bytes: buffer is nil: %v", m.Length, m.Buf == nil)
			}
			m.Payload = want[i].Payload
			if m.Buf != nil {
				m.Payload = bytes.Clone(m.Buf[:m.Length])
				p.put(m.Buf)
				m.Buf = nil
			}
		}
		if len(m.Payload) == 0 && len(want[i].Payload) == 0 {
			m.Payload = want[i].Payload
		}
		if !reflect.DeepEqual(m, want[i]) {
			t.Fatalf("message %d: got %v, want %v, or their contents differ", i, m.ID, want[i].ID)
		}
	}
	if p.out != 0 {
		t.Fatalf("%d buffers were not given back", p.out)
	}
}

// randomStream is n messages of all kinds, mostly blocks.
func randomStream(rng *rand.Rand, n int) (b []byte) {
	all := samples()
	data := make([]byte, 40<<10)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	for range n {
		switch k := rng.IntN(20); {
		case k < 12:
			b = AppendPiece(b, rng.Uint32(), rng.Uint32(), data[rng.IntN(1<<10):][:piece.BlockSize])
		case k < 14:
			b = AppendPiece(b, 1, 2, data[:1+rng.IntN(piece.BlockSize)])
		case k == 14 && rng.IntN(4) == 0:
			b = AppendPiece(b, 1, 2, data[:piece.BlockSize+1+rng.IntN(9999)])
		case k == 15 && rng.IntN(4) == 0:
			b = AppendBitfield(b, data[:rng.IntN(30<<10)])
		case k == 16:
			b = append(b, wire(byte(21+rng.IntN(200)), 1+rng.IntN(50))...)
		default:
			b = append(b, all[rng.IntN(len(all))].wire...)
		}
	}
	return b
}

func TestReaderAgreesWithDecode(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		b := randomStream(rng, 120)
		if seed%3 == 0 {
			b = b[:rng.IntN(len(b))]
		}
		top := []int{1 << 30, 200 << 10, 20 << 10, 700}[seed%4]
		chunk := func() int { return 1 + rng.IntN(top) }
		checkReader(t, b, chunk, true)
		checkReader(t, b, chunk, false)
		checkReader(t, b, nil, true)
		checkReader(t, b, nil, false)
	}
}

func TestReaderByteByByte(t *testing.T) {
	var b []byte
	for _, s := range samples() {
		b = append(b, s.wire...)
	}
	for cut := len(b); cut > len(b)-30; cut-- {
		checkReader(t, b[:cut], func() int { return 1 }, true)
		checkReader(t, b[:cut], func() int { return 1 }, false)
	}
}

func TestBlocksAreReadInPlace(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), piece.BlockSize/16)
	var b []byte
	const blocks = 2000
	for i := range uint32(blocks) {
		b = AppendPiece(b, i, i, data)
	}
	var p pool
	s := &stream{b: b}
	r := newTestReader(s, p.config(), true)
	for i := range uint32(blocks) {
		var m Message
		if err := r.Next(&m); err != nil {
			t.Fatal(err)
		}
		if m.ID != Piece || m.Index != i || !bytes.Equal(m.Buf[:m.Length], data) {
			t.Fatalf("block %d: got %v %d with other data", i, m.ID, m.Index)
		}
		p.put(m.Buf)
	}
	// 32 blocks a call, after a start of a few smaller ones.
	if s.calls > blocks/32+10 {
		t.Errorf("%d reads for %d blocks, want %d and a few", s.calls, blocks, blocks/32)
	}
	if p.most > 34 {
		t.Errorf("%d buffers were out at a time, want 32 and at most 2 more", p.most)
	}
}

func TestDataBeyondTheCreditIsThrownAway(t *testing.T) {
	for _, vectored := range []bool{true, false} {
		var b []byte
		for i := range uint32(50) {
			b = AppendPiece(b, i, 0, make([]byte, piece.BlockSize))
			b = AppendHave(b, 7)
		}
		var p pool
		var credit atomic.Int64
		credit.Store(20)
		cfg := p.config()
		cfg.Credit = &credit
		r := newTestReader(&stream{b: b}, cfg, vectored)
		kept := 0
		for {
			var m Message
			err := r.Next(&m)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.ID != Piece {
				continue
			}
			if m.Length != piece.BlockSize {
				t.Errorf("block %d: length %d", m.Index, m.Length)
			}
			if (m.Buf != nil) != (m.Index < 20) {
				t.Errorf("block %d: kept is %v", m.Index, m.Buf != nil)
			}
			if m.Buf != nil {
				kept++
				p.put(m.Buf)
			}
		}
		if kept != 20 || credit.Load() != 0 {
			t.Errorf("kept %d blocks, credit %d left, want 20 and 0", kept, credit.Load())
		}
		if p.out != 0 || p.most > 21 {
			t.Errorf("%d buffers missing, %d out at a time, want 0 and at most 21", p.out, p.most)
		}
	}
}

func TestCreditThatComesAndGoes(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 7))
		b := randomStream(rng, 200)
		want, err := decodeAll(b)
		if err != nil {
			t.Fatal(err)
		}
		var p pool
		var credit atomic.Int64
		cfg := p.config()
		cfg.Credit = &credit
		r := newTestReader(&stream{b: b, chunk: func() int { return 1 + rng.IntN(400<<10) }}, cfg, seed%4 != 0)
		for i, w := range want {
			if rng.IntN(10) == 0 {
				credit.Store(int64(rng.IntN(60) - 5))
			}
			before := credit.Load()
			var m Message
			if err := r.Next(&m); err != nil {
				t.Fatalf("seed %d, message %d: %v", seed, i, err)
			}
			if m.ID != w.ID || m.Index != w.Index || m.Length != w.Length {
				t.Fatalf("seed %d, message %d: got %v, want %v", seed, i, m.ID, w.ID)
			}
			kept := m.ID == Piece && m.Length <= piece.BlockSize && before > 0
			if kept != (m.Buf != nil) || kept && credit.Load() != before-1 || !kept && credit.Load() != before {
				t.Fatalf("seed %d, message %d: credit %d before, %d after, kept %v, want %v", seed, i, before, credit.Load(), m.Buf != nil, kept)
			}
			if m.Buf != nil {
				if !bytes.Equal(m.Buf[:m.Length], w.Payload) {
					t.Fatalf("seed %d, message %d: other data", seed, i)
				}
				p.put(m.Buf)
			}
			if p.out > 57 { // the largest credit, and 2
				t.Fatalf("seed %d, message %d: the reader holds %d buffers", seed, i, p.out)
			}
		}
		r.Release()
		if p.out != 0 {
			t.Fatalf("seed %d: %d buffers were not given back", seed, p.out)
		}
	}
}

func TestIdleReaderOverTCPHoldsNoBlocks(t *testing.T) {
	a, c := tcpPair(t)
	c.SetReadDeadline(time.Now().Add(patience))
	var p pool
	var credit atomic.Int64
	cfg := p.config()
	cfg.Credit = &credit
	r := NewReader(c, cfg)
	next := func(want ID) {
		t.Helper()
		var m Message
		if err := r.Next(&m); err != nil || m.ID != want {
			t.Fatalf("got %v, %v, want %v", m.ID, err, want)
		}
		if m.Buf != nil {
			p.put(m.Buf)
		}
	}
	const blocks = 500
	credit.Store(blocks)
	go func() {
		var b []byte
		for i := range uint32(blocks) {
			b = AppendPiece(b, i, 0, make([]byte, piece.BlockSize))
		}
		a.Write(b)
	}()
	for range blocks {
		next(Piece)
	}
	for range 100 { // one at a time, as to an idle peer
		if _, err := a.Write(AppendHave(nil, 1)); err != nil {
			t.Fatal(err)
		}
		next(Have)
	}
	if p.out != 0 || r.bulk != nil || r.big != nil {
		t.Errorf("an idle reader holds %d blocks, run memory %v, %d bytes to read into, want none", p.out, r.bulk != nil, len(r.big))
	}
}

func TestResetEndsBothDirections(t *testing.T) {
	a, c := tcpPair(t)
	a.SetLinger(0)
	a.Close()
	var p pool
	var m Message
	linux := runtime.GOOS == "linux" // elsewhere the errors have other numbers
	if err := NewReader(c, p.config()).Next(&m); err == nil || linux && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: got %v, want connection reset", err)
	}
	w := NewWriter(c)
	w.Piece(1, 2, make([]byte, 99))
	if _, err := w.Flush(time.Time{}); err == nil || linux && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write: got %v, want broken pipe", err)
	}
}

func TestLongPieceIsThrownAwayAndCostsNoCredit(t *testing.T) {
	for _, vectored := range []bool{true, false} {
		b := AppendPiece(nil, 1, 2, make([]byte, piece.BlockSize+1))
		b = AppendPiece(b, 2, 2, make([]byte, MaxRequest))
		b = AppendChoke(b)
		var p pool
		var credit atomic.Int64
		credit.Store(1)
		cfg := p.config()
		cfg.Credit = &credit
		r := newTestReader(&stream{b: b}, cfg, vectored)
		var m Message
		for _, want := range []uint32{piece.BlockSize + 1, MaxRequest} {
			if err := r.Next(&m); err != nil || m.ID != Piece || m.Buf != nil || m.Length != want {
				t.Fatalf("got %v of %d bytes, buffer %v, %v", m.ID, m.Length, m.Buf != nil, err)
			}
		}
		if err := r.Next(&m); err != nil || m.ID != Choke {
			t.Errorf("got %v, %v, want choke", m.ID, err)
		}
		if credit.Load() != 1 {
			t.Errorf("credit: got %d, want 1", credit.Load())
		}
	}
}

func TestLongMessagesAreBounded(t *testing.T) {
	var p pool
	cfg := p.config()
	cfg.MaxMessage = 1000
	r := NewReader(&stream{b: append(AppendBitfield(nil, make([]byte, 999)), wire(5, 1001)...)}, cfg)
	var m Message
	if err := r.Next(&m); err != nil || len(m.Payload) != 999 {
		t.Fatalf("got %d bytes, %v, want 999", len(m.Payload), err)
	}
	err := r.Next(&m)
	if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "bitfield: length 1001, want at most 1000") {
		t.Errorf("got %v, want ErrMalformed that says the length", err)
	}
	if again := r.Next(&m); again != err || !r.Buffered() {
		t.Errorf("after an error: got %v, want the same again", again)
	}
}

func TestALengthTakesNoMemory(t *testing.T) {
	var p pool
	cfg := p.config()
	r := NewReader(&stream{b: AppendBitfield(nil, make([]byte, 1<<19))[:1000]}, cfg)
	var m Message
	if err := r.Next(&m); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("got %v, want io.ErrUnexpectedEOF", err)
	}
	r = NewReader(&stream{b: AppendBitfield(nil, make([]byte, 1<<19))[:1000]}, cfg)
	r.err = nil
	for r.left > 0 || r.hn == 0 {
		if _, err := r.step(&m); err != nil {
			t.Fatal(err)
		}
		if err := r.fill(); err != nil {
			break
		}
	}
	if cap(r.body) > 2*keepBody {
		t.Errorf("1,000 bytes of a 512 KiB message took %d bytes of memory", cap(r.body))
	}
}

func TestPendingBytesComeFirst(t *testing.T) {
	b := AppendHave(AppendHave(nil, 1), 2)
	for cut := range len(b) + 1 {
		var p pool
		cfg := p.config()
		cfg.Pending = b[:cut]
		r := newTestReader(&stream{b: b[cut:]}, cfg, cut%2 == 0)
		for want := uint32(1); want <= 2; want++ {
			var m Message
			if err := r.Next(&m); err != nil || m.Index != want {
				t.Fatalf("cut at %d: got %d, %v, want %d", cut, m.Index, err, want)
			}
		}
	}
}

func TestIdleReaderHoldsNoBlocks(t *testing.T) {
	var b []byte
	for i := range uint32(200) {
		b = AppendPiece(b, i, 0, make([]byte, piece.BlockSize))
	}
	for range 200 {
		b = AppendKeepAlive(b)
	}
	var p pool
	var credit atomic.Int64
	credit.Store(200)
	cfg := p.config()
	cfg.Credit = &credit
	s := &stream{b: b}
	r := newTestReader(s, cfg, true)
	for i := range 400 {
		if i == 200 {
			s.chunk = func() int { return 4 }
		}
		var m Message
		if err := r.Next(&m); err != nil {
			t.Fatal(err)
		}
		if m.Buf != nil {
			p.put(m.Buf)
		}
	}
	if p.out != 0 || r.bulk != nil || r.big != nil {
		t.Errorf("an idle reader holds %d blocks, run memory %v, %d bytes to read into, want none", p.out, r.bulk != nil, len(r.big))
	}
}

func TestReleaseGivesEverythingBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	b := randomStream(rng, 300)
	for n := range 100 {
		for _, vectored := range []bool{true, false} {
			var p pool
			r := newTestReader(&stream{b: b, chunk: func() int { return 1 + rng.IntN(100<<10) }}, p.config(), vectored)
			for range n {
				var m Message
				if err := r.Next(&m); err != nil {
					t.Fatal(err)
				}
				if m.Buf != nil {
					p.put(m.Buf)
				}
			}
			r.Release()
			r.Release()
			if p.out != 0 {
				t.Fatalf("after %d messages: %d buffers were not given back", n, p.out)
			}
			var m Message
			if err := r.Next(&m); !errors.Is(err, net.ErrClosed) {
				t.Fatalf("after release: got %v, want net.ErrClosed", err)
			}
		}
	}
}

// tcpPair is the two ends of a TCP connection over loopback.
func tcpPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dialled.Close()
		accepted.Close()
	})
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

func TestDeadlineMayPassAnywhere(t *testing.T) {
	a, c := tcpPair(t)
	b := append(AppendPiece(nil, 3, 4, bytes.Repeat([]byte{9}, 200)), AppendHave(nil, 5)...)
	var p pool
	r := NewReader(c, p.config())
	var got []Message
	for i := range b {
		if _, err := a.Write(b[i : i+1]); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		var m Message
		err := r.Next(&m)
		if err == nil {
			got = append(got, m)
		} else if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	c.SetReadDeadline(time.Now().Add(patience))
	for len(got) < 2 {
		var m Message
		if err := r.Next(&m); err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	if got[0].ID != Piece || !bytes.Equal(got[0].Buf[:got[0].Length], b[13:213]) || got[1].Index != 5 {
		t.Errorf("got %v of %d bytes and %v %d", got[0].ID, got[0].Length, got[1].ID, got[1].Index)
	}
}

func TestReaderOverTCP(t *testing.T) {
	a, c := tcpPair(t)
	rng := rand.New(rand.NewPCG(5, 5))
	b := randomStream(rng, 1500)
	want, err := decodeAll(b)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for rest := b; len(rest) > 0; {
			n := min(len(rest), 1+rng.IntN(300<<10))
			if _, err := a.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
		a.CloseWrite()
	}()
	c.SetReadDeadline(time.Now().Add(patience))
	var p pool
	r := NewReader(c, p.config())
	for i, w := range want {
		var m Message
		if err := r.Next(&m); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		data := m.Payload
		if m.Buf != nil {
			data = m.Buf[:m.Length]
		}
		if m.ID != w.ID || m.Index != w.Index || m.Ext != w.Ext ||
			!bytes.Equal(data, w.Payload) && (m.ID != Piece || m.Buf != nil) {
			t.Fatalf("message %d: got %v, want %v, or their contents differ", i, m.ID, w.ID)
		}
		if m.Buf != nil {
			p.put(m.Buf)
		}
	}
	var m Message
	if err := r.Next(&m); err != io.EOF {
		t.Errorf("at the end: got %v, want io.EOF", err)
	}
	if r.BytesRead() != int64(len(b)) {
		t.Errorf("bytes read: got %d, want %d", r.BytesRead(), len(b))
	}
	if p.out != 0 {
		t.Errorf("%d buffers were not given back", p.out)
	}
}

func TestReadingBlocksAllocatesNothing(t *testing.T) {
	a, c := tcpPair(t)
	c.SetReadDeadline(time.Now().Add(patience))
	go sendBlocks(a, 16, false)
	var p pool
	var credit atomic.Int64
	credit.Store(1 << 40)
	cfg := p.config()
	cfg.Credit = &credit
	r := NewReader(c, cfg)
	next := func() {
		var m Message
		if err := r.Next(&m); err != nil {
			t.Fatal(err)
		}
		p.put(m.Buf)
	}
	for range 2000 {
		next()
	}
	if got := testing.AllocsPerRun(5000, next); got != 0 {
		t.Errorf("allocations per block: got %v, want 0", got)
	}
}

// sendBlocks sends batches of n block messages until it fails, with another
// message now and then if they are mixed.
func sendBlocks(conn net.Conn, n int, mixed bool) {
	var b []byte
	for i := range n {
		b = AppendPiece(b, uint32(i), 0, make([]byte, piece.BlockSize))
		if mixed && i%8 == 3 {
			b = AppendHave(b, 1)
		}
	}
	for {
		if _, err := conn.Write(b); err != nil {
			return
		}
	}
}

// FuzzReader mixes bytes with whole blocks, so that small inputs get to the
// paths of a fast peer.
func FuzzReader(f *testing.F) {
	var all []byte
	for _, s := range samples() {
		all = append(all, s.wire...)
	}
	f.Add(all, uint64(2), uint8(20))
	f.Add(AppendPiece(AppendHave(nil, 1), 1, 2, make([]byte, 99)), uint64(3), uint8(3))
	f.Add(wire(200, 60), uint64(4), uint8(0))
	f.Add(AppendPiece(nil, 1, 2, make([]byte, piece.BlockSize+1))[:40], uint64(5), uint8(4))
	data := testData(piece.BlockSize)
	f.Fuzz(func(t *testing.T, in []byte, seed uint64, blocks uint8) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var b []byte
		for i := range blocks % 32 {
			b = AppendPiece(b, uint32(i), 0, data)
			if rng.IntN(4) == 0 {
				b = append(b, in...)
			}
		}
		b = append(b, in...)
		top := 1 << (8 + rng.IntN(12))
		chunk := func() int {
			if rng.IntN(8) == 0 {
				return 1 + rng.IntN(16)
			}
			return 1 + rng.IntN(top)
		}
		checkReader(t, b, chunk, true)
		checkReader(t, b, chunk, false)
		checkReaderOf(t, b, chunk, newEagerReader(rng))
	})
}

// TestSilentPeerHoldsLittle lets a peer be fast for a while and then say
// nothing: what was prepared for its next run of blocks goes back.
func TestSilentPeerHoldsLittle(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	const blocks = 512
	var held, most atomic.Int64
	var credit atomic.Int64
	credit.Store(2 * blocks)
	r := NewReader(in, ReaderConfig{
		Credit: &credit,
		Alloc: func() *piece.Buffer {
			if n := held.Add(1); n > most.Load() {
				most.Store(n)
			}
			return new(piece.Buffer)
		},
		Free: func(*piece.Buffer) { held.Add(-1) },
	})
	go func() {
		data := make([]byte, piece.BlockSize)
		var b []byte
		for i := range 64 {
			b = AppendPiece(b, uint32(i), 0, data)
		}
		for range blocks / 64 {
			if _, err := out.Write(b); err != nil {
				return
			}
		}
	}()
	var m Message
	for range blocks {
		if err := r.Next(&m); err != nil {
			t.Fatal(err)
		}
		held.Add(-1) // the caller's now
	}
	done := make(chan error, 1)
	go func() { done <- r.Next(&m) }()
	deadline := time.Now().Add(patience)
	for held.Load() > 2 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if n := held.Load(); n > 2 {
		t.Errorf("a silent peer's reader holds %d buffers, want at most 2 (it held %d while it was fast)", n, most.Load())
	}
	in.Close()
	<-done
	r.Release()
}
