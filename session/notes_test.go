package session

import (
	"bytes"
	"errors"
	"testing"
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

func TestTorrentFile(t *testing.T) {
	c := makeContent(t, 16<<10, map[string]int{"a": 50_000})
	s := open(t, nil)
	add(t, s, c, AddOptions{Stopped: true})
	got, err := s.TorrentFile(c.meta.Hash.Wire())
	if err != nil || !bytes.Equal(got, c.file) {
		t.Errorf("%d bytes, %v; want the %d that were added", len(got), err, len(c.file))
	}
	if _, err := s.TorrentFile([20]byte{1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a torrent that is not here: %v", err)
	}
	other := makeContent(t, 16<<10, map[string]int{"b": 60_000})
	if _, _, err := s.AddMagnet(t.Context(), "magnet:?xt=urn:btih:"+other.meta.Hash.String(), AddOptions{Stopped: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.TorrentFile(other.meta.Hash.Wire()); !errors.Is(err, ErrNotFound) {
		t.Errorf("a torrent without its metadata: %v", err)
	}
}
