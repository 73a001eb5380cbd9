package storage

import (
	"errors"
	"os"
)

// ErrChanged means that a file is not what it was when its content was known
// to be right: somebody else has written to it.
var ErrChanged = errors.New("has changed since it was verified")

// Seal says what every file was when its content was known to be right, as
// Stat had it. From now on Read gives no byte of a file that has another size
// or another time by then: it returns ErrChanged. The first write through this
// Torrent, or nil, ends that.
//
// It looks after each read, so a file that is changed in the same moment is
// noticed as well. One that is replaced by another goes on to be read as it
// was until it is opened anew.
func (t *Torrent) Seal(stats []FileStat) {
	if len(stats) != len(t.info.Files) {
		t.seal.Store(nil)
		return
	}
	t.seal.Store(&stats)
}

// Sealed is what Seal was told last, nil if that is over.
func (t *Torrent) Sealed() []FileStat {
	if seal := t.seal.Load(); seal != nil {
		return *seal
	}
	return nil
}

// unseal is for whoever is about to write.
func (t *Torrent) unseal() {
	if t.seal.Load() != nil {
		t.seal.Store(nil)
	}
}

// Changed looks at all files by name, and tells which of them are not what
// Seal said, those that came or went included, and what all of them are now.
// There are none without a Seal.
func (t *Torrent) Changed() (files []int, now []FileStat, err error) {
	seal := t.seal.Load()
	if seal == nil {
		return nil, nil, nil
	}
	if now, err = t.Stat(); err != nil {
		return nil, nil, err
	}
	for i, was := range *seal {
		if t.info.Files[i].Length > 0 && now[i] != was {
			files = append(files, i)
		}
	}
	if t.seal.Load() != seal {
		return nil, nil, nil // we have written ourselves
	}
	return files, now, nil
}

// intact tells, as an error, that an open file is no longer what the seal says.
func (t *Torrent) intact(seal *[]FileStat, file int, f *os.File) error {
	if seal == nil || file < 0 {
		return nil
	}
	was := (*seal)[file]
	if !was.Exists {
		return nil
	}
	size, modTime, err := sizeAndTime(f)
	if err == nil && (size != was.Size || modTime != was.ModTime) && t.seal.Load() == seal {
		err = ErrChanged
	}
	return err
}
