package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"btd/api/client"
)

func TestExitCodes(t *testing.T) {
	d := newDaemon(t)
	d.answers["POST /v1/torrents"] = &client.Error{Status: 501, Code: client.CodeNotSupported, Message: "magnet links are not supported"}
	d.answers["GET /v1/session/stats"] = hang{}
	d.answers["GET /v1/session/limits"] = &client.Error{Status: 401, Code: client.CodeUnauthorized, Message: "token"}
	d.answers["GET /v1/session/version"] = &client.Error{Status: 500, Code: client.CodeInternal, Message: "disk on fire"}
	d.answers["PATCH /v1/session/limits"] = &client.Error{Status: 403, Code: client.CodeForbidden, Message: "host"}
	tests := []struct {
		name string
		args []string
		code int
		says string // on stderr
	}{
		{"done", []string{"ls"}, 0, ""},
		{"help", []string{"--help"}, 0, ""},
		{"no command", nil, 2, "say what to do"},
		{"unknown command", []string{"frobnicate"}, 2, `unknown command "frobnicate"`},
		{"unknown flag", []string{"ls", "--colour"}, 2, "unknown flag: --colour"},
		{"flag of the wrong type", []string{"ls", "--timeout", "soon"}, 2, "Try 'btctl ls --help'"},
		{"negative timeout", []string{"ls", "--timeout", "-1s"}, 2, "negative"},
		{"no target", []string{"show"}, 2, "at least 1 arg"},
		{"no target and not all", []string{"start"}, 2, "--all"},
		{"target and all", []string{"start", "--all", "aa1"}, 2, "exclude"},
		{"ambiguous", []string{"stop", "debian"}, 2, "Debian 12\n  " + idB + "  debian-handbook"},
		{"bad address", []string{"ls", "--api", "ftp://x"}, 2, "unix:// nor http://"},
		{"bad rate", []string{"limit", "--down", "fast"}, 2, "5MiB/s"},
		{"rate in bits", []string{"limit", "--down", "5Mb"}, 2, "B with a capital"},
		{"bad ratio", []string{"limit", "aa1", "--ratio", "0"}, 2, "above 0"},
		{"ratio of the session", []string{"limit", "--ratio", "2"}, 2, "need a target"},
		{"bad priority", []string{"priority", "aa1", "urgent", "*"}, 2, "skip, low, normal, high"},
		{"priority without files", []string{"priority", "aa1", "skip"}, 2, "name the files"},
		{"only of nothing", []string{"add", "x", "--only", ""}, 2, "--only is empty"},
		{"only of nothing, with a link", []string{"add", "magnet:?xt=urn:btih:" + idA, "--only="}, 2, "--only is empty"},
		{"stopped and wait", []string{"add", "x", "--stopped", "--wait"}, 2, "exclude"},
		{"until-complete of nothing", []string{"watch", "--until-complete"}, 2, "needs a target"},
		{"no such torrent", []string{"stop", "ubuntu"}, 5, `no torrent fits "ubuntu"`},
		{"no such tracker", []string{"trackers", "rm", "aa1", "http://x"}, 5, ""},
		{"refused by the daemon", []string{"version"}, 1, "disk on fire"},
		{"not supported", []string{"add", "magnet:?xt=urn:btih:00"}, 1, "not supported"},
		{"no such file", []string{"add", "/nonexistent/x.torrent"}, 1, "no such file"},
		{"wants a token", []string{"limit"}, 4, "BTD_TOKEN"},
		{"forbidden", []string{"limit", "--up", "1MiB/s"}, 4, "host"},
		{"no daemon", []string{"ls", "--api", "unix:///nonexistent/s"}, 3, "btd is not running: start it with `btd`, or say where it listens with --api"},
		{"no daemon at a port", []string{"ls", "--api", "http://127.0.0.1:1"}, 3, "btd is not running"},
		{"timed out", []string{"stats", "--timeout", "10ms"}, 7, "timed out"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := d.run(tt.args...)
			if r.code != tt.code || !strings.Contains(r.err, tt.says) {
				t.Errorf("%v: want exit %d and %q, got %v", tt.args, tt.code, tt.says, r)
			}
			if tt.code != 0 && r.err == "" {
				t.Errorf("%v: exit %d without a word", tt.args, r.code)
			}
		})
	}
}

func TestNotAllowedToConnect(t *testing.T) {
	if os.Getuid() == 0 {
		code, text := explain(&client.ConnectError{Address: "unix:///x", Err: os.ErrPermission})
		if code != exitAuth || !strings.Contains(text, "user that runs btd") {
			t.Errorf("exit %d, %q", code, text)
		}
		return
	}
	d := newDaemon(t)
	if err := os.Chmod(d.socket, 0); err != nil {
		t.Fatal(err)
	}
	if r := d.run("ls"); r.code != exitAuth {
		t.Errorf("got %v", r)
	}
}

