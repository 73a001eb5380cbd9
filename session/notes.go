package session

import (
	"fmt"

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

// TorrentFile is the .torrent file of a torrent whose metadata is here, as it
// was added, or ErrNotFound. That of a closed swarm is not found: it travels
// only between those who hold the secret.
func (s *Session) TorrentFile(hash [20]byte) ([]byte, error) {
	e := s.byWire(hash)
	if e == nil {
		return nil, ErrNotFound
	}
	if rec, _ := e.record(); rec.Magnet != "" || !rec.Secret.IsZero() {
		return nil, ErrNotFound
	}
	raw, err := s.db.Metainfo(e.hash)
	if err != nil {
		return nil, fmt.Errorf("reading a torrent's metainfo: %w", err)
	}
	return raw, nil
}
