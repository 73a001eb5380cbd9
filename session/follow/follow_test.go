package follow

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func hashOf(n byte) (h [20]byte) {
	h[0], h[19] = n, 0xee
	return h
}

func valueOf(n byte) []byte { return AppendValue(nil, hashOf(n)) }

func TestValuesAreRead(t *testing.T) {
	h := strings.Repeat("x", 20)
	for name, c := range map[string]struct {
		in string
		ok bool
	}{
		"the plain one":       {"d2:ih20:" + h + "e", true},
		"other keys":          {"d1:ai5e2:ih20:" + h + "4:namel1:xd1:yi-3eee2:zz0:e", true},
		"no ih":               {"d2:xx20:" + h + "e", false},
		"short":               {"d2:ih19:" + h[1:] + "e", false},
		"long":                {"d2:ih21:" + h + "xe", false},
		"a number":            {"d2:ihi20ee", false},
		"ih within a list":    {"d2:ihl20:" + h + "ee", false},
		"ih within a string":  {"d2:xx28:2:ih20:" + h + "xxxxe", false},
		"zeros":               {"d2:ih20:" + strings.Repeat("\x00", 20) + "e", false},
		"a list":              {"l2:ih20:" + h + "e", false},
		"a string":            {"20:" + h, false},
		"nothing":             {"", false},
		"cut short":           {"d2:ih20:" + h, false},
		"something behind":    {"d2:ih20:" + h + "ee", false},
		"a length too long":   {"d2:ih99:" + h + "e", false},
		"a huge length":       {"d2:ih99999999999999999999:" + h + "e", false},
		"a number for ever":   {"d1:ai" + strings.Repeat("9", 900) + "e2:ih20:" + h + "e", false},
		"nested for ever":     {"d1:a" + strings.Repeat("l", 400) + strings.Repeat("e", 400) + "2:ih20:" + h + "e", false},
		"a key that is none":  {"di5e2:ih2:ih20:" + h + "e", false},
		"dictionary, no pair": {"d1:ad1:xe2:ih20:" + h + "e", false},
	} {
		got, ok := ReadValue([]byte(c.in))
		if ok != c.ok || ok && string(got[:]) != h || !ok && got != [20]byte{} {
			t.Errorf("%s: %x, %v", name, got, ok)
		}
	}
	if got, ok := ReadValue(valueOf(7)); !ok || got != hashOf(7) {
		t.Errorf("read back: %x, %v", got, ok)
	}
}

// FuzzReadValue: what is taken was said, and nothing makes it fall over.
func FuzzReadValue(f *testing.F) {
	f.Add(valueOf(1))
	f.Add([]byte("d1:ai5e2:ih20:xxxxxxxxxxxxxxxxxxxx4:namel1:xd1:yi-3eee2:zz0:e"))
	f.Add([]byte("d1:al" + strings.Repeat("l", 40) + "e2:ih20:"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, ok := ReadValue(in)
		if !ok {
			return
		}
		if !bytes.Contains(in, append([]byte("2:ih20:"), h[:]...)) || h == [20]byte{} {
			t.Fatalf("%q says %x?", in, h)
		}
		if again, ok := ReadValue(AppendValue(nil, h)); !ok || again != h {
			t.Fatalf("%x is read back as %x, %v", h, again, ok)
		}
	})
}

func TestSequenceNumbersNeverGoBack(t *testing.T) {
	var track Track
	for i, step := range []struct {
		seq      int64
		value    []byte
		switched bool // first
		want     News
		latest   int64
	}{
		{5, []byte("3:abc"), false, Unusable, 0},
		{0, valueOf(1), false, Fresh, 0},
		{0, valueOf(1), false, Nothing, 0},
		{0, valueOf(2), false, Conflict, 0},
		{3, valueOf(1), true, Renewed, 3},
		{2, valueOf(2), false, Old, 3},
		{4, valueOf(2), false, Fresh, 4},
		{3, valueOf(1), false, Old, 4},
		{9, []byte("de"), false, Unusable, 4},
		{4, []byte("de"), false, Conflict, 4},
		{5, valueOf(2), false, Renewed, 5},
		{6, valueOf(3), false, Fresh, 6},   // before anybody switched
		{7, valueOf(1), false, Renewed, 7}, // back to the one in use
		{6, valueOf(3), false, Old, 7},
		{1 << 62, valueOf(3), false, Fresh, 1 << 62},
		{7, valueOf(1), true, Old, 1 << 62},
	} {
		if step.switched {
			track.Switch()
		}
		if got := track.Found(step.seq, step.value); got != step.want || track.Latest().Seq != step.latest {
			t.Fatalf("step %d: news %d, want %d; %+v", i, got, step.want, track)
		}
	}
	if track.Current != (Version{hashOf(3), 1 << 62}) || track.Next.Some() {
		t.Errorf("at the end: %+v", track)
	}
	track.Switch()
	if !track.Current.Some() {
		t.Error("a switch to nothing")
	}
}

