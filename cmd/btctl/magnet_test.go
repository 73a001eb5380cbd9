package main

import (
	"strings"
	"testing"

	"btd/api/client"
)

const someLink = "magnet:?xt=urn:btih:" + idA

func waitingTorrent(m client.Metadata) client.Torrent {
	return client.Torrent{ID: idA, Name: "a name", State: client.StateMetadata, Dir: "/srv", Metadata: &m, Peers: 2}
}

func TestMagnetIsShown(t *testing.T) {
	d := newDaemon(t)
	d.answers["GET /v1/torrents"] = client.TorrentList{Torrents: []client.Torrent{
		waitingTorrent(client.Metadata{Tried: 1}), waitingTorrent(client.Metadata{Nodes: 40, Tried: 7, Sources: 2, Have: 3, Pieces: 5, Size: 70000}),
	}}
	want := "none has the metadata yet)\n"
	r := d.run("ls")
	lines := strings.SplitAfter(r.out, "\n")
	if len(lines) < 3 || !strings.HasSuffix(lines[1], "a name  (0 nodes asked, 1 peer tried, "+want) ||
		!strings.HasSuffix(lines[2], "a name  (40 nodes asked, 7 peers tried, metadata 60.0%)\n") || !strings.Contains(lines[2], "metadata     -     -     -   -") {
		t.Errorf("ls: %v", r)
	}
	d.answers["GET /v1/torrents"] = client.TorrentList{Torrents: []client.Torrent{waitingTorrent(client.Metadata{Tried: 7, Have: 3, Pieces: 5})}}
	r = d.run("show", idA)
	if !strings.Contains(r.out, "Waiting for  0 nodes asked, 7 peers tried, metadata 60.0%\n") || strings.Contains(r.out, "Size") {
		t.Errorf("show: %v", r)
	}
}

func TestAddMagnet(t *testing.T) {
	d := newDaemon(t)
	d.answers["POST /v1/torrents"] = client.AddResponse{Torrent: waitingTorrent(client.Metadata{})}
	r := d.run("add", someLink, "--only", "0,2-4", "--only", "3,9", "--dir", "/srv")
	if r.code != 0 || r.out != idA+"\n" || !strings.Contains(r.err, "added a name to /srv: what it holds is asked of peers") {
		t.Errorf("add: %v", r)
	}
	if asked := d.asked(); !strings.Contains(asked, `"magnet":"`+someLink+`"`) || !strings.Contains(asked, `"only":[0,2,3,4,9]`) {
		t.Errorf("asked: %s", asked)
	}
	for words, says := range map[string]string{"*.mkv": "not known yet", "5-2": "backwards", "0-99999999": "above"} {
		if r := d.run("add", someLink, "--only", words); r.code != 2 || !strings.Contains(r.err, says) {
			t.Errorf("--only %s: %v", words, r)
		}
	}
}

// TestAddMagnetWaits goes on while only the metadata is missing.
func TestAddMagnetWaits(t *testing.T) {
	d := newDaemon(t)
	x := waitingTorrent(client.Metadata{Tried: 7, Have: 3, Pieces: 5})
	d.stream = []client.Event{{Seq: 1, Kind: client.EventProgress, ID: idA, Torrent: &x}, progress(2, 0.5, "downloading"), progress(3, 1, "seeding")}
	d.answers["POST /v1/torrents"] = client.AddResponse{Torrent: x}
	r := d.run("add", someLink, "--wait")
	if r.code != 0 || !strings.Contains(r.err, "a name: metadata, 0 nodes asked, 7 peers tried, metadata 60.0%\n") || !strings.Contains(r.err, "seeding 100%") {
		t.Errorf("%v", r)
	}
}

// TestLinksWithASecret gives one on stdin, and one that the daemon refuses.
func TestLinksWithASecret(t *testing.T) {
	const link = someLink + "#AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
	d := newDaemon(t)
	d.answers["POST /v1/torrents"] = client.AddResponse{Torrent: someTorrents()[0]}
	w := world{env: map[string]string{"BTD_API": d.socket}, stdin: link + "\n"}
	if r := w.run("add", "-"); r.code != 0 || !strings.Contains(d.asked(), `"magnet":"`+link+`"`) {
		t.Errorf("asked %s: %v", d.asked(), r)
	}
	d = newDaemon(t)
	d.answers["POST /v1/torrents"] = &client.Error{Status: 400, Code: client.CodeInvalid, Message: "no"}
	r := d.run("add", link)
	if r.code == 0 || strings.Contains(r.out+r.err, "AAECAw") || !strings.Contains(r.err, idA+"#...") {
		t.Errorf("a refused link is shown with its secret: %v", r)
	}
}

func TestNoLinkWithoutItsSecret(t *testing.T) {
	d := newDaemon(t)
	list := someTorrents()
	list[0].Options.Secret = true
	d.answers["GET /v1/torrents"] = client.TorrentList{Torrents: list}
	if r := d.run("magnet", idA); r.code == 0 || strings.Contains(r.out, "magnet:") || !strings.Contains(r.err, "btctl share") {
		t.Errorf("got %v", r)
	}
}
