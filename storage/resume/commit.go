package resume

import (
	"fmt"
	"slices"

	"btd/metainfo"
	"btd/piece"

	"go.etcd.io/bbolt"
)

// Commit is what to record of one torrent.
type Commit struct {
	Hash metainfo.Hash

	// Pieces is the set of stored pieces. With Changed, only the pieces
	// named there take over what Pieces says of them; without, all do. Nil
	// with Changed means that those named are stored. Whatever is claimed
	// here must have been synced.
	Pieces  *piece.Bitfield
	Changed []piece.Index

	// Lost are pieces that are no longer claimed. They win over Pieces.
	Lost []piece.Index

	// Clean are files that were synced, are closed, and will be marked
	// dirty again before the next write.
	Clean []Clean

	// Stats replaces the counters, if it is not nil.
	Stats *Counters
}

// Clean removes the dirty mark of a file and records how the file looks.
type Clean struct {
	File    int
	Size    int64 // bytes; negative if there is no such file, which removes the record; or Forgotten
	ModTime int64 // nanoseconds since 1970
}

// Forgotten is the Size of a Clean that says that nothing is known of a file: its
// claims are worth nothing until they were proved, be it there or not, and dirty
// or not, until it is recorded with a size of its own.
const Forgotten = 1 << 62

// Commit records the progress of many torrents in one transaction, durably.
// Torrents that are not in the database are passed over: they were removed in
// the meantime. The batch must not change until Commit returns.
func (d *DB) Commit(batch []Commit) error {
	size := 0
	for i := range batch {
		if err := batch[i].check(); err != nil {
			return err
		}
		size += 512 + len(batch[i].Clean)*32
	}
	if len(batch) == 0 {
		return nil
	}
	return d.do(size, func(b *buckets) (changed bool, err error) {
		for i := range batch {
			c, err := b.commit(&batch[i])
			if err != nil {
				return false, err
			}
			changed = changed || c
		}
		return changed, nil
	})
}

// MarkDirty notes, durably, that files are about to be written to. It gives
// ErrNotFound if the torrent is not in the database.
func (d *DB) MarkDirty(h metainfo.Hash, files []int) error {
	for _, f := range files {
		if f < 0 || f >= maxFiles {
			return fmt.Errorf("resume: marking file %d dirty: no such file", f)
		}
	}
	key := torrentKey(h)
	return d.do(256+len(files)/8, func(b *buckets) (bool, error) {
		if b.torrent.Get(key) == nil {
			return false, refusal{fmt.Errorf("%w: %v", ErrNotFound, h)}
		}
		w := bitWriter{bucket: b.dirty, key: key}
		for _, f := range files {
			w.set(f, true)
		}
		return w.flush()
	})
}

func (c *Commit) check() error {
	n := piece.MaxPieces
	if c.Pieces != nil {
		n = c.Pieces.Len()
	}
	for _, list := range [][]piece.Index{c.Changed, c.Lost} {
		for _, i := range list {
			if int64(i) >= int64(n) {
				return fmt.Errorf("resume: commit of %v: piece %d of %d", c.Hash, i, n)
			}
		}
	}
	for _, f := range c.Clean {
		if f.File < 0 || f.File >= maxFiles || f.Size > Forgotten {
			return fmt.Errorf("resume: commit of %v: file %d of %d bytes", c.Hash, f.File, f.Size)
		}
	}
	return nil
}

func (b *buckets) commit(c *Commit) (changed bool, err error) {
	key := torrentKey(c.Hash)
	if b.torrent.Get(key) == nil {
		return false, nil
	}
	w := bitWriter{bucket: b.bits, key: key}
	switch {
	case c.Changed != nil:
		for _, i := range c.Changed {
			w.set(int(i), c.Pieces == nil || c.Pieces.Has(i))
		}
	case c.Pieces != nil:
		w.replace(c.Pieces.Bytes())
	}
	for _, i := range c.Lost {
		w.set(int(i), false)
	}
	if changed, err = w.flush(); err != nil {
		return false, err
	}
	if len(c.Clean) > 0 {
		cleaned, err := b.clean(key, c.Clean)
		if err != nil {
			return false, err
		}
		changed = changed || cleaned
	}
	if c.Stats != nil {
		changed = true
		err = b.stats.Put(key, seal(key, statsVersion, appendCounters(nil, *c.Stats)))
	}
	return changed, err
}

