package session

import (
	"fmt"
	"strings"

	"btd/metainfo"
)

// sharedError says that a file belongs to two torrents which want different
// bytes in it. Nothing is written then: one would destroy the other's data.
type sharedError struct {
	path  string
	other metainfo.Hash
}

func (e *sharedError) Error() string {
	return fmt.Sprintf("file %s belongs to torrent %s as well and holds other data: give one of them another directory, or verify this torrent once the other is complete", e.path, e.other)
}

// sharing finds a file of m, not skipped, that another torrent of the session
// with the same download directory has too.
func (s *Session) sharing(e *entry, m *metainfo.Metainfo, prio []Priority) *sharedError {
	rec, _ := e.record()
	return s.sharedIn(rec.Dir, m, prio, func(o *entry) bool { return o == e || o.view.Load().Have == 0 })
}

// sharedIn finds a file that m would have in dir, and that a torrent has too
// which pass does not leave out. Torrents that share a directory of the same
// name are looked at file by file; that is rare, and so it may cost.
func (s *Session) sharedIn(dir string, m *metainfo.Metainfo, prio []Priority, pass func(*entry) bool) *sharedError {
	for _, o := range s.entries() {
		if v := o.view.Load(); v.Dir != dir || !strings.EqualFold(v.Name, m.Name) || pass(o) {
			continue
		}
		r, _ := o.record()
		other, err := s.metainfo(o)
		if err != nil {
			continue
		}
		theirs := make(map[string]bool, len(other.Files))
		for i, f := range other.Files {
			if !f.Pad && f.Length > 0 && (i >= len(r.Priorities) || Priority(r.Priorities[i]) != Skip) {
				theirs[strings.ToLower(f.Path)] = true
			}
		}
		for i, f := range m.Files {
			if !f.Pad && f.Length > 0 && prio[i] != Skip && theirs[strings.ToLower(f.Path)] {
				return &sharedError{path: f.Path, other: o.hash}
			}
		}
	}
	return nil
}

// clash is an error if a torrent with these priorities, which lacks pieces,
// would write to another's file to get them. It may run outside the loop.
func (t *torrent) clash(prio []Priority) error {
	if shared := t.s.sharing(t.e, t.meta, prio); shared != nil {
		return shared
	}
	return nil
}
