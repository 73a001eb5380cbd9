package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// borrowStep is how many bytes are copied between two looks at the context.
const borrowStep = 16 << 20

// Borrow copies the beginning of a file of another torrent to where file of
// this one belongs, and returns how many bytes that gave. What is there already
// stays: only what is missing behind it is added. Nothing is verified: that is
// for Verify, before the torrent is used. Where the file system can share
// blocks between files, the copy takes no space.
func (t *Torrent) Borrow(ctx context.Context, file int, from *Torrent, theirs int) (copied int64, err error) {
	for _, x := range []*Torrent{t, from} {
		if err := x.gate.enter(); err != nil {
			return 0, err
		}
		defer x.gate.leave()
	}
	src, err := from.tree.openFile(from.path(theirs), false)
	if obstructed(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer src.Close()
	fi, err := src.Stat()
	if err != nil {
		return 0, wrap(opLook, from.tree.dir, from.path(theirs), err)
	}
	want := min(fi.Size(), t.info.Files[file].Length)
	dst, err := t.reach(file)
	if err != nil {
		return 0, err
	}
	copied, err = fill(ctx, dst, src, want)
	if err = errors.Join(err, dst.Close()); err != nil {
		return copied, wrap("copy to", t.tree.dir, t.path(file), err)
	}
	return copied, wrap("copy to", t.tree.dir, t.path(file), t.tree.syncDirs())
}

// reach opens file for writing, and makes it if it is not there.
func (t *Torrent) reach(file int) (*os.File, error) {
	perm := os.FileMode(0o666)
	if t.info.Files[file].Executable {
		perm = 0o777
	}
	f, err := t.tree.makeFile(t.path(file), perm)
	if errors.Is(err, fs.ErrExist) {
		f, err = t.tree.openFile(t.path(file), true)
	}
	return f, err
}

// fill makes dst as long as want by copying what it lacks from src.
func fill(ctx context.Context, dst, src *os.File, want int64) (copied int64, err error) {
	fi, err := dst.Stat()
	if err != nil {
		return 0, err
	}
	at := fi.Size()
	if at >= want {
		return 0, nil
	}
	if at == 0 && clone(dst, src) {
		return want, dst.Truncate(want)
	}
	for _, f := range []*os.File{dst, src} {
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			return 0, err
		}
	}
	for at+copied < want {
		if ctx.Err() != nil {
			return copied, context.Cause(ctx)
		}
		n, err := io.CopyN(dst, src, min(borrowStep, want-at-copied))
		copied += n
		if errors.Is(err, io.EOF) {
			return copied, nil // somebody shortened it
		}
		if err != nil {
			return copied, err
		}
	}
	return copied, nil
}

// Cut ends a file where the torrent says that it ends, if it is was bytes long:
// as the older torrent says whose place this one takes. It tells whether it did.
func (t *Torrent) Cut(file int, was int64) (cut bool, err error) {
	if err := t.gate.enter(); err != nil {
		return false, err
	}
	defer t.gate.leave()
	want := t.info.Files[file].Length
	if was <= want {
		return false, fmt.Errorf("storage: cutting %s from %d to %d bytes", t.path(file), was, want)
	}
	f, err := t.tree.openFile(t.path(file), true)
	if obstructed(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	fi, err := f.Stat()
	if cut = err == nil && fi.Size() == was; cut {
		err = f.Truncate(want)
	}
	return cut, wrap("shorten", t.tree.dir, t.path(file), errors.Join(err, f.Close()))
}