func TestOutput(t *testing.T) {
	d := newDaemon(t)
	d.answers["GET /v1/session/stats"] = client.Stats{Torrents: map[string]int{"seeding": 2, "error": 1, "queued": 0}, Uploaded: 3 << 30, UptimeSeconds: 90061, ListenPort: 6881, Counters: map[string]int64{"bad handshakes": 4, "none": 0}}
	d.answers["GET /v1/session/limits"] = client.Limits{Down: 5 << 20}
	d.answers["PATCH /v1/session/limits"] = client.Limits{Down: 1 << 20, Up: 500000}
	d.answers["GET /v1/torrents/"+idA+"/files"] = client.FileList{Files: []client.File{
		{Index: 0, Path: "Debian 12/a.iso", Size: 1 << 20, Have: 1 << 19, Priority: "normal"},
		{Index: 1, Path: "Debian 12/.pad/5", Size: 5, Pad: true, Priority: "normal"},
		{Index: 2, Path: "Debian 12/empty", Priority: "skip"},
	}}
	d.answers["GET /v1/torrents/"+idA+"/peers"] = client.PeerList{Peers: []client.Peer{
		{Addr: "192.0.2.1:6881", Client: "x\x1b]0;owned\a", Source: "tracker", Progress: 0.999999, RateDown: 1 << 20, Interesting: true, Optimistic: true},
	}}
	d.answers["GET /v1/torrents/"+idA+"/trackers"] = client.TrackerList{Trackers: []client.Tracker{
		{URL: "http://t.example/a", Status: "failed", Error: "timed out", Swarm: client.Swarm{Seeds: -1, Leechers: -1}},
	}}
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"ls"}, `ID        STATE         DONE     SIZE       DOWN         UP     ETA  PEERS  RATIO  NAME
aa111111  downloading  25.0%  4.0 GiB  5.0 MiB/s  1.0 KiB/s  10m14s     12   0.50  Debian 12
aa222222  seeding       100%     10 B          -          -       -      0   0.00  debian-handbook
cc333333  error        99.9%   1000 B          -          -       -      0   0.00  evil ·[31m·name  (disk full)
`},
		{[]string{"ls", "CC3"}, `ID        STATE   DONE    SIZE  DOWN  UP  ETA  PEERS  RATIO  NAME
cc333333  error  99.9%  1000 B     -   -    -      0   0.00  evil ·[31m·name  (disk full)
`},
		{[]string{"files", "Debian 12"}, `INDEX     SIZE   DONE  PRIORITY  PATH
    0  1.0 MiB  50.0%  normal    Debian 12/a.iso
    2      0 B   100%  skip      Debian 12/empty
`},
		{[]string{"peers", "aa1"}, `ADDRESS          DONE       DOWN  UP  RECEIVED  SENT  FLAGS  FROM     CLIENT
192.0.2.1:6881  99.9%  1.0 MiB/s   -       0 B   0 B  dO     tracker  x·]0;owned·
`},
		{[]string{"trackers", "aa1"}, `TIER  STATUS  PEERS  SEEDS  LEECHERS  LAST  NEXT  URL
   0  failed      0      -         -  -     -     http://t.example/a  (timed out)
`},
		{[]string{"limit"}, "     DOWN         UP\n5.0 MiB/s  unlimited\n"},
		{[]string{"limit", "--down", "1MiB/s", "--up", "500kB/s"}, "     DOWN         UP\n1.0 MiB/s  488 KiB/s\n"},
		{[]string{"limit", "--json"}, `{"up":0,"down":5242880}` + "\n"},
		{[]string{"limit", "aa2"}, "     DOWN         UP           RATIO         SEEDING  NAME\nunlimited  unlimited  as the session  as the session  debian-handbook\n"},
		{[]string{"stats"}, `Running for  1d1h
Listening    port 6881
Torrents     3: 1 error, 2 seeding
Peers        0
Downloaded   0 B, now -
Uploaded     3.0 GiB, now -
Corrupt      0 B
Buffers      0 B
Open files   0
Counter      4 bad handshakes
`},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			r := d.run(tt.args...)
			if r.code != 0 || r.out != tt.want || r.err != "" {
				t.Errorf("got %v\nwant\n%s", r, tt.want)
			}
		})
	}
}

