package session

import (
	"iter"
	"slices"
	"strings"

	"btd/metainfo"
	"btd/piece"
	"btd/storage/resume"
)

// sharedIn gives the files that m would have in dir, and that a torrent has too
// as far as count says. have is which pieces m has, nil if that is not known.
// Torrents that share a directory of the same name are looked at file by file;
// that is rare, and so it may cost.
func (s *Session) sharedIn(dir string, m *metainfo.Metainfo, have *piece.Bitfield, count func(*entry) (part, *piece.Bitfield)) iter.Seq2[int, *entry] {
	return func(yield func(int, *entry) bool) {
		mine := asker{info: &m.Info, have: have}
		for _, o := range s.entries() {
			if v := o.view.Load(); v.Dir != dir || !strings.EqualFold(v.Name, m.Name) {
				continue
			}
			p, had := count(o)
			theirs := s.pathsOf(o, p, had, &mine)
			for i, f := range m.Files {
				if !f.Pad && f.Length > 0 && theirs[strings.ToLower(f.Path)] && !yield(i, o) {
					return
				}
			}
		}
	}
}

// pathsOf is the paths of files of a torrent that count against x, in small
// letters. have is which pieces it has; nil is what the resume database says.
func (s *Session) pathsOf(o *entry, p part, have *piece.Bitfield, x *asker) map[string]bool {
	if p == partNone {
		return nil
	}
	m, err := s.metainfo(o)
	if err != nil {
		return nil
	}
	r := rival{part: p, have: have}
	if r.geo, err = piece.NewGeometry(m.Total, m.PieceLength); err != nil {
		return nil
	}
	r.info = &m.Info
	rec, _ := o.record()
	if p == partHad && have == nil {
		s.recall(o, &r)
	}
	paths := make(map[string]bool, len(m.Files))
	for i, prio := range priorities(rec.Priorities, len(m.Files)) {
		if f := m.Files[i]; !f.Pad && f.Length > 0 && prio != Skip && r.counts(i, x) {
			paths[strings.ToLower(f.Path)] = true
		}
	}
	return paths
}

// rival is what counts of a torrent against another that wants to write.
type rival struct {
	layout
	part   part
	have   *piece.Bitfield
	edges  bool   // a file counts for the sake of a piece that it shares, too
	unsure []bool // files that may hold more than have says; nil if none does
}

// recall looks up what a torrent without a loop has. One that has nothing, as far
// as its record says, only wishes.
func (s *Session) recall(o *entry, r *rival) {
	var held []byte
	var known []resume.FileStat
	var err error
	r.have, err = s.db.Pieces(o.hash, r.geo.Pieces())
	shown := o.view.Load()
	if err == nil && shown.Have == 0 {
		return
	}
	if err == nil {
		held, err = s.db.Get(heldKey(o.hash))
	}
	if err == nil {
		known, err = s.db.Files(o.hash, len(r.info.Files))
	}
	if _, suspect := o.record(); err != nil || held != nil || suspect || r.have.Count() < shown.PiecesHave {
		// Claims that are gone may have been damaged.
		r.part = partWanted // nobody knows, or what somebody changed is not to be written over
		return
	}
	r.edges = true
	looked := o.hold.looked.Load()
	if looked && o.claimsAll() {
		return
	}
	// A clean record is of all files at once: one that it leaves out was not there.
	settled := slices.ContainsFunc(known, func(k resume.FileStat) bool { return k.Known })
	r.unsure = make([]bool, len(known))
	for i, k := range known {
		r.unsure[i] = looked || k.Dirty || k.Forgotten || !k.Known && !settled
	}
}

// claimsAll tells whether all that the last loop of e had, or could have found, is
// claimed.
func (e *entry) claimsAll() bool { return !e.checking.Load() && !e.tainted.Load() && e.log.empty() }

// counts tells whether x must not write to file i.
func (r *rival) counts(i int, x *asker) bool {
	switch {
	case r.part == partWanted:
		return true
	case r.unsure != nil && r.unsure[i]:
		return !x.shares(r.layout, i, r.have, false)
	}
	return (r.hasOf(i, r.have) || r.edges && r.touches(i, r.have)) && !x.shares(r.layout, i, r.have, true)
}

// touches tells whether have has a piece with bytes of file i.
func (l layout) touches(i int, have *piece.Bitfield) (any bool) {
	l.each(i, func(n piece.Index) { any = any || have.Has(n) })
	return any
}

// asker is a torrent that wants to write.
type asker struct {
	info *metainfo.Info
	have *piece.Bitfield // nil if that is not known
	at   map[string]int  // its files by path in small letters, -1 for several; see file
}

// file finds a file by its path.
func (x *asker) file(path string) (i int, ok bool) {
	if x.at == nil {
		x.at = make(map[string]int, len(x.info.Files))
		for i, f := range x.info.Files {
			path := strings.ToLower(f.Path)
			if _, twice := x.at[path]; twice {
				i = -1
			}
			x.at[path] = i
		}
	}
	i, ok = x.at[strings.ToLower(path)]
	return i, ok && i >= 0
}

// shares tells whether x can do no harm to file i of l, of which l's torrent has
// some pieces: x has the very same ones, by their hashes, and so does not write
// where they are. Unless sure is set there may be more than have says. Then all
// pieces must be the same in both: x has looked which of them are there.
func (x *asker) shares(l layout, i int, have *piece.Bitfield, sure bool) bool {
	k, ok := x.file(l.info.Files[i].Path)
	size := l.info.PieceLength
	if !ok || x.have == nil || x.info.PieceLength != size {
		return false
	}
	shift := x.info.Files[k].Offset - l.info.Files[i].Offset
	if shift%size != 0 {
		return false
	}
	first, last, _ := l.span(i)
	for n := first; n <= last; n++ {
		if sure && !have.Has(n) {
			continue
		}
		at := int64(n) + shift/size
		if at < 0 || at >= int64(x.info.Pieces()) || x.info.Sum(int(at)) != l.info.Sum(int(n)) {
			return false
		}
		if have.Has(n) && !x.have.Has(piece.Index(at)) {
			return false
		}
	}
	return true
}

// hasOf tells whether have has a piece of file i. One that other files have
// bytes in counts only if the file has no other: it may be here for their sake.
func (l layout) hasOf(i int, have *piece.Bitfield) bool {
	f, own, shared := l.info.Files[i], false, false
	first, last, ok := l.span(i)
	for n := first; ok && n <= last; n++ {
		if off := l.geo.Offset(n); off < f.Offset || off+l.geo.Length(n) > f.Offset+f.Length {
			shared = shared || have.Has(n)
			continue
		}
		if own = true; have.Has(n) {
			return true
		}
	}
	return shared && !own
}
