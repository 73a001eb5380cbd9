package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// probeBytes is how much room there must be before a full disk counts as
// having room again, bytes.
const probeBytes = 4 << 20

// Probe tells whether the cause of the last error is gone: the directory is
// there, and the file in question opens. After an error in writing there must
// be room too, and a file can be made in the directory. It blocks.
func (t *Torrent) Probe() error {
	if err := t.gate.enter(); err != nil {
		return err
	}
	defer t.gate.leave()
	t.forget()
	e := t.wrong.Load()
	reading := e != nil && (e.Op == opDir || e.Op == opOpen || e.Op == opRead || e.Op == opLook)
	var err error
	if reading {
		t.keepTree()
		err = t.tree.moved()
	} else {
		err = t.probeDir()
	}
	if err == nil && e != nil {
		err = t.probeFile(e, !reading)
	}
	if err != nil {
		t.tree.close()
		return err
	}
	t.wrong.Store(nil)
	return nil
}

// probeDir writes a file and deletes it.
func (t *Torrent) probeDir() error {
	name := "." + t.info.Hash.String() + ".btd-probe"
	t.keepTree()
	if err := t.tree.remove(name, false); err != nil && !missing(err) { // left by a crash
		return err
	} else if t.gone(err) {
		return err
	}
	f, err := t.tree.makeFile(name, 0o600)
	if err != nil {
		return err
	}
	if t.s.fault != nil {
		err = t.s.fault("write", name)
	}
	if err == nil {
		err = preallocate(f, probeBytes)
	}
	if err == nil {
		_, err = f.WriteAt(zeros[:], 0)
	}
	if err == nil {
		err = syncData(f)
	}
	f.Close()
	return errors.Join(wrap("write", t.tree.dir, name, err), t.tree.remove(name, false))
}

// probeFile opens the file that met an error, or the first one below the
// directory that did.
func (t *Torrent) probeFile(e *Error, write bool) error {
	for i := range t.flags {
		file := i
		if i == len(t.info.Files) {
			file = partsFile
		} else if t.info.Files[i].Pad {
			continue
		}
		full := filepath.Join(t.tree.dir, filepath.FromSlash(t.path(file)))
		if below, ok := strings.CutPrefix(full, e.Path); !ok || below != "" && below[0] != filepath.Separator {
			continue
		}
		f, err := t.tree.openFile(t.path(file), write)
		if err == nil {
			f.Close()
		} else if missing(err) && (t.flag(file).Load()&flagSeen == 0 || !t.gone(err) && t.letGo(file)) {
			err = nil
		}
		return err
	}
	return nil
}

// letGo forgets, if a file is skipped, that it was there: it is gone, and nobody
// misses it. What pieces need of it goes to the parts file from now on.
func (t *Torrent) letGo(file int) bool {
	t.layout.Lock()
	defer t.layout.Unlock()
	if file == partsFile || !t.skipped(file) {
		return false
	}
	t.flags[file].And(^uint32(flagSeen | flagInPlace))
	return true
}

// Remove closes the torrent and deletes its files, the parts file and the
// directories that are empty then. Anything that is not a regular file stays,
// and so do files that are somebody else's (see Options) and the download
// directory.
func (t *Torrent) Remove() error {
	if err := t.Close(); err != nil {
		return err
	}
	defer t.tree.close()
	var first error
	del := func(rel string, isDir bool) {
		err := t.tree.remove(rel, isDir)
		if err != nil && first == nil && !obstructed(err) && !(isDir && notEmpty(err)) {
			first = err
		}
	}
	dirs := make(map[string]struct{})
	for i := range t.info.Files {
		if f := &t.info.Files[i]; !f.Pad && !t.foreign(i) {
			del(f.Path, false)
			for d := path.Dir(f.Path); d != "."; d = path.Dir(d) {
				if _, known := dirs[d]; known {
					break
				}
				dirs[d] = struct{}{}
			}
		}
	}
	del(t.partsName(), false)
	deepest := make([]string, 0, len(dirs))
	for d := range dirs {
		deepest = append(deepest, d)
	}
	slices.SortFunc(deepest, func(a, b string) int { return len(b) - len(a) })
	for _, d := range deepest {
		del(d, true)
	}
	return first
}

func notEmpty(err error) bool {
	return errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrExist)
}

// Describe says in words for people what went wrong, and where.
func Describe(err error) string {
	var e *Error
	if !errors.As(err, &e) {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	switch {
	case isFull(e.Err):
		dir := existing(e.Path)
		if n := Free(dir); n >= 0 {
			return fmt.Sprintf("disk full on %s (%d bytes free)", dir, n)
		}
		return "disk full on " + dir
	case isQuota(e.Err):
		return "disk quota used up: " + e.Path
	case errors.Is(e.Err, fs.ErrPermission):
		return "permission denied: " + e.Path
	case isReadOnly(e.Err):
		return "file system is read-only: " + e.Path
	case e.Op == opDir && missing(e.Err):
		return fmt.Sprintf("download directory %s is gone", e.Path)
	case missing(e.Err):
		return fmt.Sprintf("file %s is gone; verify the torrent to fetch it again", e.Path)
	case errors.Is(e.Err, ErrSymlink), errors.Is(e.Err, ErrNotRegular), errors.Is(e.Err, ErrNotDirectory):
		return e.Path + " " + e.Err.Error()
	case short(e.Err):
		return fmt.Sprintf("file %s is shorter than expected; verify the torrent", e.Path)
	case isBroken(e.Err):
		return "disk error: " + e.Path
	case isTooBig(e.Err):
		return "file too large for its file system: " + e.Path
	case tooManyFiles(e.Err):
		return "too many open files: " + e.Path
	}
	return fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err)
}

// existing is the nearest directory above path that is there.
func existing(path string) string {
	for {
		dir := filepath.Dir(path)
		if fi, err := os.Stat(dir); dir == path || err == nil && fi.IsDir() {
			return dir
		}
		path = dir
	}
}
