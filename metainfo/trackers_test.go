package metainfo

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestTrackerURL(t *testing.T) {
	for _, s := range []string{
		"http://t.example/announce", "https://t.example:443/a?key=1", "udp://t.example:6969", "udp://[2001:db8::1]:80/announce",
		"HTTP://T.example/", "http://user:pass@t.example/", "http://t.example/a b",
	} {
		if got, err := TrackerURL(" " + s + "\r\n"); err != nil || got != s {
			t.Errorf("%q: got %q, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "t.example", "//t.example/", "ftp://t.example/", "wss://t.example/", "file:///etc/passwd", "http://", "http:///a",
		"http://t.example:0/", "http://t.example:65536/", "http://t.example:x/", "udp://t.example", "udp://t.example/announce",
		"http://[::1", "http://t.example/\x01", "http://t.example/%zz", "http://t.example/" + strings.Repeat("a", 2048),
		"dht://0000", "http:t.example",
	} {
		if got, err := TrackerURL(s); err == nil {
			t.Errorf("%.60q is accepted as %q", s, got)
		}
	}
}

func TestParseTiers(t *testing.T) {
	const a, b, c = "http://a.example/", "udp://b.example:1", "https://c.example/"
	for name, tt := range map[string]struct {
		list, single any
		want         [][]string
	}{
		"announce alone":           {nil, a, [][]string{{a}}},
		"list hides announce":      {list{list{b}}, a, [][]string{{b}}},
		"tiers":                    {list{list{a, b}, list{c}}, a, [][]string{{a, b}, {c}}},
		"bad ones are skipped":     {list{list{"wss://x/", 5, a, list{}}, list{"dht://x"}, list{}, list{b}}, nil, [][]string{{a}, {b}}},
		"twice is once":            {list{list{a, b}, list{b, c, a}}, nil, [][]string{{a, b}, {c}}},
		"empty list":               {list{}, a, [][]string{{a}}},
		"list of an empty tier":    {list{list{}}, a, [][]string{{a}}},
		"list of nothing usable":   {list{list{"", "x"}}, a, [][]string{{a}}},
		"list without tiers":       {list{a, b}, c, [][]string{{a}, {b}}},
		"list is a string":         {a, b, [][]string{{b}}},
		"neither is there":         {nil, nil, nil},
		"neither is of any use":    {list{list{"x"}}, "y", nil},
		"announce is a list":       {nil, list{a}, nil},
		"announce has space round": {nil, " " + a + "\n", [][]string{{a}}},
	} {
		m, err := Parse(encode(t, dict{"info": single()}.with(dict{"announce-list": tt.list, "announce": tt.single, "info": single()})))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(m.Trackers, tt.want) {
			t.Errorf("%s: got %v, want %v", name, m.Trackers, tt.want)
		}
	}
}

func TestExtrasAreBounded(t *testing.T) {
	var tiers, seeds, nodes list
	for i := range 10_000 {
		u := fmt.Sprintf("http://t%d.example/", i)
		tiers, seeds = append(tiers, list{u, u + "x"}), append(seeds, u)
		nodes = append(nodes, list{fmt.Sprintf("n%d.example", i), 1})
	}
	m, err := Parse(encode(t, dict{"info": single(), "announce-list": tiers, "url-list": seeds, "nodes": nodes}))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Trackers) != 64 || len(m.WebSeeds) != 128 || len(m.Nodes) != 128 {
		t.Errorf("%d tiers, %d web seeds, %d nodes", len(m.Trackers), len(m.WebSeeds), len(m.Nodes))
	}
	if m.Trackers[63][1] != "http://t63.example/x" || m.WebSeeds[127] != "http://t127.example/" || m.Nodes[127] != "n127.example:1" {
		t.Error("not the first ones are kept")
	}
}

func TestParseWebSeeds(t *testing.T) {
	for name, tt := range map[string]struct {
		in   any
		want []string
	}{
		"string":       {"http://m.example/f", []string{"http://m.example/f"}},
		"empty string": {"", nil},
		"list":         {list{"http://m.example/", "gopher://x/", 7, "https://m.example/", "http://m.example/", "ftp://m.example/"}, []string{"http://m.example/", "https://m.example/", "ftp://m.example/"}},
		"number":       {1, nil},
	} {
		m, err := Parse(encode(t, dict{"info": single(), "url-list": tt.in}))
		if err != nil || !slices.Equal(m.WebSeeds, tt.want) {
			t.Errorf("%s: got %v, %v, want %v", name, m.WebSeeds, err, tt.want)
		}
	}
}

func TestMergeTrackers(t *testing.T) {
	const a, b, c, d = "http://a.example/", "http://b.example/", "http://c.example/", "http://d.example/"
	for name, tt := range map[string]struct{ old, add, want [][]string }{
		"nothing":           {nil, nil, nil},
		"first":             {nil, [][]string{{a}, {b}}, [][]string{{a}, {b}}},
		"all known":         {[][]string{{a, b}}, [][]string{{b}, {a}}, [][]string{{a, b}}},
		"new tiers go last": {[][]string{{a}, {b}}, [][]string{{c, a}, {}, {b}, {d}}, [][]string{{a}, {b}, {c}, {d}}},
		"bad ones":          {[][]string{{a}}, [][]string{{"x", b}}, [][]string{{a}, {b}}},
		"empty tiers":       {[][]string{{}, {a}}, [][]string{nil}, [][]string{{a}}},
	} {
		if got := MergeTrackers(tt.old, tt.add); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
	old := [][]string{{a}}
	MergeTrackers(old, [][]string{{b}})[0][0] = "changed"
	if old[0][0] != a {
		t.Error("the result shares memory with the old tiers")
	}
}
