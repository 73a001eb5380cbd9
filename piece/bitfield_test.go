package piece

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBitfieldWireForm(t *testing.T) {
	f := NewBitfield(20)
	for _, i := range []Index{0, 7, 8, 19} {
		if !f.Set(i) || f.Set(i) || !f.Has(i) {
			t.Errorf("setting piece %d", i)
		}
	}
	if want := []byte{0x81, 0x80, 0x10}; !bytes.Equal(f.Bytes(), want) {
		t.Errorf("bytes %x, want %x", f.Bytes(), want)
	}
	if !f.Clear(7) || f.Clear(7) || f.Has(7) || f.Count() != 3 || f.All() || f.Len() != 20 {
		t.Errorf("after clearing piece 7: %x, %d pieces", f.Bytes(), f.Count())
	}
}

func TestParseBitfield(t *testing.T) {
	for _, tt := range []struct {
		name  string
		in    []byte
		n     int
		count int // -1: refused
	}{
		{"nothing", nil, 0, 0},
		{"one of one", []byte{0x80}, 1, 1},
		{"spare bit set", []byte{0x40}, 1, -1},
		{"seven", []byte{0xfe}, 7, 7},
		{"seven and a spare bit", []byte{0xff}, 7, -1},
		{"eight", []byte{0xff}, 8, 8},
		{"nine in one byte", []byte{0xff}, 9, -1},
		{"nine", []byte{0xff, 0x80}, 9, 9},
		{"a byte too many", []byte{0xff, 0x80, 0}, 9, -1},
		{"empty for one", nil, 1, -1},
		{"sixty-four", bytes.Repeat([]byte{0xff}, 8), 64, 64},
		{"sixty-five", append(bytes.Repeat([]byte{0xff}, 8), 0x80), 65, 65},
		{"sixty-five and a spare bit", append(bytes.Repeat([]byte{0xff}, 8), 0xc0), 65, -1},
	} {
		f, err := ParseBitfield(tt.in, tt.n)
		if (err != nil) != (tt.count < 0) {
			t.Errorf("%s: error %v", tt.name, err)
			continue
		}
		if err == nil && (f.Count() != tt.count || f.Len() != tt.n || !bytes.Equal(f.Bytes(), tt.in)) {
			t.Errorf("%s: %d of %d, bytes %x", tt.name, f.Count(), f.Len(), f.Bytes())
		}
	}
	in := []byte{0x80}
	f, _ := ParseBitfield(in, 8)
	in[0] = 0
	if !f.Has(0) {
		t.Error("the bitfield did not copy its input")
	}
}

// Every size, so that every position of the last piece in its byte and its
// word comes up.
func TestBitfieldSizes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 200 {
		f := NewBitfield(n)
		f.Fill()
		if f.Count() != n || !f.All() || len(f.Bytes()) != (n+7)/8 {
			t.Fatalf("%d pieces filled: count %d, %d bytes", n, f.Count(), len(f.Bytes()))
		}
		if g, err := ParseBitfield(f.Bytes(), n); err != nil || g.Count() != n {
			t.Fatalf("%d pieces filled are not valid: %v", n, err)
		}
		g, both := f.Clone(), 0
		var want []Index
		for i := range Index(n) {
			switch r.IntN(4) {
			case 0:
				f.Clear(i)
			case 1:
				g.Clear(i)
				want = append(want, i)
			case 2:
				g.Clear(i)
				f.Clear(i)
			default:
				want = append(want, i)
				both++
			}
		}
		if got := slices.Collect(f.Indexes()); !slices.Equal(got, want) || f.Count() != len(want) {
			t.Fatalf("%d pieces: members %v, want %v", n, got, want)
		}
		if got := f.common(g); got != both {
			t.Fatalf("%d pieces: %d in common, want %d", n, got, both)
		}
		for range f.Indexes() {
			break
		}
		checkNext(t, wrapSet(f), wrapSet(g))
	}
}

// checkNext holds set.next against a look at every piece.
func checkNext(t *testing.T, s, o *set) {
	t.Helper()
	want := Index(s.n)
	for i := s.n - 1; i >= 0; i-- {
		if s.Has(Index(i)) && o.Has(Index(i)) {
			want = Index(i)
		}
		if got, ok := s.next(o, Index(i)); ok != (int(want) < s.n) || ok && got != want {
			t.Fatalf("next(%d) = %d, %v; want %d of %d", i, got, ok, want, s.n)
		}
	}
}

func TestSparseSets(t *testing.T) {
	const n = 3*4096 + 70
	r := rand.New(rand.NewPCG(2, 2))
	for range 40 {
		s, o := newSet(n), newSet(n)
		for range 1 + r.IntN(30) {
			i := Index(r.IntN(n))
			if !s.add(i) && !s.Has(i) {
				t.Fatal("add")
			}
			o.add(Index(r.IntN(n)))
			if r.IntN(3) > 0 {
				o.add(i)
			}
			if r.IntN(4) == 0 {
				s.remove(i)
			}
		}
		if err := checkSummary(s); err != nil {
			t.Fatal(err)
		}
		checkNext(t, s, o)
		checkNext(t, s, s)
	}
}

func FuzzParseBitfield(f *testing.F) {
	f.Add([]byte{0x80}, 1)
	f.Add([]byte{0xff, 0xe0}, 11)
	f.Add(bytes.Repeat([]byte{0x55}, 20), 160)
	f.Fuzz(func(t *testing.T, in []byte, n int) {
		if n < 0 || n > 1<<16 {
			return
		}
		b, err := ParseBitfield(in, n)
		if err != nil {
			return
		}
		if !bytes.Equal(b.Bytes(), in) {
			t.Fatalf("%x came back as %x", in, b.Bytes())
		}
		if got := len(slices.Collect(b.Indexes())); got != b.Count() || got > n {
			t.Fatalf("%d members, count %d of %d", got, b.Count(), n)
		}
	})
}