func TestNewsAreRefusedOrNot(t *testing.T) {
	for n, want := range map[News]bool{Nothing: false, Old: true, Conflict: true, Unusable: true, Renewed: false, Fresh: false} {
		if n.Refused() != want {
			t.Errorf("news %d: refused %v", n, !want)
		}
	}
}

func TestFilesAreMatched(t *testing.T) {
	for name, c := range map[string]struct {
		old, next []File
		want      []int
	}{
		"by name, whatever the length": {
			[]File{{"v1/a", 5, false}, {"v1/d/b", 6, false}},
			[]File{{"v2/d/b", 7, false}, {"v2/a", 5, false}, {"v2/c", 9, false}},
			[]int{1, 0, -1},
		},
		"one file each": {[]File{{"dump-1", 5, false}}, []File{{"dump-2", 6, false}}, []int{0}},
		"renamed, by length": {
			[]File{{"v/a", 5, false}, {"v/b", 6, false}}, []File{{"v/a", 5, false}, {"v/x", 6, false}}, []int{0, 1},
		},
		"two of a length": {
			[]File{{"v/a", 6, false}, {"v/b", 6, false}}, []File{{"v/x", 6, false}}, []int{-1},
		},
		"used once": {
			[]File{{"v/a", 6, false}}, []File{{"v/x", 6, false}, {"v/y", 6, false}}, []int{0, -1},
		},
		"empty files and pads": {
			[]File{{"v/a", 0, false}, {"v/p", 8, true}}, []File{{"v/a", 0, false}, {"v/q", 8, false}, {"v/p", 8, true}}, []int{-1, -1, -1},
		},
		"nothing": {nil, []File{{"v/a", 1, false}}, []int{-1}},
	} {
		if got := Match(c.old, c.next); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestSameNames(t *testing.T) {
	for name, c := range map[string]struct {
		old, next []File
		want      []int
	}{
		"by name, whatever else": {
			[]File{{"v1/a", 5, false}, {"v1/d/b", 0, false}},
			[]File{{"v2/d/b", 7, false}, {"v2/b", 5, false}, {"v2/a", 0, false}},
			[]int{1, -1, 0},
		},
		"one file each":   {[]File{{"dump-1", 5, false}}, []File{{"dump-2", 6, false}}, []int{0}},
		"one and several": {[]File{{"v", 5, false}}, []File{{"v/a", 5, false}, {"v/v", 5, false}}, []int{-1, -1}},
		"pads":            {[]File{{"v/p", 8, true}, {"v/q", 8, false}}, []File{{"v/p", 8, false}, {"v/q", 8, true}}, []int{-1, -1}},
		"nothing":         {nil, []File{{"v/a", 1, false}}, []int{-1}},
	} {
		if got := Same(c.old, c.next); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestFilesWhereDirectoriesAre(t *testing.T) {
	one := []File{{"Content", 5, false}}
	many := []File{{"content/a/b", 5, false}, {"content/c", 5, false}}
	deeper := []File{{"content/c/d", 5, false}}
	pad := []File{{"content", 5, true}}
	for name, c := range map[string]struct {
		a, b []File
		want bool
	}{
		"the same": {many, many, false}, "file and directory": {one, many, true}, "deeper": {many, deeper, true},
		"apart": {many, []File{{"other/a", 1, false}}, false}, "a pad": {pad, many, false},
	} {
		if got := Collide(c.a, c.b); got != c.want || Collide(c.b, c.a) != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
