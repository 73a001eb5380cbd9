package storage

import (
	"context"
	"crypto/sha1"
	"errors"
	"io"
	"sync"

	"btd/piece"
)

// Verify hashes the pieces of want (nil means all) that are on disk and calls
// each for every one of them, one call at a time, in no certain order. Pieces
// that are missing or only a hole are not ok. Workers are shared with every
// other Verify of the Store.
//
// It returns the context's error if that ends first, or the first I/O error;
// then each was not called for all pieces. A full Verify also forgives files
// that have vanished: they may be made again.
func (t *Torrent) Verify(ctx context.Context, want *piece.Bitfield, each func(i piece.Index, ok bool)) error {
	if err := t.gate.enter(); err != nil {
		return err
	}
	defer t.gate.leave()
	if want == nil {
		t.forgive()
	}
	err := t.prepared()
	if err == nil {
		err = t.verify(ctx, want, each)
	}
	if err != nil && ctx.Err() == nil {
		t.failed(err)
	}
	return err
}

// forgive lets files that are gone be made again; skipped ones are looked for
// anew. What is open stays open only if it still has its name.
func (t *Torrent) forgive() {
	t.forget()
	t.tree.accept()
	t.layout.Lock()
	for i := range t.flags {
		t.flags[i].And(^uint32(flagSeen | flagInPlace))
	}
	t.layout.Unlock()
	t.empties.Store(false)
}

func (t *Torrent) verify(ctx context.Context, want *piece.Bitfield, each func(piece.Index, bool)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	v := &verification{t: t, want: want, each: each}
	var wg sync.WaitGroup
	for range min(t.s.cfg.Workers, t.geo.Pieces()) {
		wg.Go(func() {
			if err := v.run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// verification is one Verify under way.
type verification struct {
	t    *Torrent
	want *piece.Bitfield

	mu   sync.Mutex
	next piece.Index

	zeroMu sync.Mutex
	zeros  map[int64][20]byte // SHA-1 of so many zeros: of two lengths at most

	eachMu sync.Mutex
	each   func(piece.Index, bool)
}

// take is the next group of pieces [from, to) for c: neighbours that fit into
// its memory, or long ones that are hashed side by side. The last of the long
// ones are divided among the workers.
func (v *verification) take(c *checker) (from, to piece.Index) {
	v.mu.Lock()
	defer v.mu.Unlock()
	end := piece.Index(v.t.geo.Pieces())
	for v.next < end && v.want != nil && !v.want.Has(v.next) {
		v.next++
	}
	from = v.next
	side := min(len(c.checks), (int(end-from)+v.t.s.cfg.Workers-1)/v.t.s.cfg.Workers)
	most := int64(len(c.buf))
	if length := v.t.geo.PieceLength(); length > most/int64(len(c.checks)) {
		most = min(int64(side)*length, maxSpread)
	}
	for n := int64(0); v.next < end && (v.want == nil || v.want.Has(v.next)); v.next++ {
		n += v.t.geo.Length(v.next)
		if v.next > from && n > most {
			break
		}
	}
	return from, v.next
}

func (v *verification) run(ctx context.Context) error {
	for {
		var c *checker
		select {
		case c = <-v.t.s.tokens:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if c == nil {
			c = newChecker()
			v.t.s.busy()
		}
		from, to := v.take(c)
		var err error
		if from < to {
			err = v.group(ctx, c, from, to)
		}
		v.t.s.tokens <- c
		if err != nil || from == to {
			return err
		}
	}
}

// holes tells of pieces that are not there at all, or nothing but padding. One
// that is all zeros by its hash is right if its files are long enough.
func (v *verification) holes(ctx context.Context, from, to piece.Index) error {
	for i := from; i < to; i++ {
		ok := false
		if n := v.t.geo.Length(i); v.zeroSum(n) == v.t.info.Sum(int(i)) {
			err := v.t.readable(v.t.geo.Offset(i), n)
			if err != nil && (!short(err) || v.t.gone(err)) {
				return err
			}
			ok = err == nil
		}
		if err := v.check(ctx); err != nil {
			return err
		}
		v.tell(i, ok)
	}
	return nil
}

func (v *verification) zeroSum(n int64) [20]byte {
	v.zeroMu.Lock()
	defer v.zeroMu.Unlock()
	sum, ok := v.zeros[n]
	if !ok {
		h := sha1.New()
		for left := n; left > 0; left -= int64(len(zeros)) {
			h.Write(zeros[:min(left, int64(len(zeros)))])
		}
		sum = [20]byte(h.Sum(nil))
		if v.zeros == nil {
			v.zeros = make(map[int64][20]byte)
		}
		v.zeros[n] = sum
	}
	return sum
}

// check tells whether to stop.
func (v *verification) check(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if v.t.gate.closed.Load() {
		return ErrClosed
	}
	return nil
}

func (v *verification) tell(i piece.Index, ok bool) {
	if ok {
		v.t.mustSync(i)
	}
	v.eachMu.Lock()
	defer v.eachMu.Unlock()
	v.each(i, ok)
}

// mustSync leaves the files of a piece that was found right to the next Sync:
// whoever wrote it, it may still be in memory only.
func (t *Torrent) mustSync(i piece.Index) {
	t.layout.RLock()
	defer t.layout.RUnlock()
	c := t.cursor(t.geo.Offset(i), t.geo.Length(i))
	for s, err := c.next(); err == nil && s.n > 0; s, err = c.next() {
		if s.file != padFile {
			t.wrote(s.file)
		}
	}
}

// short tells whether err says that a file ends too early or is missing.
func short(err error) bool { return missing(err) || errors.Is(err, io.ErrUnexpectedEOF) }

// trimVerify drops read buffers that no Verify uses, and tells whether one is in
// use.
func (s *Store) trimVerify() (more bool) {
	for range cap(s.tokens) {
		select {
		case <-s.tokens:
			s.tokens <- nil
		default:
			return true
		}
	}
	return false
}
