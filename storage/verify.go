package storage

import (
	"context"
	"crypto/sha1"
	"errors"
	"hash"
	"io"
	"sync"

	"btd/piece"
)

// verifyBuffer is how much a Verify worker reads at once, bytes: small enough
// to be hashed out of the processor's cache. From memory-backed files, 1 MiB
// costs 0.87 CPU seconds per GiB and 256 KiB 0.75; on disk they are equal.
const verifyBuffer = 256 << 10

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

// forgive lets files that are gone be made again. What is open stays open only
// if it still has its name.
func (t *Torrent) forgive() {
	t.forget()
	t.tree.accept()
	for i := range t.flags {
		t.flags[i].And(^uint32(flagSeen))
	}
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

// take is the next group of pieces [from, to): one, or as many neighbours as
// fit into the buffer.
func (v *verification) take() (from, to piece.Index) {
	v.mu.Lock()
	defer v.mu.Unlock()
	end := piece.Index(v.t.geo.Pieces())
	for v.next < end && v.want != nil && !v.want.Has(v.next) {
		v.next++
	}
	from = v.next
	for n := int64(0); v.next < end && (v.want == nil || v.want.Has(v.next)); v.next++ {
		n += v.t.geo.Length(v.next)
		if v.next > from && n > verifyBuffer {
			break
		}
	}
	return from, v.next
}

func (v *verification) run(ctx context.Context) error {
	h := sha1.New()
	for {
		var buf []byte
		select {
		case buf = <-v.t.s.tokens:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if buf == nil {
			buf = make([]byte, verifyBuffer)
			v.t.s.busy()
		}
		from, to := v.take()
		var err error
		if from < to {
			err = v.group(ctx, h, buf, from, to)
		}
		v.t.s.tokens <- buf
		if err != nil || from == to {
			return err
		}
	}
}

// group checks pieces [from, to).
func (v *verification) group(ctx context.Context, h hash.Hash, buf []byte, from, to piece.Index) error {
	t := v.t
	off := t.geo.Offset(from)
	n := t.geo.Offset(to-1) + t.geo.Length(to-1) - off
	data, err := t.hasData(off, n)
	if err != nil {
		return err
	}
	if !data {
		return v.holes(ctx, h, from, to)
	}
	if to-from == 1 {
		ok, err := v.piece(ctx, h, buf, off, n, t.info.Sum(int(from)))
		if err == nil {
			v.tell(from, ok)
		}
		return err
	}
	if err := v.check(ctx); err != nil {
		return err
	}
	switch err := t.readAt(buf[:n], off); {
	case err == nil:
	case short(err) && !t.gone(err):
		return v.single(ctx, h, buf, from, to)
	default:
		return err
	}
	for i := from; i < to; i++ {
		at := t.geo.Offset(i) - off
		v.tell(i, sha1.Sum(buf[at:at+t.geo.Length(i)]) == t.info.Sum(int(i)))
	}
	return nil
}

// single checks pieces one by one, where some of them can't be read.
func (v *verification) single(ctx context.Context, h hash.Hash, buf []byte, from, to piece.Index) error {
	for i := from; i < to; i++ {
		ok, err := v.piece(ctx, h, buf, v.t.geo.Offset(i), v.t.geo.Length(i), v.t.info.Sum(int(i)))
		if err != nil {
			return err
		}
		v.tell(i, ok)
	}
	return nil
}

// piece hashes content [off, off+n).
func (v *verification) piece(ctx context.Context, h hash.Hash, buf []byte, off, n int64, want [20]byte) (bool, error) {
	h.Reset()
	for n > 0 {
		if err := v.check(ctx); err != nil {
			return false, err
		}
		p := buf[:min(n, int64(len(buf)))]
		if err := v.t.readAt(p, off); err != nil {
			if short(err) && !v.t.gone(err) {
				return false, nil
			}
			return false, err
		}
		h.Write(p)
		off, n = off+int64(len(p)), n-int64(len(p))
	}
	return [20]byte(h.Sum(buf[:0])) == want, nil
}

// holes tells of pieces that are not there at all. One that is all zeros by
// its hash is right if its files are long enough.
func (v *verification) holes(ctx context.Context, h hash.Hash, from, to piece.Index) error {
	for i := from; i < to; i++ {
		ok := false
		if n := v.t.geo.Length(i); v.zeroSum(h, n) == v.t.info.Sum(int(i)) {
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

func (v *verification) zeroSum(h hash.Hash, n int64) [20]byte {
	v.zeroMu.Lock()
	defer v.zeroMu.Unlock()
	sum, ok := v.zeros[n]
	if !ok {
		h.Reset()
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