func TestShow(t *testing.T) {
	d := newDaemon(t)
	list := someTorrents()
	list[0].State, list[0].Checked = client.StateChecking, 0.5
	list[0].Options = client.Options{Sequential: true, Scope: client.ScopeLAN, Secret: true, Limits: client.Limits{Up: 1 << 20}, RatioLimit: 1.5, SeedTimeSeconds: -1}
	list[0].Corrupt, list[0].Error, list[0].Private = 16384, "tracker\ttimed out", true
	list[0].SecondsActive = 7265
	d.answers["GET /v1/torrents"] = client.TorrentList{Torrents: list}
	want := `Name         Debian 12
Id           aa11111111111111111111111111111111111111
State        checking, 50.0% done
Problem      tracker·timed out
Directory    /srv
Done         50.0%, 1.0 GiB of 4.0 GiB wanted
Size         4.0 GiB in 4096 pieces of 1.0 MiB, 1024 here
Downloaded   0 B, now 5.0 MiB/s
Uploaded     2.0 GiB, now 1.0 KiB/s, ratio 0.50
Corrupt      16 KiB
Peers        12 connected, 3 of them complete, 80 known
Swarm        9 seeds, - leechers, - downloads
Limits       down unlimited, up 1.0 MiB/s, ratio 1.50, seeding unlimited
Order        sequential
Private      yes
Scope        lan: peers in private and link-local networks only, whoever tells of them; not in the DHT
Secret       yes: only peers that prove it are spoken to, encrypted; trackers see a mask; not in the DHT
Added        -
Completed    -
Active       2h1m, seeding 0s
`
	if r := d.run("show", "aa1"); r.code != 0 || r.out != want {
		t.Errorf("got %v\nwant\n%s", r, want)
	}
	if r := d.run("show", "aa1", "aa2"); !strings.Contains(r.out, want+"\nName         debian-handbook\n") {
		t.Errorf("two torrents: %v", r)
	}
}

func TestVersion(t *testing.T) {
	d := newDaemon(t)
	d.answers["GET /v1/session/version"] = client.Version{Version: "1.2", API: "v1", Go: "go1"}
	if r := d.run("version"); r.code != 0 || !strings.HasPrefix(r.out, "btctl ") || !strings.HasSuffix(r.out, "\nbtd 1.2 (go1), API v1\n") {
		t.Errorf("got %v", r)
	}
	if r := d.run("version", "--json"); r.out != `{"version":"1.2","api":"v1","go":"go1"}`+"\n" {
		t.Errorf("got %v", r)
	}
	r := world{env: map[string]string{"BTD_API": "/nonexistent"}}.run("version")
	if r.code != exitNoDaemon || !strings.HasPrefix(r.out, "btctl ") {
		t.Errorf("without a daemon: %v", r)
	}
}

func TestSeveralTorrentsHaveTitles(t *testing.T) {
	d := newDaemon(t)
	for _, id := range []string{idA, idB} {
		d.answers["GET /v1/torrents/"+id+"/files"] = client.FileList{Files: []client.File{{Path: "x", Priority: "low"}}}
	}
	table := "INDEX  SIZE  DONE  PRIORITY  PATH\n    0   0 B  100%  low       x\n"
	if r := d.run("files", "aa1", "aa2"); r.out != "Debian 12\n"+table+"\ndebian-handbook\n"+table {
		t.Errorf("got %v", r)
	}
}

func TestEmptyList(t *testing.T) {
	d := newDaemon(t)
	d.answers["GET /v1/torrents"] = client.TorrentList{}
	if r := d.run("ls"); r.code != 0 || r.out != "" || !strings.Contains(r.err, "btctl add") {
		t.Errorf("got %v", r)
	}
	if r := d.run("rm", "--all"); r.code != 0 || d.asked() != "" {
		t.Errorf("got %v", r)
	}
}

func TestJSONIsTheDaemons(t *testing.T) {
	d := newDaemon(t)
	type odd struct {
		Unknown string `json:"a_field_of_the_future"`
	}
	d.answers["GET /v1/session/stats"] = odd{"x"}
	d.answers["GET /v1/torrents/"+idA+"/files"] = odd{"a"}
	d.answers["GET /v1/torrents/"+idB+"/files"] = odd{"b"}
	if r := d.run("stats", "--json"); r.out != `{"a_field_of_the_future":"x"}`+"\n" {
		t.Errorf("stats: %v", r)
	}
	if r := d.run("files", "aa1", "aa2", "--json"); r.out != `{"a_field_of_the_future":"a"}`+"\n"+`{"a_field_of_the_future":"b"}`+"\n" {
		t.Errorf("files: %v", r)
	}
	var list client.TorrentList
	if r := d.run("show", "aa1", "cc", "--json"); json.Unmarshal([]byte(r.out), &list) != nil || len(list.Torrents) != 2 {
		t.Errorf("show: %v", r)
	}
}

func TestChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.torrent")
	// One piece, three files: d/a (5), d/extras/b.txt (5), d/c.mkv (6).
	content := "d4:infod5:filesl" +
		"d6:lengthi5e4:pathl1:aee" + "d6:lengthi5e4:pathl6:extras5:b.txtee" + "d6:lengthi6e4:pathl5:c.mkvee" +
		"e4:name1:d12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	one := "/v1/torrents/" + idA
	tests := []struct {
		args []string
		want string // requests, line by line
		says string
	}{
		{[]string{"start", "aa1", "cc3"}, "POST " + one + "/start\nPOST /v1/torrents/" + idC + "/start", "started Debian 12\nstarted evil ·[31m·name\n"},
		{[]string{"stop", "aa1", "Debian 12"}, "POST " + one + "/stop", "stopped Debian 12"},
		{[]string{"verify", "aa1"}, "POST " + one + "/verify", "checking"},
		{[]string{"reannounce", "aa1"}, "POST " + one + "/reannounce", "announcing"},
		{[]string{"stop", "aa1", "nobody"}, "", "no torrent fits"},
		{[]string{"rm", "aa1"}, "DELETE " + one, "removed Debian 12"},
		{[]string{"rm", "aa1", "--data"}, "DELETE " + one + "?data=true", "removed Debian 12"},
		{[]string{"limit", "aa1", "--down", "1.5MiB/s", "--up", "unlimited", "--ratio", "2.5", "--seed-time", "36h"}, "PATCH " + one + ` {"limits":{"up":0,"down":1572864},"ratio_limit":2.5,"seed_time_seconds":129600}`, "limited"},
		{[]string{"limit", "aa1", "--ratio", "unlimited", "--seed-time", "session"}, "PATCH " + one + ` {"ratio_limit":-1,"seed_time_seconds":0}`, "limited"},
		{[]string{"priority", "aa1", "high", "0", "*.txt"}, "PUT " + one + `/priorities {"files":{"0":"high","2":"high"}}`, "high for 2 files"},
		{[]string{"priority", "aa1", "--sequential"}, "PATCH " + one + ` {"sequential":true}`, "sequential"},
		{[]string{"priority", "aa1", "--sequential=false"}, "PATCH " + one + ` {"sequential":false}`, "rarest first"},
		{[]string{"peers", "add", "aa1", "192.0.2.1:1", "[::1]:2"}, "POST " + one + `/peers {"peers":["192.0.2.1:1","[::1]:2"]}`, ""},
		{[]string{"trackers", "add", "aa1", "http://x/a"}, "POST " + one + `/trackers {"urls":["http://x/a"]}`, ""},
		{[]string{"trackers", "add", "aa1", "http://x/a", "--tier", "0"}, "POST " + one + `/trackers {"urls":["http://x/a"],"tier":0}`, ""},
		{[]string{"trackers", "rm", "aa1", "http://t/?k=v&x"}, "DELETE " + one + "/trackers?url=http%3A%2F%2Ft%2F%3Fk%3Dv%26x", ""},
		{[]string{"add", file, "--dir", "/srv/x", "--stopped", "--sequential", "--scope", "lan", "--only", "extras,2", "--peer", "192.0.2.1:1"}, `"dir":"/srv/x","stopped":true,"sequential":true,"scope":"lan","only":[1,2],"peers":["192.0.2.1:1"]}`, "added Debian 12"},
		{[]string{"add", file, "--only", "*.avi"}, "", "no file fits"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			d := newDaemon(t)
			d.answers["GET "+one+"/files"] = client.FileList{Files: []client.File{{Index: 0, Path: "Debian 12/a"}, {Index: 1, Path: "Debian 12/b"}, {Index: 2, Path: "Debian 12/docs/c.txt"}}}
			d.answers["GET "+one+"/trackers"] = client.TrackerList{Trackers: []client.Tracker{{URL: "http://t/?k=v&x"}}}
			d.answers["POST /v1/torrents"] = client.AddResponse{Torrent: someTorrents()[0]}
			r := d.run(tt.args...)
			asked := d.asked()
			if asked != tt.want && (!strings.HasPrefix(tt.want, `"`) || !strings.HasSuffix(asked, tt.want)) {
				t.Errorf("asked\n%s\nwant\n%s\n%v", asked, tt.want, r)
			}
			if !strings.Contains(r.err, tt.says) || (tt.want != "") != (r.code == 0) {
				t.Errorf("want %q: %v", tt.says, r)
			}
		})
	}
}

