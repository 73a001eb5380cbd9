package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// tree opens files and directories below one download directory. It goes down
// one component at a time, looks at each without following it, and checks
// that what it opened is what it looked at: no symbolic link below the root is
// ever followed, not even one that is put there meanwhile.
//
// The root and the directory used last stay open until close; both are opened
// by name again after that, because an open root would hold on to a file
// system that was unmounted or a directory that was deleted.
type tree struct {
	dir    string // absolute
	create bool   // make dir if it is missing, until it was seen once
	fault  func(op, path string) error

	mu      sync.Mutex
	root    *os.Root
	id      os.FileInfo // of the root when it was last opened
	anchor  string      // a file that was there: tells a directory from the empty mount point under it
	sub     *os.Root    // the directory used last
	subName string
	fresh   map[string]struct{} // directories with new entries, for sync
}

// close forgets what is open. The next use opens it again.
func (d *tree) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop()
}

// accept takes whatever the directory holds at the next use for right.
func (d *tree) accept() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop()
	d.anchor = ""
}

// mayCreate tells whether a missing directory is one that is still to be made.
func (d *tree) mayCreate() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.create && d.id == nil
}

func (d *tree) drop() {
	d.dropSub()
	if d.root != nil {
		d.root.Close()
		d.root = nil
	}
}

func (d *tree) dropSub() {
	if d.sub != nil {
		d.sub.Close()
		d.sub = nil
	}
}

// open opens the root. It makes the directory if mk and the options allow it.
func (d *tree) open(mk bool) (*os.Root, error) {
	if d.root != nil {
		return d.root, nil
	}
	if err := d.inject(opDir, ""); err != nil {
		return nil, err
	}
	r, err := os.OpenRoot(d.dir)
	if mk && d.create && d.id == nil && errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(d.dir, 0o777); err != nil {
			return nil, wrap("make directory", d.dir, "", err)
		}
		r, err = os.OpenRoot(d.dir)
		d.touched("..")
	}
	if err != nil {
		return nil, wrap(opDir, d.dir, "", err)
	}
	id, err := r.Stat(".")
	if err == nil && d.id != nil && d.anchor != "" && !os.SameFile(d.id, id) {
		_, err = r.Lstat(filepath.FromSlash(d.anchor))
	}
	if err != nil {
		r.Close()
		return nil, wrap(opDir, d.dir, "", err)
	}
	d.root, d.id = r, id
	return r, nil
}

func (d *tree) inject(op, rel string) error {
	if d.fault == nil {
		return nil
	}
	return wrap(op, d.dir, rel, d.fault(op, rel))
}

// touched notes that directory rel got a new entry.
func (d *tree) touched(rel string) {
	if d.fresh == nil {
		d.fresh = make(map[string]struct{})
	}
	d.fresh[rel] = struct{}{}
}

// in runs f in the directory that holds rel, with the last component of rel.
// mk makes directories that are missing, one that was deleted while it was
// kept open included.
func (d *tree) in(op, rel string, mk bool, f func(dir *os.Root, base string) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.inject(op, rel); err != nil {
		return err
	}
	cached := d.sub
	dir, base, err := d.parent(rel, mk)
	if err == nil {
		if err = f(dir, base); mk && dir == cached && errors.Is(err, fs.ErrNotExist) {
			d.dropSub()
			if dir, base, err = d.parent(rel, mk); err == nil {
				err = f(dir, base)
			}
		}
	}
	return wrap(op, d.dir, rel, err)
}

