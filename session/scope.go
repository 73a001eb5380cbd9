package session

import (
	"fmt"

	"btd/metainfo"
	"btd/storage/resume"
)

// scopeKey is where a scope other than the widest is kept beside the record: a
// torrent whose record is damaged must not come back as one of the Internet.
func scopeKey(h metainfo.Hash) string { return "scope " + h.String() }

// keepScope writes the scope of a new torrent, before its record.
func (s *Session) keepScope(rec *resume.Record) error {
	if rec.Scope == metainfo.ScopeInternet {
		return nil
	}
	return s.db.Put(scopeKey(rec.Hash), []byte(rec.Scope.String()))
}

// keptScope is what keepScope has written of a torrent. One that cannot be read
// is the narrowest.
func (s *Session) keptScope(h metainfo.Hash) metainfo.Scope {
	b, err := s.db.Get(scopeKey(h))
	if err == nil && b == nil {
		return metainfo.ScopeInternet
	}
	scope, perr := metainfo.ParseScope(string(b))
	if err != nil || perr != nil {
		return metainfo.ScopeLAN
	}
	return scope
}

// dropScope forgets what keepScope has written.
func (s *Session) dropScope(e *entry) {
	if e.scope() == metainfo.ScopeInternet {
		return
	}
	if err := s.db.Put(scopeKey(e.hash), nil); err != nil {
		s.log.Warn("forgetting a scope", "torrent", e.hash.String(), "err", err)
	}
}

// checkScope tells why a torrent that is here cannot be added again with this
// scope: it would not be kept to it. A wider one is no matter, and changes
// nothing.
func (e *entry) checkScope(again metainfo.Scope) error {
	if has := e.scope(); again > has {
		return fmt.Errorf("%w: the torrent is here with scope %s: remove it first, its data will be used", ErrInvalid, has)
	}
	return nil
}
