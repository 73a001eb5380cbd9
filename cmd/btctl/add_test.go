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

// TestAddGoesOnAfterARefusal adds three, of which the daemon refuses some.
func TestAddGoesOnAfterARefusal(t *testing.T) {
	links := make([]string, 3)
	for i := range links {
		links[i] = "magnet:?xt=urn:btih:" + strings.Repeat(string(rune('1'+i)), 40)
	}
	conflict := &client.Error{Status: 409, Code: client.CodeConflict, Message: "files are taken"}
	for name, c := range map[string]struct {
		refused map[int]*client.Error
		added   int // torrents
		asked   int // of the daemon
		code    int
		says    []string
	}{
		"none":           {nil, 3, 3, exitOK, nil},
		"the first":      {map[int]*client.Error{0: conflict}, 2, 3, exitFailed, []string{"btctl: " + links[0] + ": files are taken"}},
		"two":            {map[int]*client.Error{0: conflict, 1: conflict}, 1, 3, exitFailed, []string{"btctl: " + links[0] + ": files are taken", "btctl: " + links[1] + ": files are taken"}},
		"for good":       {map[int]*client.Error{1: {Status: 401, Code: client.CodeUnauthorized, Message: "who?"}}, 1, 2, exitAuth, []string{"1 torrent not tried", "--token"}},
		"the last, then": {map[int]*client.Error{1: conflict, 2: {Status: 503, Code: client.CodeUnavailable, Message: "busy"}}, 1, 3, exitFailed, []string{": busy", ": files are taken"}},
	} {
		for _, wait := range []bool{false, true} {
			d := newDaemon(t)
			d.stream = []client.Event{progress(1, 1, "seeding")}
			d.answers["POST /v1/torrents"] = func(body string) any {
				for i, e := range c.refused {
					if strings.Contains(body, links[i][len(links[i])-40:]) {
						return e
					}
				}
				return client.AddResponse{Torrent: someTorrents()[0]}
			}
			args := append([]string{"add"}, links...)
			if wait {
				args = append(args, "--wait")
			}
			r := d.run(args...)
			if r.code != c.code || strings.Count(r.out, idA+"\n") != c.added || strings.Count(d.asked(), "POST /v1/torrents ") != c.asked {
				t.Errorf("%s refused: want exit %d, %d added, %d asked of the daemon: %v\n%s", name, c.code, c.added, c.asked, r, d.asked())
			}
			for _, want := range c.says {
				if strings.Count(r.err, want) != 1 {
					t.Errorf("%s refused: %q is not said once: %v", name, want, r)
				}
			}
			if waited := strings.Contains(r.err, "100%"); waited != (wait && c.code == exitOK) {
				t.Errorf("%s refused: waited %t: %v", name, waited, r)
			}
		}
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