func (d *tree) parent(rel string, mk bool) (*os.Root, string, error) {
	root, err := d.open(mk)
	if err != nil {
		return nil, "", err
	}
	at := strings.LastIndexByte(rel, '/')
	if at < 0 {
		return root, rel, nil
	}
	name, base := rel[:at], rel[at+1:]
	if d.sub != nil && d.subName == name {
		return d.sub, base, nil
	}
	cur, parent := root, ""
	for part := range strings.SplitSeq(name, "/") {
		next, err := d.enter(cur, parent, part, mk)
		if cur != root {
			cur.Close()
		}
		if err != nil {
			return nil, "", err
		}
		cur = next
		parent = join(parent, part)
	}
	d.dropSub()
	d.sub, d.subName = cur, name
	return cur, base, nil
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// enter opens directory name of cur, whose own path is parent.
func (d *tree) enter(cur *os.Root, parent, name string, mk bool) (*os.Root, error) {
	full := join(parent, name)
	fi, err := cur.Lstat(name)
	if mk && errors.Is(err, fs.ErrNotExist) {
		err = cur.Mkdir(name, 0o777)
		if err == nil {
			d.touched(parent)
		}
		if err == nil || errors.Is(err, fs.ErrExist) {
			fi, err = cur.Lstat(name)
		} else {
			return nil, wrap("make directory", d.dir, full, err)
		}
	}
	switch {
	case err != nil:
	case fi.Mode()&fs.ModeSymlink != 0:
		err = ErrSymlink
	case !fi.IsDir():
		err = ErrNotDirectory
	}
	if err != nil {
		return nil, wrap(opOpen, d.dir, full, err)
	}
	next, err := cur.OpenRoot(name)
	if err != nil {
		return nil, wrap(opOpen, d.dir, full, err)
	}
	if id, err := next.Stat("."); err != nil || !os.SameFile(fi, id) {
		next.Close()
		return nil, wrap(opOpen, d.dir, full, errors.Join(ErrSymlink, err))
	}
	return next, nil
}

// regular accepts what Lstat said of a file.
func regular(fi os.FileInfo) error {
	switch m := fi.Mode(); {
	case m&fs.ModeSymlink != 0:
		return ErrSymlink
	case !m.IsRegular():
		return ErrNotRegular
	}
	return nil
}

// openFile opens an existing regular file.
func (d *tree) openFile(rel string, write bool) (f *os.File, err error) {
	op, flag := opOpen, os.O_RDONLY
	if write {
		op, flag = "open for writing", os.O_RDWR
	}
	err = d.in(op, rel, false, func(dir *os.Root, base string) error {
		f, err = openRegular(dir, base, flag)
		if err == nil {
			d.anchor = rel
		}
		return err
	})
	return f, err
}

func openRegular(dir *os.Root, base string, flag int) (*os.File, error) {
	was, err := dir.Lstat(base)
	if err != nil {
		return nil, err
	}
	if err := regular(was); err != nil {
		return nil, err
	}
	f, err := dir.OpenFile(base, flag|openFlags, 0)
	if err != nil {
		return nil, err
	}
	if is, err := f.Stat(); err != nil || !os.SameFile(was, is) {
		f.Close()
		return nil, errors.Join(ErrNotRegular, err)
	}
	return f, nil
}

// makeFile makes a file that must not exist yet, and the directories above it.
func (d *tree) makeFile(rel string, perm os.FileMode) (f *os.File, err error) {
	err = d.in("create", rel, true, func(dir *os.Root, base string) error {
		f, err = dir.OpenFile(base, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
		if err == nil {
			d.anchor = rel
			d.touched(strings.TrimSuffix(rel[:len(rel)-len(base)], "/"))
		}
		return err
	})
	return f, err
}

// lstat tells what is at rel, without following it.
func (d *tree) lstat(rel string) (fi os.FileInfo, err error) {
	err = d.in(opLook, rel, false, func(dir *os.Root, base string) error {
		fi, err = dir.Lstat(base)
		return err
	})
	return fi, err
}

// remove deletes a regular file, or a directory if it is empty and isDir.
func (d *tree) remove(rel string, isDir bool) error {
	return d.in("remove", rel, false, func(dir *os.Root, base string) error {
		fi, err := dir.Lstat(base)
		if err != nil {
			return err
		}
		if isDir && !fi.IsDir() {
			return ErrNotDirectory
		}
		if !isDir {
			if err := regular(fi); err != nil {
				return err
			}
		}
		d.touched(strings.TrimSuffix(rel[:len(rel)-len(base)], "/"))
		return dir.Remove(base)
	})
}

// moved tells, as an error, that the directory is no longer what its name says.
func (d *tree) moved() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.root == nil {
		_, err := d.open(false)
		return err
	}
	is, err := os.Stat(d.dir)
	if err == nil && !os.SameFile(d.id, is) {
		err = fs.ErrNotExist
	}
	return wrap(opDir, d.dir, "", err)
}

// changed tells whether there are new directory entries to sync.
func (d *tree) changed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.fresh) > 0
}

// syncDirs makes the new directory entries durable.
func (d *tree) syncDirs() error {
	d.mu.Lock()
	fresh := d.fresh
	d.fresh = nil
	d.mu.Unlock()
	for rel := range fresh {
		err := d.syncDir(rel)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.mu.Lock()
			for rel := range fresh {
				d.touched(rel)
			}
			d.mu.Unlock()
			return err
		}
	}
	return nil
}

func (d *tree) syncDir(rel string) error {
	if rel == ".." {
		f, err := os.Open(filepath.Dir(d.dir))
		if err != nil {
			return nil // not ours to read; the directory itself is synced below
		}
		defer f.Close()
		return wrap("sync", d.dir, rel, syncDirectory(f))
	}
	return d.in("sync", join(rel, "."), false, func(dir *os.Root, _ string) error {
		f, err := dir.Open(".")
		if err != nil {
			return err
		}
		defer f.Close()
		return syncDirectory(f)
	})
}
