package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"btd/api/client"
)

// TestAddWaitsForATorrentThatIsNamedTwice adds one torrent by two names.
func TestAddWaitsForATorrentThatIsNamedTwice(t *testing.T) {
	d := newDaemon(t)
	d.stream = []client.Event{progress(1, 0.5, "downloading"), progress(2, 1, "seeding")}
	d.answers["POST /v1/torrents"] = client.AddResponse{Torrent: someTorrents()[0]}
	link := "magnet:?xt=urn:btih:" + idA
	if r := d.run("add", link, link+"&dn=x", "--wait"); r.code != 0 || !strings.Contains(r.err, "seeding 100%") {
		t.Errorf("got %v", r)
	}
}

// TestNoWaitForAKey: which torrent a key names is not known, wherever the link
// comes from.
func TestNoWaitForAKey(t *testing.T) {
	link := "magnet:?xs=urn:btpk:" + strings.Repeat("7f", 32)
	d := newDaemon(t)
	d.answers["POST /v1/torrents"] = client.AddResponse{Follow: &client.Follow{ID: "1", Key: strings.Repeat("7f", 32)}}
	for _, arg := range []string{link, "-"} {
		r := world{env: map[string]string{"BTD_API": d.socket}, stdin: link + "\n"}.run("add", arg, "--wait")
		if r.code != exitUsage || !strings.Contains(r.err, "names a key") || d.asked() != "" {
			t.Errorf("add %s: asked %q, %v", arg, d.asked(), r)
		}
	}
	if r := (world{env: map[string]string{"BTD_API": d.socket}, stdin: link}).run("add", "-"); r.code != 0 || !strings.Contains(d.asked(), link) {
		t.Errorf("without --wait: asked %q, %v", d.asked(), r)
	}
}

// TestAddOnlyPadding: to choose nothing but padding is not to choose all files.
func TestAddOnlyPadding(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.torrent")
	content := "d4:infod5:filesl" +
		"d6:lengthi5e4:pathl1:aee" + "d4:attr1:p6:lengthi16379e4:pathl4:.pad5:16379ee" + "d6:lengthi6e4:pathl1:bee" +
		"e4:name1:d12:piece lengthi16384e6:pieces40:" + strings.Repeat("a", 40) + "ee"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDaemon(t)
	d.answers["POST /v1/torrents"] = client.AddResponse{Torrent: someTorrents()[0]}
	if r := d.run("add", file, "--only", "1"); r.code != exitNotFound || !strings.Contains(r.err, "file 1 is padding") || d.asked() != "" {
		t.Errorf("asked %q, %v", d.asked(), r)
	}
	if r := d.run("add", file, "--only", "1-2"); r.code != 0 || !strings.Contains(d.asked(), `"only":[2]`) {
		t.Errorf("asked %q, %v", d.asked(), r)
	}
}
