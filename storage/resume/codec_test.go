package resume

import (
	"bytes"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"btd/metainfo"
)

func str(b []byte) string { return string(b) }

func encodeRecord(t testing.TB, r Record) []byte {
	t.Helper()
	p, err := appendRecord(nil, &r)
	must(t, err)
	return p
}

func TestRecordCodec(t *testing.T) {
	extreme := Record{
		Size: math.MaxInt64, Queue: math.MinInt64, Pieces: math.MaxInt32, LimitUp: -1, LimitDown: math.MaxInt64,
		Added: time.Date(1678, 1, 1, 0, 0, 0, 0, time.UTC), Completed: time.Date(2261, 12, 31, 23, 59, 59, 999, time.UTC),
		RatioLimit: math.Inf(-1), SeedTime: math.MinInt64, Name: "\xff\x00\n", Dir: "/",
		Priorities: slices.Repeat([]uint8{7}, 100_000), Trackers: [][]string{{}, {""}, {"a", "b"}},
	}
	for name, want := range map[string]Record{
		"zero": {}, "plain": testRecord(0), "full": testRecord(1), "other": testRecord(4), "extreme": extreme,
		"secret": {Secret: metainfo.Secret{1, 31: 2}}, "all": {Secret: metainfo.Secret{31: 9}, Magnet: "m", Scope: metainfo.ScopeLAN, Private: true, Stopped: true, Sequential: true, Complete: true, Single: true},
		"magnet": {Magnet: "magnet:?xt=urn:btih:0123", Single: true, Trackers: [][]string{{"a"}}, Scope: metainfo.ScopeLAN},
	} {
		t.Run(name, func(t *testing.T) {
			want.Hash = metainfo.Hash{}
			want.SetCounters(Counters{})
			p := encodeRecord(t, want)
			got, err := decodeRecord(p, str)
			must(t, err)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("got  %+v\nwant %+v", got, want)
			}
			for n := range p {
				if _, err := decodeRecord(p[:n], str); err == nil {
					t.Errorf("the first %d of %d bytes were accepted", n, len(p))
				}
			}
			if _, err := decodeRecord(append(p, 0), str); err == nil {
				t.Error("a byte too many was accepted")
			}
		})
	}
}

func TestTimesOutOfRangeAreForgotten(t *testing.T) {
	for _, year := range []int{-5, 1, 1677, 2262, 9999} {
		if got := nanos(time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)); got != 0 {
			t.Errorf("year %d: %d", year, got)
		}
	}
}

func TestImpossibleRecordsAreRefused(t *testing.T) {
	for name, r := range map[string]Record{
		"name":  {Name: string(make([]byte, maxRecord))},
		"files": {Priorities: make([]uint8, maxFiles+1)},
		"scope": {Scope: metainfo.ScopeLAN + 1},
	} {
		if _, err := appendRecord(nil, &r); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestRunsCannotBeBombs decodes a few bytes that stand for many priorities.
func TestRunsCannotBeBombs(t *testing.T) {
	var p []byte
	p = append(p, 100)
	for range 50 {
		p = append(p, 1, 0xff, 0xff, 0x7f, 2, 0xff, 0xff, 0x7f)
	}
	r := reader{b: p}
	if got := r.runs("x"); got != nil || r.err == nil {
		t.Errorf("%d bytes, %v", len(got), r.err)
	}
}

func TestKeys(t *testing.T) {
	v2 := [32]byte{1, 2, 3}
	v1, _ := testHash(3).V1()
	for _, want := range []metainfo.Hash{testHash(1), metainfo.Hash{}.WithV2(v2), metainfo.V1(v1).WithV2(v2)} {
		if got, ok := parseKey(torrentKey(want)); !ok || got != want {
			t.Errorf("%v: got %v, %v", want, got, ok)
		}
	}
}

func TestBitChunkSizes(t *testing.T) {
	for n, want := range map[int]int{1: 2, 8: 2, 127: 2, 128: 3, chunkBits - 1: 3, chunkBits: 4} {
		var c, got bitChunk
		for i := range n {
			c.set(i, true)
		}
		p := c.append(nil)
		if len(p) != want {
			t.Errorf("%d bits without a gap take %d bytes, want %d", n, len(p), want)
		}
		if err := got.decode(p); err != nil || got != c {
			t.Errorf("%d bits come back different: %v", n, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	for n := range 4 {
		r := testRecord(n)
		f.Add(encodeRecord(f, r))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := decodeRecord(in, str)
		if err != nil {
			return
		}
		if got := encodeRecord(t, r); !bytes.Equal(got, in) {
			t.Fatalf("decoded %x, encoded %x", in, got)
		}
	})
}

func FuzzCounters(f *testing.F) {
	f.Add(appendCounters(nil, Counters{1, -2, 3, math.MaxInt64, math.MinInt64}))
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := decodeCounters(in)
		if err != nil {
			return
		}
		if got := appendCounters(nil, c); !bytes.Equal(got, in) {
			t.Fatalf("decoded %x, encoded %x", in, got)
		}
	})
}

func FuzzBitChunk(f *testing.F) {
	var c bitChunk
	for _, i := range []int{0, 1, 2, 9, 16383} {
		c.set(i, true)
		f.Add(c.append(nil))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var c bitChunk
		if err := c.decode(in); err != nil {
			return
		}
		if got := c.append(nil); !bytes.Equal(got, in) {
			t.Fatalf("decoded %x, encoded %x", in, got)
		}
	})
}

func FuzzFileChunk(f *testing.F) {
	var c fileChunk
	for _, i := range []int{0, 2, 63} {
		c[i] = fileRecord{size: int64(i) << 40, modTime: 1e18 - int64(i), known: true}
		f.Add(c.append(nil))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var c fileChunk
		if err := c.decode(in); err != nil {
			return
		}
		if got := c.append(nil); !bytes.Equal(got, in) {
			t.Fatalf("decoded %x, encoded %x", in, got)
		}
	})
}

func FuzzSealed(f *testing.F) {
	f.Add([]byte("key"), seal([]byte("key"), 1, []byte("payload")))
	f.Fuzz(func(t *testing.T, key, in []byte) {
		p, err := unseal(key, 1, in)
		if err == nil && !bytes.Equal(seal(key, 1, p), in) {
			t.Fatalf("accepted %x", in)
		}
		if h, ok := parseKey(key); ok && !bytes.Equal(torrentKey(h), key) {
			t.Fatalf("accepted key %x", key)
		}
	})
}
