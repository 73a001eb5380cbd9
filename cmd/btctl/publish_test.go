package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"btd/api/client"
	"btd/metainfo"
)

// keyFile writes a key and returns its public half.
func keyFile(t *testing.T, n byte) (path, public string) {
	t.Helper()
	seed := make([]byte, 32)
	seed[0] = n
	path = filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(hex.EncodeToString(seed)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, publicHex(ed25519.NewKeyFromSeed(seed))
}

func TestPublish(t *testing.T) {
	d := newDaemon(t)
	file, public := keyFile(t, 1)
	key, err := hex.DecodeString(public)
	if err != nil {
		t.Fatal(err)
	}
	id := itemID(key, []byte("news"))
	d.answers["GET /v1/dht/items"] = client.DHTItem{V: []byte("1:x"), K: public, Seq: 4}
	d.answers["GET /v1/follows"] = client.FollowList{Follows: []client.Follow{
		{ID: id, Current: &client.FollowVersion{Seq: 5}, Next: &client.FollowVersion{Seq: 6}}, {ID: "other", Current: &client.FollowVersion{Seq: 99}},
	}}
	d.answers["GET /v1/publications"] = client.PublicationList{Publications: []client.Publication{{ID: id, Seq: 11}, {ID: "other", Seq: 99}}}
	d.answers["POST /v1/publications"] = client.Publication{ID: id, Key: public, Seq: 12, Stored: 8, Torrent: idA}
	r := d.run("publish", file, idA, "--salt", "news")
	m, err := metainfo.ParseMagnet(strings.TrimSpace(r.out))
	if err != nil || hex.EncodeToString(m.Key) != public || string(m.Salt) != "news" || m.Name != "Debian 12" || !m.Hash.IsZero() || r.code != 0 {
		t.Fatalf("%v: %+v, %v", r, m, err)
	}
	if !strings.Contains(r.err, "version 12 of key "+public+" is Debian 12, stored at 8 nodes") {
		t.Errorf("%v", r)
	}
	hash, err := hex.DecodeString(idA)
	if err != nil {
		t.Fatal(err)
	}
	req := client.DHTPutRequest{V: []byte("d2:ih20:" + string(hash) + "e"), Seq: 12} // the highest was 11
	sign(&req, ed25519.NewKeyFromSeed(append([]byte{1}, make([]byte, 31)...)), "news")
	if asked := d.asked(); !strings.Contains(asked, req.Sig) || !strings.Contains(asked, `"seq":12`) || strings.Contains(asked, "private") {
		t.Errorf("asked: %s", asked)
	}
	if seed, err := os.ReadFile(file); err != nil || strings.Contains(d.asked(), strings.TrimSpace(string(seed))) {
		t.Errorf("the private key was sent, %v", err)
	}
	if r := d.run("publish", file, idA, "--seq", "40", "--json"); r.code != 0 || !strings.Contains(r.out, `"stored":8`) || !strings.Contains(d.asked(), `"seq":40`) {
		t.Errorf("with a number: %v", r)
	}
}

func TestPublishMakesAKeyOnlyIfAsked(t *testing.T) {
	d := newDaemon(t)
	d.answers["GET /v1/publications"], d.answers["GET /v1/follows"] = client.PublicationList{}, client.FollowList{}
	d.answers["POST /v1/publications"] = client.Publication{Key: strings.Repeat("ab", 32), Seq: 1, Problem: "nobody answered"}
	file := filepath.Join(t.TempDir(), "new.key")
	if r := d.run("publish", file, idA); r.code != exitFailed || !strings.Contains(r.err, "--new-key") || !strings.Contains(r.err, file) {
		t.Errorf("without a key: %v", r)
	}
	if _, err := os.Stat(file); err == nil {
		t.Fatal("it was made")
	}
	r := d.run("publish", file, idA, "--new-key")
	if r.code != 0 || !strings.Contains(r.err, "made the key") || !strings.Contains(r.err, "not in the DHT yet, btd tries again: nobody answered") || !strings.Contains(d.asked(), `"seq":1`) {
		t.Errorf("with --new-key: %v\n%s", r, d.asked())
	}
	key, err := loadKey(file)
	if err != nil || !strings.Contains(r.out, "magnet:?xs=urn:btpk:"+publicHex(key)+"&dn=Debian+12\n") {
		t.Errorf("%v, %v", r, err)
	}
	if err := os.WriteFile(file, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := d.run("publish", file, idA, "--new-key"); r.code != exitFailed || !strings.Contains(r.err, "64 hex digits") {
		t.Errorf("a file that holds none: %v", r)
	}
}

func TestPublishRefuses(t *testing.T) {
	d := newDaemon(t)
	file, _ := keyFile(t, 1)
	list := someTorrents()
	list[0].Private = true
	d.answers["GET /v1/torrents"] = client.TorrentList{Torrents: list}
	for _, args := range [][]string{
		{},
		{file},
		{file, idA, "--seq", "-1"},
		{file, idA, "--salt", strings.Repeat("x", 65)},
		{"--list", file},
		{"--list", "--stop", file},
		{"--stop"},
		{"--stop", file, "--seq", "1"},
		{file, idA},
	} {
		if r := d.run(append([]string{"publish"}, args...)...); r.code != exitUsage {
			t.Errorf("%v: %v", args, r)
		}
	}
	if r := d.run("publish", file, idA); !strings.Contains(r.err, "private") {
		t.Errorf("private: %v", r)
	}
	if r := d.run("publish", file, "nobody"); r.code != exitNotFound {
		t.Errorf("a torrent that is not there: %v", r)
	}
	if d.asked() != "" {
		t.Errorf("asked: %s", d.asked())
	}
}

func TestPublicationsAreListedAndEnded(t *testing.T) {
	d := newDaemon(t)
	d.answers["GET /v1/publications"] = client.PublicationList{}
	if r := d.run("publish", "--list"); r.code != 0 || !strings.Contains(r.err, "Nothing is published") {
		t.Errorf("none: %v", r)
	}
	file, public := keyFile(t, 1)
	_, other := keyFile(t, 2)
	key, err := hex.DecodeString(public)
	if err != nil {
		t.Fatal(err)
	}
	id := itemID(key, nil)
	d.answers["GET /v1/publications"] = client.PublicationList{Publications: []client.Publication{
		{ID: id, Key: public, Name: "feed", Torrent: idA, Seq: 4, Stored: 8, Looked: time.Unix(1_700_000_000, 0)},
		{ID: strings.Repeat("cd", 20), Key: public, Salt: []byte("s"), Name: "evil \x1b[31m", Torrent: idB, Seq: 5, Problem: "nobody answered"},
		{ID: strings.Repeat("ef", 20), Key: other, Name: "gone", Torrent: idB, Seq: 6, Stopped: true},
	}}
	r := d.run("publish", "--list")
	for _, want := range []string{public[:16] + "  -", "alive", "problem", "stopped", "aa111111", "(nobody answered)", "evil ·[31m"} {
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("%q is missing: %v", want, r)
		}
	}
	if r := d.run("publish", "--list", "--json"); r.code != 0 || !strings.Contains(r.out, `"publications":[`) {
		t.Errorf("as JSON: %v", r)
	}
	for _, word := range []string{file, id, "feed"} {
		if r := d.run("publish", "--stop", word); r.code != 0 || !strings.HasSuffix(d.asked(), "DELETE /v1/publications/"+id) {
			t.Errorf("%s: %v\n%s", word, r, d.asked())
		}
	}
	if r := d.run("publish", "--stop", public[:8]); r.code != exitUsage || !strings.Contains(r.err, "2 of them") {
		t.Errorf("several: %v", r)
	}
	if r := d.run("publish", "--stop", public[:8], "--salt", "s"); r.code != 0 || !strings.HasSuffix(d.asked(), strings.Repeat("cd", 20)) {
		t.Errorf("with a salt: %v", r)
	}
	for _, word := range []string{"nobody", "gone", public[:3]} {
		if r := d.run("publish", "--stop", word); r.code != exitNotFound {
			t.Errorf("%s: %v", word, r)
		}
	}
}

// TestItemIDs are the test vectors of BEP 46.
func TestItemIDs(t *testing.T) {
	key, err := hex.DecodeString("8543d3e6115f0f98c944077a4493dcd543e49c739fd998550a1f614ab36ed63e")
	if err != nil {
		t.Fatal(err)
	}
	for salt, want := range map[string]string{"": "cc3f9d90b572172053626f9980ce261a850d050b", "n": "59ee7c2cb9b4f7eb1986ee2d18fd2fdb8a56554f"} {
		if got := itemID(key, []byte(salt)); got != want {
			t.Errorf("salt %q: %s, want %s", salt, got, want)
		}
	}
}
