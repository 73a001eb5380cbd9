package session

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"btd/metainfo"
)

func TestNotesAreKeptApart(t *testing.T) {
	s := open(t, nil)
	one, two := s.Notes("one"), s.Notes("two")
	for _, err := range []error{one.Put("list/a", []byte("x")), one.Put("list/b", []byte("y")), one.Put("other", []byte("z")), two.Put("list/a", []byte("no"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := one.List("list/")
	if err != nil || len(got) != 2 || string(got["a"]) != "x" || string(got["b"]) != "y" {
		t.Errorf("list: %q, %v", got, err)
	}
	if err := one.Put("other", nil); err != nil {
		t.Fatal(err)
	}
	if v, err := one.Get("other"); v != nil || err != nil {
		t.Errorf("what was removed: %q, %v", v, err)
	}
	if v, err := two.Get("list/a"); string(v) != "no" || err != nil {
		t.Errorf("the other part's: %q, %v", v, err)
	}
}

// Who keeps something of a torrent hears that it goes, while it cannot come
// back yet.
func TestOnRemove(t *testing.T) {
	c := makeContent(t, 16<<10, map[string]int{"a": 50_000})
	s := open(t, nil)
	var heard []metainfo.Hash
	s.OnRemove(func(h metainfo.Hash) {
		heard = append(heard, h)
		if s.byWire(h.Wire()) == nil {
			t.Error("another torrent could take its place already")
		}
	})
	for n := range 2 { // and again
		add(t, s, c, AddOptions{Stopped: true})
		if err := s.Remove(t.Context(), c.meta.Hash, false); err != nil {
			t.Fatal(err)
		}
		if len(heard) != n+1 || heard[n] != c.meta.Hash {
			t.Fatalf("heard of %v", heard)
		}
	}
	if err := s.Remove(t.Context(), c.meta.Hash, false); !errors.Is(err, ErrNotFound) || len(heard) != 2 {
		t.Errorf("removing what is gone: %v, heard of %v", err, heard)
	}
}

func TestTorrentFile(t *testing.T) {
	c := makeContent(t, 16<<10, map[string]int{"a": 50_000})
	s := open(t, nil)
	add(t, s, c, AddOptions{Stopped: true})
	got, err := s.TorrentFile(c.meta.Hash.Wire())
	if m, perr := metainfo.Parse(got); err != nil || perr != nil || m.Hash != c.meta.Hash {
		t.Errorf("%d bytes, %v, %v", len(got), err, perr)
	}
	if _, err := s.TorrentFile([20]byte{1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a torrent that is not here: %v", err)
	}
	// Passkeys are nobody's business.
	tracked := makeContent(t, 16<<10, map[string]int{"c": 70_000})
	m := *tracked.meta
	m.Trackers, m.WebSeeds, m.Comment = [][]string{{"http://127.0.0.1:9/passkey/announce"}}, []string{"http://127.0.0.1:9/passkey/"}, "passkey"
	tracked.file = m.Bytes()
	add(t, s, tracked, AddOptions{Stopped: true})
	if got, err := s.TorrentFile(tracked.meta.Hash.Wire()); err != nil || !bytes.Contains(got, m.Raw) || bytes.Contains(got, []byte("passkey")) {
		t.Errorf("strangers get %.200q, %v", got, err)
	}
	secluded := makePrivate(t, makeContent(t, 16<<10, map[string]int{"d": 80_000}))
	add(t, s, secluded, AddOptions{Stopped: true})
	if _, err := s.TorrentFile(secluded.meta.Hash.Wire()); !errors.Is(err, ErrNotFound) {
		t.Errorf("a private torrent: %v", err)
	}
	other := makeContent(t, 16<<10, map[string]int{"b": 60_000})
	if _, _, err := s.AddMagnet(t.Context(), "magnet:?xt=urn:btih:"+other.meta.Hash.String(), AddOptions{Stopped: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.TorrentFile(other.meta.Hash.Wire()); !errors.Is(err, ErrNotFound) {
		t.Errorf("a torrent without its metadata: %v", err)
	}
}

// The scope of a torrent says who may have its file.
func TestMayFetch(t *testing.T) {
	s := open(t, nil)
	wide, narrow := makeContent(t, 16<<10, map[string]int{"a": 50_000}), makeContent(t, 16<<10, map[string]int{"b": 50_000})
	add(t, s, wide, AddOptions{Stopped: true})
	add(t, s, narrow, AddOptions{Stopped: true, Scope: metainfo.ScopeLAN})
	for who, want := range map[string][2]bool{"8.8.8.8": {true, false}, "2001:db8::1": {true, false}, "192.168.3.4": {true, true}, "fe80::1": {true, true}, "127.0.0.1": {true, true}} {
		at := netip.MustParseAddr(who)
		if got := [2]bool{s.MayFetch(wide.meta.Hash.Wire(), at), s.MayFetch(narrow.meta.Hash.Wire(), at)}; got != want {
			t.Errorf("%s: %v, want %v", who, got, want)
		}
		if s.MayFetch([20]byte{1}, at) {
			t.Errorf("%s: a torrent that is not here", who)
		}
	}
}
