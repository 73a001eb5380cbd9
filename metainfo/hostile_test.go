package metainfo

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// fill makes an input of about size bytes.
func fill(size int, head string, each func(i int) string, tail string) []byte {
	b := append(make([]byte, 0, size+8192), head...)
	for i := 0; len(b) < size; i++ {
		b = append(b, each(i)...)
	}
	return append(b, tail...)
}

// TestHostileInputIsCheap feeds inputs made to cost as much as they can.
func TestHostileInputIsCheap(t *testing.T) {
	const room = 2<<20 + 100
	always := func(s string) func(int) string { return func(int) string { return s } }
	numbered := func(format string) func(int) string { return func(i int) string { return fmt.Sprintf(format, i) } }
	const (
		rest = "4:name1:a12:piece lengthi1e6:pieces0:e"
		good = "4:infod6:lengthi1e4:name1:a12:piece lengthi1e6:pieces20:01234567890123456789e"
	)
	var (
		prefix = strings.Repeat("p", 1000)
		deep   = strings.Repeat("1:a", 1900)
		q      = strings.Repeat("q", 250)
		odd    = strings.Repeat("\u017f\u212a", 48)
	)
	limits := map[string]string{
		"empty files": "more than 1048576 files",
		"one path":    "path of more than 4000 bytes",
	}
	for name, in := range map[string][]byte{
		"keys out of order": fill(room, "d", func(i int) string { return fmt.Sprintf("8:%08d0:", 99_999_999-i) }, good+"e"),
		"long keys":         fill(room, "d", func(i int) string { return fmt.Sprintf("1008:%s%08d0:", prefix, 99_999_999-i) }, good+"e"),
		"empty files":       fill(room, "d4:infod5:filesl", always("de"), "e"+rest+"e"),
		"small files":       fill(room, "d4:infod5:filesl", numbered("d6:lengthi0e4:pathl7:%07dee"), "e"+rest+"e"),
		"pads":              fill(room, "d4:infod5:filesl", always("d4:attr1:p6:lengthi0ee"), "e"+rest+"e"),
		"names of one byte": fill(room, "d4:infod5:filesl", numbered("d6:lengthi0e4:pathl"+deep+"7:%07dee"), "e"+rest+"e"),
		"one path":          fill(room, "d4:infod5:filesld6:lengthi0e4:pathl", always("1:a"), "eee"+rest+"e"),
		"long torrent name": fill(room, "d4:infod5:filesl", numbered("d6:lengthi0e4:pathl20:%020dee"), "e4:name255:"+strings.Repeat("n", 255)+"12:piece lengthi1e6:pieces0:ee"),
		"long common paths": fill(room, "d4:infod5:filesl", numbered("d6:lengthi0e4:pathl250:"+q+"250:"+q+"7:%07dee"), "e"+rest+"e"),
		"odd letters":       fill(room, "d4:infod5:filesl", numbered("d6:lengthi0e4:pathl247:"+odd+"%07dee"), "e"+rest+"e"),
		"trackers":          fill(room, "d13:announce-listl", always("l1:ae"), "e"+good+"e"),
		"empty tiers":       fill(room, "d13:announce-listl", always("le"), "e"+good+"e"),
		"web seeds":         fill(room, "d"+good+"8:url-listl", always("1:a"), "ee"),
		"nodes":             fill(room, "d"+good+"5:nodesl", always("l1:ai1ee"), "ee"),
		"one node":          fill(room, "d"+good+"5:nodesll", always("1:a"), "eee"),
		"one URL":           fmt.Appendf(nil, "d8:announce%d:%s%se", room, bytes.Repeat([]byte("h"), room), good),
		"comment":           fmt.Appendf(nil, "d7:comment%d:%s%se", room, bytes.Repeat([]byte{0xff, 'a'}, room/2), good),
		"ignored numbers":   fill(room, "d1:al", always("i123456789e"), "e"+good+"e"),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Parse(in)
			runtime.ReadMemStats(&after)
			what := fmt.Sprint(err)
			if strings.Contains(what, "byte ") || strings.Contains(what, "missing") {
				t.Errorf("the input is not what it is meant to be: %v", err)
			}
			if want := limits[name]; !strings.Contains(what, want) {
				t.Errorf("got %.200s, want %q", what, want)
			}
			allocated := after.TotalAlloc - before.TotalAlloc
			if most := 40*uint64(len(in)) + 1<<20; allocated > most {
				t.Errorf("%d bytes allocated, want at most %d", allocated, most)
			}
		})
	}
}

func TestPathsTogetherAreBounded(t *testing.T) {
	path := value("l1:a1:be")
	r := fileReader{name: "album", count: maxNames - 2}
	if err := r.bound(path); err != nil {
		t.Errorf("the last names: %v", err)
	}
	if err := r.bound(path); err == nil || !strings.Contains(err.Error(), "more than 4194304 names") {
		t.Errorf("one more name: %v", err)
	}
	r.paths = make([]byte, maxPaths-len("album/a/b"))
	if why := r.appendPath(path); why != "" {
		t.Errorf("the last bytes: %s", why)
	}
	if why := r.appendPath(value("l1:ae")); !strings.Contains(why, "more than 134217728 bytes") {
		t.Errorf("one more path: %q", why)
	}
}
