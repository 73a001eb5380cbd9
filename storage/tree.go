package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// tree opens files and directories below one download directory. It goes down
// one component at a time, looks at each without following it, and checks
// that what it opened is what it looked at: no symbolic link below the root is
// ever followed, not even one that is put there meanwhile.
//
// The root and the directories used last stay open until close; they are opened
// by name again after that, because an open root would hold on to a file
// system that was unmounted or a directory that was deleted.
type tree struct {
	dir    string // absolute
	create bool   // make dir if it is missing, until it was seen once
	watch  bool   // keep a witness of the root's file system
	fault  func(op, path string) error

	mu      sync.Mutex
	root    *place
	id      os.FileInfo // of the root when it was last opened
	anchor  string      // a file that was there: tells a directory from the empty mount point under it
	subs    map[string]*place
	ticks   uint64
	fresh   map[string]struct{} // directories with new entries, for sync
	witness *witness            // opened with the root
	opened  atomic.Uint32       // how often the root was opened
}

// place is an open directory.
type place struct {
	root  *os.Root
	refs  int // of those who use it without the lock
	stale bool
	used  uint64
}

// maxPlaces is how many directories a tree keeps open beside its root.
const maxPlaces = 128

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
	d.dropSubs()
	if d.root != nil {
		d.root.drop()
		d.root = nil
	}
	if w := d.witness; w != nil {
		d.witness = nil
		if w.stale = true; w.refs == 0 {
			w.close()
		}
	}
}

func (d *tree) dropSubs() {
	for _, p := range d.subs {
		p.drop()
	}
	clear(d.subs)
}

// drop closes p as soon as nobody uses it. The caller holds the tree's lock.
func (p *place) drop() {
	p.stale = true
	if p.refs == 0 {
		p.root.Close()
	}
}

// open opens the root. It makes the directory if mk and the options allow it.
func (d *tree) open(mk bool) (*place, error) {
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
	d.root, d.id = &place{root: r}, id
	d.opened.Add(1)
	if d.watch {
		d.witness = openWitness(r)
	}
	return d.root, nil
}

func (d *tree) inject(op, rel string) error {
	if d.fault == nil {
		return nil
	}
	return wrap(op, d.dir, rel, d.fault(op, rel))
}

// touched notes that directory rel got a new entry. The caller holds d.mu.
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
	if err := d.inject(op, rel); err != nil {
		return err
	}
	base := rel[strings.LastIndexByte(rel, '/')+1:]
	p, kept, err := d.hold(rel, mk)
	if err == nil {
		err = f(p.root, base)
		d.letGo(p)
		if mk && kept && errors.Is(err, fs.ErrNotExist) {
			d.mu.Lock()
			d.dropSubs()
			d.mu.Unlock()
			if p, _, err = d.hold(rel, mk); err == nil {
				err = f(p.root, base)
				d.letGo(p)
			}
		}
	}
	return wrap(op, d.dir, rel, err)
}

// hold is the open directory that holds rel, until letGo. kept tells that it
// was open before.
func (d *tree) hold(rel string, mk bool) (p *place, kept bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	root, err := d.open(mk)
	if err != nil {
		return nil, false, err
	}
	p = root
	if at := strings.LastIndexByte(rel, '/'); at >= 0 {
		kept = d.subs[rel[:at]] != nil
		if p, err = d.sub(rel[:at], mk); err != nil {
			return nil, false, err
		}
	}
	p.refs++
	return p, kept, nil
}

func (d *tree) letGo(p *place) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p.refs--
	if p.stale && p.refs == 0 {
		p.root.Close()
	}
}

// sub is directory name below the root.
func (d *tree) sub(name string, mk bool) (*place, error) {
	d.ticks++
	if p := d.subs[name]; p != nil {
		p.used = d.ticks
		return p, nil
	}
	parent, above, base := d.root, "", name
	if at := strings.LastIndexByte(name, '/'); at >= 0 {
		above, base = name[:at], name[at+1:]
		var err error
		if parent, err = d.sub(above, mk); err != nil {
			return nil, err
		}
	}
	r, err := d.enter(parent.root, above, base, mk)
	if err != nil {
		return nil, err
	}
	if d.subs == nil {
		d.subs = make(map[string]*place)
	}
	if len(d.subs) >= maxPlaces {
		d.evict()
	}
	p := &place{root: r, used: d.ticks}
	d.subs[name] = p
	return p, nil
}

// evict closes the directory that was not used for longest.
func (d *tree) evict() {
	oldest := ""
	for name, p := range d.subs {
		if oldest == "" || p.used < d.subs[oldest].used {
			oldest = name
		}
	}
	d.subs[oldest].drop()
	delete(d.subs, oldest)
}

// above is the directory that holds rel, "" for the root.
func above(rel string) string { return rel[:max(strings.LastIndexByte(rel, '/'), 0)] }

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
		return err
	})
	if err == nil {
		d.mu.Lock()
		d.anchor = rel
		d.mu.Unlock()
	}
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
		return err
	})
	if err == nil {
		d.mu.Lock()
		d.anchor = rel
		d.touched(above(rel))
		d.mu.Unlock()
	}
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
		d.mu.Lock()
		d.touched(above(rel))
		d.mu.Unlock()
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

// takeFresh empties the list of directories with new entries.
func (d *tree) takeFresh() map[string]struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	fresh := d.fresh
	d.fresh = nil
	return fresh
}

// putBack notes again that directories have new entries.
func (d *tree) putBack(fresh map[string]struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for rel := range fresh {
		d.touched(rel)
	}
}

// watched is the witness of everything written since the root was opened for
// the n-th time, nil if there is none. It stays open until unwatch.
func (d *tree) watched(n uint32) *witness {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opened.Load() != n || d.witness == nil {
		return nil
	}
	d.witness.refs++
	return d.witness
}

func (d *tree) unwatch(w *witness) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.refs--; w.refs == 0 && w.stale {
		w.close()
	}
}

// syncDirs makes the new directory entries durable.
func (d *tree) syncDirs() error {
	fresh := d.takeFresh()
	for rel := range fresh {
		if err := d.syncDir(rel); err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.putBack(fresh)
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