func TestOneOfSeveralFails(t *testing.T) {
	d := newDaemon(t)
	d.answers["POST /v1/torrents/"+idA+"/start"] = &client.Error{Status: 404, Code: client.CodeNotFound, Message: "gone"}
	r := d.run("start", "--all")
	if r.code != exitNotFound || !strings.Contains(r.err, "Debian 12: gone") || !strings.Contains(r.err, "started debian-handbook") {
		t.Errorf("got %v", r)
	}
}

// TestReannounceAll leaves out what does not announce, unless it is named.
func TestReannounceAll(t *testing.T) {
	list := someTorrents()
	list[0].State, list[2].State = client.StateStopped, client.StateQueued
	d := newDaemon(t)
	d.answers["GET /v1/torrents"] = client.TorrentList{Torrents: list}
	refused := &client.Error{Status: 400, Code: client.CodeInvalid, Message: "the torrent is not running"}
	for _, id := range []string{idA, idC} {
		d.answers["POST /v1/torrents/"+id+"/reannounce"] = refused
	}
	r := d.run("reannounce", "--all")
	if want := "left out 2 torrents: stopped or queued\nannouncing debian-handbook\n"; r.code != 0 || r.err != want || d.asked() != "POST /v1/torrents/"+idB+"/reannounce" {
		t.Errorf("want %q: %v\nasked %s", want, r, d.asked())
	}
	if r := d.run("reannounce", "aa1", "aa2"); r.code != exitFailed || !strings.Contains(r.err, "Debian 12: the torrent is not running") {
		t.Errorf("one that is named: %v", r)
	}
	if r := d.run("start", "--all"); r.code != 0 || strings.Contains(r.err, "left out") || strings.Count(d.asked(), "/start") != 3 {
		t.Errorf("start leaves out none: %v", r)
	}
}

// TestPriorityBeforeTheMetadata: no index is wrong where no file is known.
func TestPriorityBeforeTheMetadata(t *testing.T) {
	d := newDaemon(t)
	d.answers["GET /v1/torrents/"+idA+"/files"] = client.FileList{}
	for _, word := range []string{"0", "*.mkv"} {
		if r := d.run("priority", "aa1", "high", word); r.code != exitFailed || !strings.Contains(r.err, "Debian 12: its files are not known before its metadata is here") || d.asked() != "" {
			t.Errorf("%s: asked %q, %v", word, d.asked(), r)
		}
	}
}

func TestRemoveAsksOnATerminal(t *testing.T) {
	for _, tt := range []struct {
		name, stdin string
		args        []string
		removed     bool
	}{
		{"yes", "y\n", []string{"rm", "aa1", "--data"}, true},
		{"YES without a line end", "YES", []string{"rm", "aa1"}, true},
		{"no", "n\n", []string{"rm", "aa1"}, false},
		{"enter", "\n", []string{"rm", "--all", "--data"}, false},
		{"end of file", "", []string{"rm", "aa1"}, false},
		{"told not to", "", []string{"rm", "aa1", "--yes"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDaemon(t)
			r := world{env: map[string]string{"BTD_API": d.socket}, stdin: tt.stdin, tty: true}.run(tt.args...)
			if removed := d.asked() != ""; removed != tt.removed || (r.code == 0) != tt.removed {
				t.Errorf("removed %t, want %t: %v", removed, tt.removed, r)
			}
		})
	}
}

func TestAddPrintsIDs(t *testing.T) {
	d := newDaemon(t)
	d.answers["POST /v1/torrents"] = client.AddResponse{Torrent: someTorrents()[0], Existed: true}
	w := world{env: map[string]string{"BTD_API": d.socket}, stdin: "d4:infodee"}
	r := w.run("add", "-")
	if r.code != 0 || r.out != idA+"\n" || !strings.Contains(r.err, "was there already") {
		t.Errorf("got %v", r)
	}
	r = w.run("add", "-", "--json")
	var resp client.AddResponse
	if err := json.Unmarshal([]byte(r.out), &resp); err != nil || resp.Torrent.ID != idA || !resp.Existed {
		t.Errorf("got %v (%v)", r, err)
	}
}

// TestAddOfWhatIsThere says which flags had no effect, and no others.
func TestAddOfWhatIsThere(t *testing.T) {
	d := newDaemon(t)
	there := someTorrents()[0]
	d.answers["POST /v1/torrents"] = client.AddResponse{Torrent: there, Existed: true}
	link := "magnet:?xt=urn:btih:" + strings.Repeat("a", 40)
	r := d.run("add", link, "--dir", "/other/place", "--stopped", "--sequential", "--only", "1")
	if r.code != 0 || !strings.Contains(r.err, "and the files of --only now") || !strings.Contains(r.err, "the directory, --stopped, --sequential: without effect") {
		t.Errorf("got %v", r)
	}
	if r := d.run("add", link, "--dir", there.Dir); r.code != 0 || strings.Contains(r.err, "without effect") || strings.Contains(r.err, "--only") {
		t.Errorf("got %v", r)
	}
}

