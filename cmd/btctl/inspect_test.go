package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"btd/api/client"
	"btd/metainfo"
)

// hostile is a torrent with everything that may be in one, and names that
// would draw on a terminal.
const hostile = "d8:announce17:http://a.example/" +
	"13:announce-listll17:http://a.example/el20:udp://b.example:6969ee" +
	"7:comment10:c\x1b[2J\n\u202ed10:created by2:me13:creation datei1000000000e" +
	"4:infod5:filesl" +
	"d4:attr1:x6:lengthi3e4:pathl1:a7:b\u202etxtee" +
	"d4:attr1:h6:lengthi5e4:pathl2:.hee" +
	"d4:attr1:p6:lengthi8e4:pathl4:.pad1:8ee" +
	"e4:name1:n12:piece lengthi16384e6:pieces20:012345678901234567897:privatei1e6:source3:SRC" +
	"7:unknown4:\x1b[1me" +
	"5:nodesll9:n.examplei6881eee8:url-list17:http://w.example/5:weirdi7ee"

func TestInspect(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("h.torrent", []byte(hostile), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := metainfo.Parse([]byte(hostile))
	if err != nil {
		t.Fatal(err)
	}
	want := `Name         n
Id           ` + m.Hash.String() + `
Size         16 B (16 bytes) in 1 piece of 16 KiB
Files        3
Private      yes
Source       SRC
Comment      c·[2J··d
Created by   me
Created      ` + timeText(m.Created) + `
Tracker      http://a.example/ (tier 0)
Tracker      udp://b.example:6969 (tier 1)
Web seed     http://w.example/
DHT node     n.example:6881
Unknown key  "weird": 7
Unknown key  info."unknown": "\x1b[1m"

INDEX  SIZE  ATTR  PATH
    0   3 B  x     n/a/b·txt
    1   5 B  h     n/.h
    2   8 B  p     n/.pad
`
	want = strings.Replace(want, "n/.pad\n", "n/"+m.Files[2].Path[2:]+"\n", 1)
	if r := (world{}).run("inspect", "h.torrent"); r.code != 0 || r.out != want || r.err != "" {
		t.Errorf("inspect: %v\nwant %s", r, want)
	}
	r := world{stdin: hostile}.run("inspect", "-", "--json")
	var x inspected
	if err := json.Unmarshal([]byte(r.out), &x); err != nil || x.ID != m.Hash.String() || len(x.Files) != 3 || x.Comment != m.Comment ||
		x.Files[0].Path != m.Files[0].Path || !x.Files[0].Executable || len(x.Unknown) != 2 || len(x.Trackers) != 2 {
		t.Errorf("inspect --json: %v", r)
	}
	if strings.ContainsAny(r.out, "\x1b\u202e") {
		t.Errorf("--json prints what a terminal obeys: %q", r.out)
	}
	for _, args := range [][]string{{"inspect", "gone.torrent"}, {"inspect", "magnet:?dn=x"}, {"magnet", "./gone"}} {
		if r := (world{}).run(args...); r.code != 1 || r.out != "" {
			t.Errorf("%v: %v", args, r)
		}
	}
	if r := (world{stdin: "<html>"}).run("inspect", "-"); r.code != 1 || !strings.Contains(r.err, "a web page, not a torrent") {
		t.Errorf("a web page: %v", r)
	}
}

func TestInspectMagnet(t *testing.T) {
	const secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
	link := "magnet:?xt=urn:btih:" + idA + "&dn=a%1b%E2%80%AEb&xl=5&tr=http://a.example/&ws=http://w.example/&x.pe=192.0.2.1:5&so=0,2-4&x.scope=lan#" + secret
	want := `Name         a·b
Id           ` + idA + `
Size         5 B (5 bytes), as the link claims
Tracker      http://a.example/
Web seed     http://w.example/
Peer         192.0.2.1:5
Files        0 to 0
Files        2 to 4
Scope        lan
Secret       yes (not shown)
`
	if r := (world{}).run("inspect", link); r.code != 0 || r.out != want {
		t.Errorf("inspect: %v\nwant %s", r, want)
	}
	r := world{}.run("inspect", link, "--json")
	var x inspectedLink
	if err := json.Unmarshal([]byte(r.out), &x); err != nil || x.ID != idA || x.Size != 5 || len(x.Only) != 2 || x.Only[1].Last != 4 || !x.Secret {
		t.Errorf("inspect --json: %v", r)
	}
	if strings.Contains(r.out, secret) || strings.Contains(r.out, "\u202e") {
		t.Errorf("--json tells too much: %s", r.out)
	}
}

func TestMagnetOfFileAndTorrent(t *testing.T) {
	r := world{stdin: hostile}.run("magnet", "-")
	m, err := metainfo.ParseMagnet(r.out)
	if err != nil || r.code != 0 || m.Name != "n" || m.Length != 16 || len(m.Trackers) != 2 || len(m.WebSeeds) != 1 || !strings.Contains(r.err, "private") {
		t.Errorf("of a file: %v, %v", r, err)
	}

	d := newDaemon(t)
	list := someTorrents()
	list[0].Options.Scope = client.ScopeLAN
	d.answers["GET /v1/torrents"] = client.TorrentList{Torrents: list}
	d.answers["GET /v1/torrents/"+idA+"/trackers"] = client.TrackerList{Trackers: []client.Tracker{{URL: "http://a.example/"}, {URL: "udp://b.example:1", Tier: 1}}}
	r = d.run("magnet", "aa1")
	m, err = metainfo.ParseMagnet(r.out)
	if err != nil || r.code != 0 || m.Hash.String() != idA || m.Name != "Debian 12" || m.Length != 4<<30 || len(m.Trackers) != 2 || m.Scope != metainfo.ScopeLAN {
		t.Errorf("of a torrent: %v, %v", r, err)
	}
	r = d.run("magnet", "aa1", "--json")
	var x struct{ Magnet string }
	if err := json.Unmarshal([]byte(r.out), &x); err != nil || x.Magnet != m.String() {
		t.Errorf("magnet --json: %v", r)
	}
	if r := d.run("magnet", "ubuntu"); r.code != exitNotFound {
		t.Errorf("of nothing: %v", r)
	}
}
