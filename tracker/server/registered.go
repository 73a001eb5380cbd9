package server

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A torrent is registered in one of two ways. By hand: then it stays until it
// is unregistered by hand, whatever the daemon has. Or for a torrent of the
// daemon's that is shared: then it goes with that torrent.

// How a registration is kept: one byte of these, then what it says.
const (
	byHandForm = 1 // the name
	sharedForm = 2 // 20 bytes of the torrent that it is for, the name
)

const (
	maxName       = 255     // bytes
	maxRegistered = 200_000 // torrents
)

// ErrTooMany means that no more torrents can be registered.
var ErrTooMany = errors.New("too many torrents are registered with the tracker")

// recall reads what was registered in an earlier run.
func (h *Host) recall() error {
	kept, err := h.cfg.Keeper.List(keyRegistered)
	if err != nil {
		return fmt.Errorf("reading which torrents the tracker may track: %w", err)
	}
	for key, v := range kept {
		b, err := hex.DecodeString(key)
		switch {
		case err == nil && len(b) == 20 && len(v) > 0 && v[0] == byHandForm:
			h.names[[20]byte(b)] = string(v[1:])
		case err == nil && len(b) == 20 && len(v) > 20 && v[0] == sharedForm:
			h.names[[20]byte(b)] = string(v[21:])
			h.shared[[20]byte(v[1:21])] = [20]byte(b)
		default:
			h.log.Warn("a registration of the tracker is not understood and left out", "key", key)
		}
	}
	return nil
}

// Register has a torrent tracked from now on, also after a restart, until it
// is unregistered. One that is registered for a share as well stays after it.
func (h *Host) Register(hash [20]byte, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	name = cutName(name)
	owner, shared := h.sharedFor(hash)
	if old, ok := h.names[hash]; ok && old == name && !shared {
		return nil
	}
	if err := h.enter(hash, name, append([]byte{byHandForm}, name...)); err != nil {
		return err
	}
	if shared {
		delete(h.shared, owner)
	}
	return nil
}

// Share registers what is announced of a torrent of the daemon's, which may be
// a mask of its hash, until the torrent is removed (Unshare). What is
// registered by hand stays as it is.
func (h *Host) Share(torrent, announced [20]byte, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	name = cutName(name)
	before, shared := h.shared[torrent]
	if shared && before != announced {
		if err := h.leave(before); err != nil {
			return err
		}
		delete(h.shared, torrent)
		shared = false
	}
	if old, ok := h.names[announced]; ok && (!shared || old == name) {
		return nil
	}
	if err := h.enter(announced, name, slices.Concat([]byte{sharedForm}, torrent[:], []byte(name))); err != nil {
		return err
	}
	h.shared[torrent] = announced
	return nil
}

// Unshare forgets what is registered for a torrent that was removed, and its
// peers. It tells whether there was anything.
func (h *Host) Unshare(torrent [20]byte) (found bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	announced, ok := h.shared[torrent]
	if !ok {
		return false, nil
	}
	if err := h.leave(announced); err != nil {
		return true, err
	}
	delete(h.shared, torrent)
	return true, nil
}

// Shared is the torrents that something is registered for.
func (h *Host) Shared() [][20]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([][20]byte, 0, len(h.shared))
	for torrent := range h.shared {
		out = append(out, torrent)
	}
	return out
}

// Unregister forgets a torrent and its peers, however it was registered. It
// tells whether it was.
func (h *Host) Unregister(hash [20]byte) (found bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.names[hash]; !ok {
		return false, nil
	}
	torrent, shared := h.sharedFor(hash)
	if err := h.leave(hash); err != nil {
		return true, err
	}
	if shared {
		delete(h.shared, torrent)
	}
	return true, nil
}

// enter keeps a registration and has it tracked. The caller holds h.mu, as for
// the functions below.
func (h *Host) enter(hash [20]byte, name string, kept []byte) error {
	if _, ok := h.names[hash]; !ok && len(h.names) >= maxRegistered {
		return ErrTooMany
	}
	if err := h.keep(keyRegistered+hex.EncodeToString(hash[:]), kept); err != nil {
		return err
	}
	h.names[hash] = name
	if h.run != nil {
		h.run.server.Register(hash)
	}
	return nil
}

// leave undoes enter.
func (h *Host) leave(hash [20]byte) error {
	if err := h.keep(keyRegistered+hex.EncodeToString(hash[:]), nil); err != nil {
		return err
	}
	delete(h.names, hash)
	if h.run != nil {
		h.run.server.Unregister(hash)
	}
	return nil
}

// sharedFor is the torrent that a registration is for, if it is for one.
func (h *Host) sharedFor(hash [20]byte) (torrent [20]byte, ok bool) {
	if _, registered := h.names[hash]; !registered {
		return [20]byte{}, false
	}
	if h.shared[hash] == hash { // it has no secret
		return hash, true
	}
	for torrent, announced := range h.shared {
		if announced == hash {
			return torrent, true
		}
	}
	return [20]byte{}, false
}

func cutName(name string) string {
	name = strings.ToValidUTF8(name, "")
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "")
	}
	return name
}

// Registration is a torrent that is registered with the tracker.
type Registration struct {
	Hash                       [20]byte // as announced: of a torrent with a secret, its mask
	Name                       string
	Shared                     bool // for a torrent of the daemon's, with which it goes
	Seeds, Leechers, Downloads int
}

// Registered is the registered torrents, by name.
func (h *Host) Registered() []Registration {
	h.mu.Lock()
	all := make([]Registration, 0, len(h.names))
	for hash, name := range h.names {
		all = append(all, Registration{Hash: hash, Name: name})
	}
	shared := make(map[[20]byte]bool, len(h.shared))
	for _, announced := range h.shared {
		shared[announced] = true
	}
	r := h.live()
	h.mu.Unlock()
	slices.SortFunc(all, func(a, b Registration) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return slices.Compare(a.Hash[:], b.Hash[:])
	})
	for i := range all {
		all[i].Shared = shared[all[i].Hash]
		if r != nil {
			all[i].Seeds, all[i].Leechers, all[i].Downloads = r.server.Counts(all[i].Hash)
		}
	}
	return all
}