func progress(seq uint64, done float64, state string) client.Event {
	t := someTorrents()[0]
	t.State, t.Progress, t.HaveWanted = state, done, int64(done*float64(t.Wanted))
	return client.Event{Seq: seq, Kind: client.EventProgress, ID: t.ID, Torrent: &t}
}

func TestAddWaits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events []client.Event
		ends   bool
		args   []string
		code   int
		says   string
	}{
		{"to the end", []client.Event{progress(1, 0.5, "downloading"), progress(2, 1, "checking"), progress(3, 1, "seeding")}, false, nil, 0, "seeding 100%"},
		{"an error", []client.Event{progress(1, 0.5, "error")}, false, nil, 1, "stays added"},
		{"stopped", []client.Event{progress(1, 0.5, "stopped")}, false, nil, 1, "was stopped"},
		{"removed", []client.Event{{Seq: 1, Kind: client.EventRemoved, ID: idA}}, false, nil, 1, "removed meanwhile"},
		{"too long", []client.Event{progress(1, 0.5, "downloading")}, false, []string{"--timeout", "50ms"}, 7, "timed out"},
		{"the daemon stops", []client.Event{progress(1, 0.5, "downloading")}, true, nil, 3, "btd has stopped"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDaemon(t)
			d.stream = tt.events
			if tt.ends {
				close(d.then)
			}
			d.answers["POST /v1/torrents"] = client.AddResponse{Torrent: someTorrents()[0]}
			w := world{env: map[string]string{"BTD_API": d.socket}, stdin: "d4:infodee"}
			r := w.run(append([]string{"add", "-", "--wait"}, tt.args...)...)
			// On a slow machine a short time may be over before the torrent is added.
			for limit := 100 * time.Millisecond; tt.code == exitTimeout && r.out == "" && limit < time.Minute; limit *= 2 {
				r = w.run("add", "-", "--wait", "--timeout", limit.String())
			}
			if r.code != tt.code || !strings.Contains(r.err, tt.says) || r.out != idA+"\n" {
				t.Errorf("want exit %d and %q: %v", tt.code, tt.says, r)
			}
		})
	}
}

func TestWatch(t *testing.T) {
	events := []client.Event{progress(1, 0.5, "downloading"), progress(2, 1, "seeding")}
	t.Run("lines", func(t *testing.T) {
		d := newDaemon(t)
		d.stream = events
		r := d.run("watch", "aa1", "--until-complete")
		want := "Debian 12: downloading 25.0% of 4.0 GiB, down 5.0 MiB/s, up 1.0 KiB/s, 12 peers, ready in 10m14s\n"
		if r.code != 0 || !strings.HasPrefix(r.out, want) || !strings.Contains(r.out, "Debian 12: seeding 100% of 4.0 GiB") {
			t.Errorf("got %v", r)
		}
	})
	t.Run("bars", func(t *testing.T) {
		d := newDaemon(t)
		d.stream = events
		r := world{env: map[string]string{"BTD_API": d.socket}, tty: true}.run("watch", "aa1", "--until-complete")
		if r.code != 0 || !strings.Contains(r.out, "Debian 12") || !strings.Contains(r.out, "100%") {
			t.Errorf("got %v", r)
		}
	})
	t.Run("json", func(t *testing.T) {
		d := newDaemon(t)
		d.stream = append([]client.Event{{Seq: 1, Kind: client.EventState, ID: idB}}, events...)
		r := d.run("watch", "aa1", "--until-complete", "--json")
		lines := strings.Split(strings.TrimSpace(r.out), "\n")
		var e client.Event
		if r.code != 0 || len(lines) != 2 || json.Unmarshal([]byte(lines[1]), &e) != nil || e.Torrent.State != "seeding" {
			t.Errorf("got %v", r)
		}
	})
	for _, tt := range []struct {
		name string
		args []string
		code int
	}{
		{"interrupted", nil, exitOK},
		{"a torrent, interrupted", []string{"aa1"}, exitOK},
		{"interrupted before it is complete", []string{"aa1", "--until-complete"}, exitFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDaemon(t)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				d.then <- progress(1, 0.5, "downloading") // the stream is there
				cancel()
			}()
			r := world{env: map[string]string{"BTD_API": d.socket}, ctx: ctx}.run(append([]string{"watch"}, tt.args...)...)
			if r.code != tt.code || strings.Contains(r.err, "interrupted") != (tt.code != exitOK) {
				t.Errorf("want exit %d: %v", tt.code, r)
			}
		})
	}
}

