package peerwire

import (
	"errors"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"btd/piece"
)

// eagerStream is a stream that may have nothing when it is asked for what is
// here, but has something when it is waited for.
type eagerStream struct {
	*stream
	rng   *rand.Rand
	waits int
	err   error // of ReadNow at the end
}

func (s *eagerStream) Read(p []byte) (int, error) {
	s.waits++
	return s.stream.Read(p)
}

func (s *eagerStream) ReadNow(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, s.err
	}
	if s.rng.IntN(3) == 0 {
		return 0, nil
	}
	return s.stream.Read(p)
}

func newEagerReader(rng *rand.Rand) func(*stream, ReaderConfig) *Reader {
	return func(s *stream, cfg ReaderConfig) *Reader {
		return NewReader(&eagerStream{stream: s, rng: rng}, cfg)
	}
}

func TestEagerReaderAgreesWithDecode(t *testing.T) {
	for seed := range uint64(24) {
		rng := rand.New(rand.NewPCG(seed, 2))
		b := randomStream(rng, 120)
		if seed%3 == 0 {
			b = b[:rng.IntN(len(b))]
		}
		top := []int{1 << 30, 16 << 10, 700, 50}[seed%4]
		checkReaderOf(t, b, func() int { return 1 + rng.IntN(top) }, newEagerReader(rng))
	}
}

// TestEagerReaderWaitsWithLittle has a connection fall silent after a run of
// blocks: what was prepared for more is given back before it is waited for.
func TestEagerReaderWaitsWithLittle(t *testing.T) {
	var b []byte
	for i := range uint32(200) {
		b = AppendPiece(b, i, 0, make([]byte, piece.BlockSize))
	}
	var p pool
	var credit atomic.Int64
	credit.Store(400)
	cfg := p.config()
	cfg.Credit = &credit
	held := -1
	s := &eagerStream{stream: &stream{b: b}, rng: rand.New(rand.NewPCG(1, 1))}
	r := NewReader(&silent{s, func() { held = p.out }}, cfg)
	for range 200 {
		var m Message
		if err := r.Next(&m); err != nil {
			t.Fatal(err)
		}
		p.put(m.Buf)
	}
	if p.most < 16 {
		t.Errorf("at most %d blocks were prepared: runs of blocks are not read at once", p.most)
	}
	var m Message
	if err := r.Next(&m); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if held < 0 || held > 1 {
		t.Errorf("%d blocks are held while nothing comes", held)
	}
}

// silent tells when it is waited for at the end.
type silent struct {
	*eagerStream
	waiting func()
}

func (s *silent) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		s.waiting()
	}
	return s.eagerStream.Read(p)
}

// TestEagerReaderKeepsErrors has ReadNow fail, at once and behind bytes.
func TestEagerReaderKeepsErrors(t *testing.T) {
	for _, b := range [][]byte{nil, AppendHave(nil, 7)} {
		var p pool
		s := &eagerStream{stream: &stream{b: b}, rng: rand.New(rand.NewPCG(1, 1)), err: io.ErrClosedPipe}
		r := NewReader(s, p.config())
		var m Message
		for range len(b) / 9 {
			if err := r.Next(&m); err != nil || m.Index != 7 {
				t.Fatalf("got %+v, %v", m, err)
			}
		}
		if err := r.Next(&m); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("after %d bytes: %v", len(b), err)
		}
	}
}
