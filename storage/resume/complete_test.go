package resume

import (
	"errors"
	"reflect"
	"testing"
)

// TestCompleteMetainfo adds a torrent without its metainfo, which comes later.
func TestCompleteMetainfo(t *testing.T) {
	path := testPath(t)
	d := testOpen(t, path)
	rec := testRecord(2)
	rec.Magnet = "magnet:?xt=urn:btih:00"
	if err := d.Complete(rec, []byte("x")); !errors.Is(err, ErrNotFound) {
		t.Errorf("completing what is not there: %v", err)
	}
	must(t, d.Add(rec, nil))
	if raw, err := d.Metainfo(rec.Hash); err != nil || len(raw) != 0 {
		t.Errorf("before: %d bytes, %v", len(raw), err)
	}
	rec.Magnet, rec.Name = "", "its name"
	must(t, d.Complete(rec, []byte("metainfo")))
	must(t, d.Close())
	d = testOpen(t, path)
	if raw, err := d.Metainfo(rec.Hash); err != nil || string(raw) != "metainfo" {
		t.Errorf("after: %q, %v", raw, err)
	}
	must(t, d.Each(func(got Record, err error) bool {
		if err != nil || !reflect.DeepEqual(got, rec) {
			t.Errorf("got %+v, %v, want %+v", got, err, rec)
		}
		return true
	}))
	if err := d.Complete(rec, make([]byte, maxMetainfo+1)); err == nil {
		t.Error("metainfo without end was taken")
	}
}