// TestWatchKeepsToItsInterval: a seed gets no more lines than others.
func TestWatchKeepsToItsInterval(t *testing.T) {
	d := newDaemon(t)
	seed := someTorrents()[1]
	for i := range 10 {
		now := seed
		now.RateUp = int64(1+i) << 20
		d.stream = append(d.stream, client.Event{Seq: uint64(1 + i), Kind: client.EventProgress, ID: seed.ID, Torrent: &now})
	}
	d.stream = append(d.stream, progress(11, 0.3, "downloading"), progress(12, 1, "downloading"), progress(13, 1, "seeding"))
	close(d.then) // the daemon stops
	r := d.run("watch", "aa1", "aa2", "--interval", "1h")
	if n := strings.Count(r.out, "debian-handbook: "); n != 1 {
		t.Errorf("%d lines about a seed, want 1: %v", n, r)
	}
	if n := strings.Count(r.out, "Debian 12: "); n != 3 || !strings.Contains(r.out, "Debian 12: downloading 100%") {
		t.Errorf("%d lines about a download, want its first, complete and seeding: %v", n, r)
	}
}

func TestWatchGoesOnAfterALostConnection(t *testing.T) {
	d := newDaemon(t)
	go func() {
		d.then <- progress(1, 0.5, "downloading")
		d.cut <- struct{}{}
		d.then <- client.Event{Seq: 2, Kind: client.EventWarning, ID: idA, Message: "tracker \x1b says no"}
		d.then <- client.Event{Seq: 3, Kind: client.EventWarning, ID: idB, Message: "of another"}
		d.then <- progress(4, 1, "seeding")
	}()
	w := world{env: map[string]string{"BTD_API": d.socket}, patience: 3}
	r := w.run("watch", "aa1", "--until-complete", "--interval", "0s")
	if r.code != 0 || !strings.Contains(r.out, "seeding 100%") {
		t.Errorf("got %v", r)
	}
	for text, want := range map[string]bool{"lost, trying again": true, "Debian 12: tracker · says no": true, "of another": false} {
		if strings.Contains(r.err, text) != want {
			t.Errorf("stderr has %q: %t, want %t\n%v", text, !want, want, r)
		}
	}
}

func TestWatchLeavesOutWhatDoesNothing(t *testing.T) {
	d := newDaemon(t)
	d.stream = []client.Event{progress(1, 1, "seeding"), {Seq: 2, Kind: client.EventRemoved, ID: idC}}
	close(d.then) // the daemon stops
	r := d.run("watch")
	if r.code != exitNoDaemon {
		t.Errorf("exit %d, want %d", r.code, exitNoDaemon)
	}
	if !strings.Contains(r.out, "Debian 12: downloading") || !strings.Contains(r.out, "Debian 12: seeding") ||
		!strings.Contains(r.out, "(disk full)") || strings.Contains(r.out, "handbook") {
		t.Errorf("got %v", r)
	}
}

func TestRemovingMayTakeLong(t *testing.T) {
	a := &app{getenv: func(string) string { return "/s" }}
	root := a.root()
	root.SetArgs([]string{"rm", "x"})
	if err := root.Execute(); err == nil || !a.patient {
		t.Errorf("patient %t, %v", a.patient, err)
	}
}

func TestToken(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		_ = json.NewEncoder(w).Encode(client.Limits{})
	}))
	defer server.Close()
	state := t.TempDir()
	if err := os.WriteFile(filepath.Join(state, "api-token"), []byte("fromfile\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STATE_DIRECTORY", state)
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
		want string
	}{
		{"flag", map[string]string{"BTD_TOKEN": "fromenv"}, []string{"--token", "fromflag"}, "Bearer fromflag"},
		{"environment", map[string]string{"BTD_TOKEN": "fromenv"}, nil, "Bearer fromenv"},
		{"file", nil, nil, "Bearer fromfile"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := world{env: tt.env}.run(append([]string{"limit", "--api", server.URL}, tt.args...)...)
			if r.code != 0 || got != tt.want {
				t.Errorf("sent %q, want %q: %v", got, tt.want, r)
			}
		})
	}
	a := &app{getenv: func(string) string { return "" }}
	if got := a.findToken("192.0.2.1:80"); got != "" {
		t.Errorf("the token of this machine would go to another: %q", got)
	}
}

func TestCompletion(t *testing.T) {
	d := newDaemon(t)
	r := d.run("__complete", "show", "")
	if r.code != 0 || !strings.Contains(r.out, "aa111111\tDebian 12\n") {
		t.Errorf("got %v", r)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if r := d.run("completion", shell); r.code != 0 || len(r.out) < 1000 {
			t.Errorf("%s: exit %d, %d bytes", shell, r.code, len(r.out))
		}
	}
}

