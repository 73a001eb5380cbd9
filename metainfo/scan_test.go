package metainfo

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/bencode"
)

func TestScanRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "the input is empty",
		"<html>":                       "a web page",
		"i1e":                          "does not begin with a dictionary",
		"le":                           "does not begin with a dictionary",
		"4:spam":                       "does not begin with a dictionary",
		"d":                            "byte 1: the input ends",
		"d1:a":                         "byte 4: the input ends",
		"d1:ai1e":                      "byte 7: the input ends",
		"dee":                          "byte 2: 1 bytes after the end",
		"de\n":                         "byte 2: 1 bytes after the end",
		"d1:ae":                        "byte 4: no value begins like this",
		"di1ei1ee":                     "byte 1: a dictionary key is not a string",
		"dl1:aei1ee":                   "byte 1: a dictionary key is not a string",
		"d1:a-":                        "byte 4: no value begins like this",
		"d1:ai01ee":                    "byte 4: an integer with a leading zero",
		"d1:ai00ee":                    "byte 4: an integer with a leading zero",
		"d1:ai-0ee":                    "byte 4: an integer with a leading zero, or minus zero",
		"d1:ai-01ee":                   "byte 4: an integer with a leading zero",
		"d1:ai+1ee":                    "byte 4: not an integer",
		"d1:aiee":                      "byte 4: not an integer",
		"d1:ai-ee":                     "byte 4: not an integer",
		"d1:ai--1ee":                   "byte 4: not an integer",
		"d1:ai1.5ee":                   "byte 4: not an integer",
		"d1:ai 1ee":                    "byte 4: not an integer",
		"d1:ai1":                       "byte 4: the input ends",
		"d1:ai":                        "byte 4: the input ends",
		"d1:ai-":                       "byte 4: the input ends",
		"d1:ai123456789012345678901ee": "byte 4: an integer with too many digits",
		"d1:a01:xe":                    "byte 4: the length of a string has a leading zero",
		"d01:ai1ee":                    "byte 1: the length of a string has a leading zero",
		"d1:a00:e":                     "byte 4: the length of a string has a leading zero",
		"d1:a1xe":                      "byte 4: the length of a string is not followed by a colon",
		"d1:a3:xe":                     "byte 4: a string is longer than the input",
		"d1:a99999999999999999999:xe":  "byte 4: a string is longer than the input",
		"d1:a99999999:xe":              "byte 4: a string is longer than the input",
		"d1:a5":                        "byte 4: the input ends",
		"d1:ai1e1:ai2ee":               "has a key twice",
		"d1:bi1e1:ai1e1:bi2ee":         "has a key twice",
		"d0:i1e0:i2ee":                 "has a key twice",
		"d1:ad1:xi1e1:xi1eee":          "byte 18: a dictionary that ends here has a key twice",
	} {
		err := scan([]byte(in), MaxFileSize, maxDepth)
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", in, err, want)
		}
	}
}