// clean records how files look and removes their dirty marks.
func (b *buckets) clean(key []byte, list []Clean) (changed bool, err error) {
	w := bitWriter{bucket: b.dirty, key: key}
	for _, f := range list {
		w.set(f.File, false)
	}
	if changed, err = w.flush(); err != nil {
		return false, err
	}
	if !slices.IsSortedFunc(list, byChunk) {
		list = slices.Clone(list)
		slices.SortStableFunc(list, byChunk)
	}
	for len(list) > 0 {
		n := list[0].File / chunkFiles
		k := chunkKey(key, n)
		var c fileChunk
		// A record that is bad is like one that never was.
		_ = c.load(k, b.files.Get(k))
		old := c
		for ; len(list) > 0 && list[0].File/chunkFiles == n; list = list[1:] {
			f := fileRecord{size: list[0].Size, modTime: list[0].ModTime, known: true}
			switch {
			case f.size < 0:
				f = fileRecord{}
			case f.size == Forgotten:
				f.modTime = 0
			}
			c[list[0].File%chunkFiles] = f
		}
		if c == old {
			continue
		}
		changed = true
		if p := c.append(nil); p == nil {
			err = b.files.Delete(k)
		} else {
			err = b.files.Put(k, seal(k, filesVersion, p))
		}
		if err != nil {
			return false, err
		}
	}
	return changed, nil
}

func byChunk(a, b Clean) int { return a.File/chunkFiles - b.File/chunkFiles }

// load reads a stored chunk; v is nil if there is none.
func (c *fileChunk) load(k, v []byte) error {
	*c = fileChunk{}
	if v == nil {
		return nil
	}
	p, err := unseal(k, filesVersion, v)
	if err != nil {
		return err
	}
	return c.decode(p)
}

// load reads a stored chunk; v is nil if there is none.
func (c *bitChunk) load(k, v []byte) error {
	*c = bitChunk{}
	if v == nil {
		return nil
	}
	p, err := unseal(k, bitsVersion, v)
	if err != nil {
		return err
	}
	return c.decode(p)
}

// bitWriter changes a set that is stored in chunks. It holds one chunk at a
// time, so that members should come roughly in order.
type bitWriter struct {
	bucket *bbolt.Bucket
	key    []byte

	k       []byte // key of the chunk held, nil if none is
	n       int    // its number
	chunk   bitChunk
	dirty   bool // chunk is not what is stored
	changed bool
	err     error
}

func (w *bitWriter) set(i int, on bool) {
	w.hold(i / chunkBits)
	if w.chunk.set(i%chunkBits, on) {
		w.dirty = true
	}
}

// replace makes the set the one in bits, a bitfield as BEP 3 has it.
func (w *bitWriter) replace(bits []byte) {
	for n := 0; n*chunkBits/8 < len(bits); n++ {
		w.hold(n)
		var want bitChunk
		copy(want[:], bits[n*chunkBits/8:])
		if want != w.chunk {
			w.chunk, w.dirty = want, true
		}
	}
}

// hold makes chunk n the one at hand. A stored chunk that is bad is like an
// empty one, except that it is written again.
func (w *bitWriter) hold(n int) {
	if w.k != nil && w.n == n {
		return
	}
	w.store()
	w.n, w.k = n, chunkKey(w.key, n)
	w.dirty = w.chunk.load(w.k, w.bucket.Get(w.k)) != nil
}

func (w *bitWriter) store() {
	if !w.dirty || w.err != nil {
		return
	}
	w.dirty, w.changed = false, true
	if w.chunk.used() == 0 {
		w.err = w.bucket.Delete(w.k)
		return
	}
	w.err = w.bucket.Put(w.k, seal(w.k, bitsVersion, w.chunk.append(nil)))
}

func (w *bitWriter) flush() (changed bool, err error) {
	w.store()
	return w.changed, w.err
}