func TestHelpNamesEveryExitCode(t *testing.T) {
	r := world{}.run("--help")
	for _, line := range []string{"  0  done", "  1  failed", "  2  the command line", "  3  no daemon", "  4  not authorised", "  5  not found", "  7  timed out"} {
		if !strings.Contains(r.out, line) {
			t.Errorf("the help lacks %q", line)
		}
	}
	if r.code != 0 || r.err != "" {
		t.Errorf("got %v", r)
	}
}

func TestRates(t *testing.T) {
	for s, want := range map[string]int64{
		"5MiB/s": 5 << 20, "5MiB": 5 << 20, "500kB/s": 500000, "1.5M": 1500000, "2g/s": 2000000000, "0": 0, "unlimited": 0, "none": 0, "123": 123,
	} {
		if got, err := parseRate(s); err != nil || got != want {
			t.Errorf("%q = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "-1", "-5MiB", "fast", "5Mb/s", "5 potatoes", "99999999999999EiB", "NaN", "/s", "1e9"} {
		if got, err := parseRate(s); err == nil {
			t.Errorf("%q = %d, want an error", s, got)
		}
	}
}

func TestChooseFiles(t *testing.T) {
	files := []named{
		{0, "Show/S1/e1.mkv", false},
		{1, "Show/S1/e2.mkv", false},
		{2, "Show/.pad/7", true},
		{3, "Show/S2/e1.mkv", false},
		{4, "Show/read me [x].txt", false},
	}
	for _, tt := range []struct {
		words []string
		want  string
	}{
		{[]string{"0"}, "[0]"},
		{[]string{"1-3"}, "[1 3]"},
		{[]string{"*"}, "[0 1 3 4]"},
		{[]string{"*.mkv"}, "[0 1 3]"},
		{[]string{"S1"}, "[0 1]"},
		{[]string{"S1/"}, "[0 1]"},
		{[]string{"S?/e1.*"}, "[0 3]"},
		{[]string{"Show/S2"}, "[3]"},
		{[]string{"Show/S2/e1.mkv", "0"}, "[0 3]"},
		{[]string{"read me [x].txt"}, "[4]"},
		{[]string{"9"}, "no file 9"},
		{[]string{"2"}, "file 2 is padding"},
		{[]string{"0", "2-2"}, "file 2 is padding"},
		{[]string{"3-1"}, "backwards"},
		{[]string{"Show"}, "no file fits"}, // the whole torrent is not a file
		{[]string{"*.avi"}, "no file fits"},
		{[]string{"[x"}, "malformed"},
		{[]string{""}, "empty word"},
	} {
		got, err := chooseFiles(files, false, tt.words)
		text := strings.TrimSpace(strings.Join(strings.Fields(jsonText(t, got)), " "))
		if err != nil {
			text = err.Error()
		}
		if !strings.Contains(text, strings.ReplaceAll(tt.want, " ", ",")) && !strings.Contains(text, tt.want) {
			t.Errorf("%v = %s, want %s", tt.words, text, tt.want)
		}
	}
	if got, err := chooseFiles([]named{{0, "a.iso", false}}, true, []string{"*.iso"}); err != nil || len(got) != 1 {
		t.Errorf("single file: %v, %v", got, err)
	}
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestNumbersForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0s", 59: "59s", 61: "1m1s", 3600: "1h0m", 90061: "1d1h", -5: "0s", 1 << 60: "∞"} {
		if got := secondsText(n); got != want {
			t.Errorf("%d s = %s, want %s", n, got, want)
		}
	}
	for f, want := range map[float64]string{0: "0.0%", 0.99999: "99.9%", 1: "100%", 0.0004: "0.0%"} {
		if got := percent(f); got != want {
			t.Errorf("%v = %s, want %s", f, got, want)
		}
	}
	if got := timeText(time.Time{}); got != "-" {
		t.Errorf("no time = %q", got)
	}
}

func TestShortIDsDiffer(t *testing.T) {
	long := strings.Repeat("a", 39)
	got := shortIDs([]client.Torrent{{ID: long + "1"}, {ID: long + "2"}})
	if got[0] == got[1] {
		t.Errorf("both are %s", got[0])
	}
}

func TestTableFitsATerminal(t *testing.T) {
	tab := newTable("A", ">B", "NAME")
	tab.row("x", "1", strings.Repeat("ü", 50))
	for _, line := range strings.Split(strings.TrimSpace(tab.text(20)), "\n") {
		if n := len([]rune(line)); n > 20 {
			t.Errorf("%d characters: %s", n, line)
		}
	}
}