func TestScanAccepts(t *testing.T) {
	for _, in := range []string{
		"de", "d0:0:e", "d1:ai0ee", "d1:ai-1ee", "d1:ai-9223372036854775808ee", "d1:alee", "d1:b0:1:a0:e",
		"d1:ad1:ai1ee1:bd1:ai1eee", "d2:ab0:1:a0:e", "d1:a3:e:ee",
	} {
		if err := scan([]byte(in), MaxFileSize, maxDepth); err != nil {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestScanDepthAndSize(t *testing.T) {
	nested := func(n int) []byte { // n dictionaries in each other
		return []byte(strings.Repeat("d1:a", n-1) + "de" + strings.Repeat("e", n-1))
	}
	if err := scan(nested(64), MaxFileSize, maxDepth); err != nil {
		t.Errorf("64 levels: %v", err)
	}
	if err := scan(nested(65), MaxFileSize, maxDepth); err == nil || !strings.Contains(err.Error(), "nested too deep") {
		t.Errorf("65 levels: %v", err)
	}
	if err := scan(bytes.Repeat([]byte("d1:al"), 1<<20), MaxFileSize, maxDepth); err == nil || !strings.Contains(err.Error(), "nested too deep") {
		t.Errorf("a million levels: %v", err)
	}
	full := func(n int) []byte { return fmt.Appendf(nil, "d1:a%d:%se", n-14, make([]byte, n-14)) }
	if b := full(MaxFileSize); len(b) != MaxFileSize || scan(b, MaxFileSize, maxDepth) != nil {
		t.Errorf("%d bytes are refused", len(b))
	}
	if err := scan(full(MaxFileSize+1), MaxFileSize, maxDepth); err == nil || !strings.Contains(err.Error(), "at most 33554432") {
		t.Errorf("one byte more: %v", err)
	}
}

func TestScanRefusesEveryPrefix(t *testing.T) {
	b := encode(t, dict{"info": multi(file(1, "a"), file(2, "b", "c")), "announce": "http://a.example/", "nodes": list{list{"x", 1}}})
	for n := range b {
		if err := scan(b[:n], MaxFileSize, maxDepth); err == nil {
			t.Fatalf("%q is accepted", b[:n])
		}
	}
}

func TestScanHardlyAllocates(t *testing.T) {
	b := bigTorrent(t, 1000, 1000)
	if n := testing.AllocsPerRun(5, func() {
		if err := scan(b, MaxFileSize, maxDepth); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// bigTorrent has files in directories of a hundred, in an order that is not
// sorted, and about that many pieces.
func bigTorrent(t testing.TB, files, pieces int) []byte {
	t.Helper()
	var list []any
	for i := range files {
		j := i * 7919 % files
		list = append(list, file(16384*pieces/files, fmt.Sprintf("directory %04d", j/100), fmt.Sprintf("A file of the season %06d.mkv", j)))
	}
	return encode(t, dict{"info": multi(list...), "announce": "http://t.example/a"})
}

func BenchmarkScan(b *testing.B) {
	in := bigTorrent(b, 10_000, 20_000)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if err := scan(in, MaxFileSize, maxDepth); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{1, 10_000, 100_000} {
		in := bigTorrent(b, n, 20_000)
		b.Run(fmt.Sprintf("files=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzScan(f *testing.F) {
	for _, s := range []string{"de", "d1:ai-5e1:bli1e3:abcee", "d1:bi1e1:ai1ee", "d1:ai0e1:ai0ee", "d1:ad0:d0:leee1:bdee"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		err := scan(in, MaxFileSize, maxDepth)
		var v any
		libErr := bencode.Unmarshal(in, &v)
		if err != nil {
			// What we refuse and the library takes is only what we mean to.
			if _, isDict := v.(map[string]any); libErr == nil && isDict && !strings.Contains(err.Error(), "too many digits") {
				t.Fatalf("refused %q, which the library takes: %v", in, err)
			}
			return
		}
		// Sort the dictionaries: then the library must take it.
		b := sorted(in)
		if err := bencode.Unmarshal(b, &v); err != nil {
			t.Fatalf("accepted %q, which the library refuses: %v", in, err)
		}
		if again, err := bencode.Marshal(v); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q is walked as %q, the library makes it %q", in, b, again)
		}
	})
}

// sorted is v with the keys of all dictionaries in order.
func sorted(v value) []byte {
	switch v.kind() {
	case 'l':
		b := []byte{'l'}
		for e := range v.elements() {
			b = append(b, sorted(e)...)
		}
		return append(b, 'e')
	case 'd':
		keys, values := []string{}, map[string]value{}
		for k, e := range v.entries() {
			keys, values[string(k)] = append(keys, string(k)), e
		}
		b := []byte{'d'}
		for _, k := range sortedStrings(keys) {
			b = append(appendString(b, k), sorted(values[k])...)
		}
		return append(b, 'e')
	}
	return v
}

func sortedStrings(s []string) []string {
	slices.Sort(s)
	return s
}
