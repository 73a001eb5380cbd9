//go:build !linux

package storage

import (
	"os"

	"btd/piece"
)

// vector is the scratch memory of gathered writes: none is needed here.
type vector struct{}

// writeAt writes n bytes of the blocks bufs, from byte pos of the first, to
// offset off of f.
func (v *vector) writeAt(f *os.File, bufs []*piece.Buffer, pos, n int, off int64) error {
	for n > 0 {
		at := pos % piece.BlockSize
		k := min(piece.BlockSize-at, n)
		if _, err := f.WriteAt(bufs[pos/piece.BlockSize][at:at+k], off); err != nil {
			return err
		}
		pos, n, off = pos+k, n-k, off+int64(k)
	}
	return nil
}

func (v *vector) clear() {}

func syncData(f *os.File) error { return f.Sync() }

func startSync(*os.File) {}

func dropPages(*os.File) {}

func unlinked(*os.File) bool { return false }

func preallocate(*os.File, int64) error { return nil }

func punch(*os.File, int64, int64) bool { return false }

// nextData takes everything up to the end of the file for data.
func nextData(f *os.File, off, end int64) (from, to int64) {
	fi, err := f.Stat()
	if err == nil {
		end = min(end, fi.Size())
	}
	if off >= end {
		return end, end
	}
	return off, end
}

func hasData(f *os.File, off, end int64) bool {
	from, to := nextData(f, off, end)
	return from < to
}

func prefetch(*os.File, int64, int64) {}

// sizeAndTime is the size of an open file, and when it was written to (ns
// since 1970).
func sizeAndTime(f *os.File) (size, modTime int64, err error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	return fi.Size(), fi.ModTime().UnixNano(), nil
}

func clone(*os.File, *os.File) bool { return false }
