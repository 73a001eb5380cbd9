package session

import (
	"fmt"
	"net/netip"

	"btd/metainfo"
	"btd/storage/resume"
)

// Notes are small values that another part of btd keeps in the resume
// database, below a name of its own.
type Notes struct {
	db    *resume.DB
	below string
}

// Notes is the place of the part with that name.
func (s *Session) Notes(part string) Notes { return Notes{s.db, part + "/"} }

// Get is the value of key, nil if there is none.
func (n Notes) Get(key string) ([]byte, error) { return n.db.Get(n.below + key) }

// Put sets the value of key, durably; nil removes it.
func (n Notes) Put(key string, val []byte) error { return n.db.Put(n.below+key, val) }

// List is the values whose keys begin with prefix, by the rest of the key.
func (n Notes) List(prefix string) (map[string][]byte, error) { return n.db.List(n.below + prefix) }

// OnRemove has f called for every torrent that is removed from now on, before
// it can be added again. f takes the place of an earlier one and must not call
// the session.
func (s *Session) OnRemove(f func(metainfo.Hash)) { s.onRemove.Store(&f) }

// TorrentFile is a .torrent file for strangers of a torrent whose metadata is
// here, or ErrNotFound. It has what is hashed and nothing else: announce URLs
// may hold passkeys. That of a private torrent is not found, since its trackers
// say who may have it, and that of a closed swarm neither: it travels only
// between those who hold the secret.
func (s *Session) TorrentFile(hash [20]byte) ([]byte, error) {
	e := s.byWire(hash)
	if e == nil {
		return nil, ErrNotFound
	}
	if rec, _ := e.record(); rec.Magnet != "" || rec.Private || !rec.Secret.IsZero() {
		return nil, ErrNotFound
	}
	m, err := s.metainfo(e)
	if err != nil {
		return nil, fmt.Errorf("reading a torrent's metainfo: %w", err)
	}
	return (&metainfo.Metainfo{Info: m.Info, Raw: m.Raw}).Bytes(), nil
}

// MayFetch tells whether somebody at that address may have what TorrentFile
// gives: whom a torrent's scope leaves out learns nothing of it.
func (s *Session) MayFetch(hash [20]byte, who netip.Addr) bool {
	e := s.byWire(hash)
	return e != nil && e.scope().Covers(who)
}
