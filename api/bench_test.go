package api

import (
	"net/http/httptest"
	"testing"
)

// BenchmarkList is GET /v1/torrents with 10,000 torrents, without the copy
// that the engine makes.
func BenchmarkList(b *testing.B) {
	torrents := newFake(10000).torrents
	w := &discard{ResponseRecorder: httptest.NewRecorder()}
	b.ReportAllocs()
	for b.Loop() {
		w.n = 0
		writeList(w, torrents)
	}
	b.SetBytes(int64(w.n))
}

type discard struct {
	*httptest.ResponseRecorder
	n int
}

func (d *discard) Write(b []byte) (int, error) {
	d.n += len(b)
	return len(b), nil
}
