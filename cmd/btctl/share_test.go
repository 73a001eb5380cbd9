package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"btd/api/client"
	"btd/metainfo"
	"btd/metainfo/create"
)

const (
	lanLink = "magnet:?xt=urn:btih:" + idA + "&dn=x&tr=http%3A%2F%2F10.1.2.3%3A6969%2Fannounce&x.scope=lan"
	lanURL  = "http://10.1.2.3:6969/t/" + idA + ".torrent?scope=lan"
)

// sharing is a daemon that has what is shared with it.
func sharing(t *testing.T, edit func(*client.AddResponse)) *daemon {
	d := newDaemon(t)
	r := client.AddResponse{Torrent: client.Torrent{
		ID: idA, Name: "x", State: client.StateSeeding, Wanted: 10, HaveWanted: 10, Options: client.Options{Scope: client.ScopeLAN},
	}}
	if edit != nil {
		edit(&r)
	}
	d.answers["GET /v1/session/version"] = client.Version{Version: "1"}
	d.answers["POST /v1/torrents"] = r
	d.answers["POST /v1/torrents/"+idA+"/share"] = client.ShareResponse{Magnet: lanLink, URL: lanURL}
	return d
}

// added is the request that added a torrent.
func (d *daemon) added(t *testing.T) (req client.AddRequest) {
	t.Helper()
	_, body, ok := strings.Cut(d.asked(), "POST /v1/torrents {")
	if !ok {
		t.Fatalf("nothing was added: %s", d.asked())
	}
	body, _, _ = strings.Cut("{"+body, "\n")
	if err := json.Unmarshal([]byte(body), &req); err != nil {
		t.Fatal(err)
	}
	return req
}

// old makes files look as if nobody had touched them for an hour.
func old(t *testing.T, paths ...string) {
	t.Helper()
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, p := range paths {
		if err := os.Chtimes(p, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

func TestShare(t *testing.T) {
	top, err := filepath.EvalSymlinks(tree(t, "x/a", "x/b/c", "x/skip.tmp"))
	if err != nil {
		t.Fatal(err)
	}
	old(t, "x/a", "x/b/c")
	d := sharing(t, nil)
	if r := d.run("share", "x", "--exclude", "*.tmp"); r.code != 0 || r.out != lanLink+"\n" || r.err != "" {
		t.Fatalf("%v", r)
	}
	req := d.added(t)
	m, err := metainfo.Parse(req.Torrent)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Files) != 2 || m.Private || len(m.Trackers) != 0 || req.Dir != top || req.Scope != client.ScopeLAN || req.Stopped {
		t.Errorf("added %+v: %+v", req, m)
	}
	want, err := m.Fingerprint(func(i int) (size, modTime int64, err error) {
		fi, err := os.Stat(m.Files[i].Path)
		if err != nil {
			return 0, 0, err
		}
		return fi.Size(), fi.ModTime().UnixNano(), nil
	})
	if err != nil || req.Seen != want.String() {
		t.Errorf("seen %q, want %v (%v)", req.Seen, want, err)
	}
	if r := d.run("share", "x", "--url"); r.code != 0 || r.out != lanURL+"\n" {
		t.Errorf("%v", r)
	}
	if r := d.run("share", "x", "--json"); r.code != 0 || !strings.Contains(r.out, `"id":"`+idA+`"`) || !strings.Contains(r.out, `"magnet":"magnet:?`) {
		t.Errorf("%v", r)
	}
	env := map[string]string{"BTD_API": "unix://" + d.socket}
	if r := (world{env: env, tty: true}).run("share", "x"); r.out != lanLink+"\n" || !strings.Contains(r.err, "btctl join '"+lanLink+"'") {
		t.Errorf("on a terminal: %v", r)
	}
}

// TestShareFollowsNoLink: the daemon does not follow links, so that it is told
// of what they lead to.
func TestShareFollowsNoLink(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links need a privilege there")
	}
	top, err := filepath.EvalSymlinks(tree(t, "real/x/a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real/x", "link"); err != nil {
		t.Fatal(err)
	}
	d := sharing(t, nil)
	if r := d.run("share", "link"); r.code != 0 {
		t.Fatalf("%v", r)
	}
	if req := d.added(t); req.Dir != filepath.Join(top, "real") {
		t.Errorf("added in %s", req.Dir)
	}
}

// TestFreshFilesAreHashedAgain: what was written while or just before it was
// hashed may have been written after.
func TestFreshFilesAreHashedAgain(t *testing.T) {
	tree(t, "x/a", "x/b")
	old(t, "x/a", "x/b")
	b, err := create.Path(t.Context(), "x", create.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := metainfo.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if f := fingerprint(m, ".", time.Now()); f == "" {
		t.Error("files that nobody touches have no fingerprint")
	}
	for name, change := range map[string]func() error{
		"touched": func() error { return os.Chtimes("x/b", time.Time{}, time.Now()) },
		"grown":   func() error { return os.WriteFile("x/b", []byte("x/b and more"), 0o644) },
		"gone":    func() error { return os.Remove("x/b") },
	} {
		began := time.Now()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if f := fingerprint(m, ".", began); f != "" {
			t.Errorf("%s: fingerprint %s", name, f)
		}
		if err := os.WriteFile("x/b", []byte("x/b"), 0o644); err != nil {
			t.Fatal(err)
		}
		old(t, "x/b")
	}
}

func TestShareSaysWhatIsWrong(t *testing.T) {
	tree(t, "x/a")
	stopped := func(r *client.AddResponse) { r.Existed, r.Torrent.State = true, client.StateStopped }
	for _, tt := range []struct {
		name   string
		edit   func(*client.AddResponse)
		events []client.Event
		args   []string
		code   int
		says   string
	}{
		{"nothing there", nil, nil, []string{"nowhere"}, 1, "nowhere: no such file or directory"},
		{"no word", nil, nil, nil, 2, "arg"},
		{"public already", func(r *client.AddResponse) { r.Existed, r.Torrent.Options.Scope = true, client.ScopeInternet }, nil, []string{"x"}, 1, "offers it to the internet: remove it first (btctl rm aa111111"},
		{"elsewhere and incomplete", func(r *client.AddResponse) { r.Existed, r.Torrent.Dir, r.Torrent.HaveWanted = true, "/other", 5 }, nil, []string{"x"}, 1, "in /other, and not all of it"},
		{
			"the daemon sees other files", func(r *client.AddResponse) { r.Torrent.State, r.Torrent.HaveWanted = client.StateChecking, 0 },
			[]client.Event{progress(1, 0.2, client.StateChecking), progress(2, 0.5, client.StateDownloading)},
			[]string{"x"},
			1, "does not find",
		},
		{
			"the daemon may not read", func(r *client.AddResponse) { r.Torrent.State, r.Torrent.HaveWanted = client.StateChecking, 0 },
			[]client.Event{progress(1, 0.2, client.StateError)},
			[]string{"x"},
			1, "btd cannot share",
		},
		{
			"checked first", func(r *client.AddResponse) { r.Torrent.State, r.Torrent.HaveWanted = client.StateChecking, 0 },
			[]client.Event{progress(1, 0.2, client.StateChecking), progress(2, 1, client.StateSeeding)},
			[]string{"x"},
			0, "",
		},
		{"stopped already", stopped, nil, []string{"x"}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && tt.name == "nothing there" {
				t.Skip("other words there")
			}
			d := sharing(t, tt.edit)
			d.stream = tt.events
			list := someTorrents()[:1]
			list[0].State, list[0].HaveWanted = client.StateChecking, 0
			d.answers["GET /v1/torrents"] = client.TorrentList{Torrents: list}
			r := d.run(append([]string{"share"}, tt.args...)...)
			if r.code != tt.code || !strings.Contains(r.err, tt.says) || (r.out == "") == (tt.code == 0) {
				t.Errorf("want exit %d and %q: %v", tt.code, tt.says, r)
			}
			if started := strings.Contains(d.asked(), "/start"); started != (tt.name == "stopped already") {
				t.Errorf("asked: %s", d.asked())
			}
		})
	}
	d := sharing(t, nil)
	d.answers["POST /v1/torrents/"+idA+"/share"] = client.ShareResponse{Magnet: lanLink}
	if r := d.run("share", "x", "--url"); r.code != 1 || !strings.Contains(r.err, "for members only") || r.out != "" {
		t.Errorf("--url of one with a secret: %v", r)
	}
	if r := (world{env: map[string]string{"BTD_API": "unix:///nowhere/s"}}).run("share", "x"); r.code != 3 {
		t.Errorf("without a daemon: %v", r)
	}
}

func TestJoinMagnet(t *testing.T) {
	d := sharing(t, nil)
	if r := d.run("join", lanLink, "--path", "some/where"); r.code != 0 || r.out != idA+"\n" {
		t.Fatalf("%v", r)
	}
	if req := d.added(t); req.Magnet != lanLink || req.Scope != client.ScopeLAN || !filepath.IsAbs(req.Dir) || !strings.HasSuffix(req.Dir, "where") {
		t.Errorf("added %+v", req)
	}
}

func TestJoinFromStdin(t *testing.T) {
	d := sharing(t, nil)
	r := world{env: map[string]string{"BTD_API": "unix://" + d.socket}, stdin: lanLink + "\n"}.run("join", "-")
	if r.code != 0 || d.added(t).Magnet != lanLink {
		t.Errorf("%v: %s", r, d.asked())
	}
	r = world{env: map[string]string{"BTD_API": "unix://" + d.socket}, stdin: strings.Repeat("x", metainfo.MaxMagnet+10)}.run("join", "-")
	if r.code != 2 {
		t.Errorf("%v", r)
	}
}

// TestJoinCutOff cuts the lines at every place.
func TestJoinCutOff(t *testing.T) {
	d := newDaemon(t)
	secret := lanLink + "#" + "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA"
	if _, err := metainfo.ParseMagnet(secret); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{secret, lanURL} {
		for n := range len(line) {
			if line[:n] == lanLink {
				continue // a line by itself
			}
			if r := d.run("join", line[:n]); r.code != 2 || r.out != "" || strings.Contains(r.err, "q83vEjRW") {
				t.Errorf("%s: %v", line[:n], r)
			}
		}
	}
	if d.asked() != "" {
		t.Errorf("the daemon was asked: %s", d.asked())
	}
	for line, says := range map[string]string{
		"magnet:?xt=urn:btih:" + idA: "cut off", lanLink[:50]: "Is the line whole", lanURL[:40]: "Is the line whole", "hello": "no line of btctl share",
		"magnet:?xs=urn:btpk:" + strings.Repeat("0a", 32) + "&x.scope=lan": "names a key",
		lanURL + "#x": "no address", "http://user@10.1.2.3:1/t/" + idA + ".torrent?scope=lan": "no address",
	} {
		if r := d.run("join", line); r.code != 2 || !strings.Contains(r.err, says) {
			t.Errorf("%s: want %q: %v", line, says, r)
		}
	}
}

// TestJoinURL fetches from a server that behaves well, or does not.
func TestJoinURL(t *testing.T) {
	tree(t, "x/a")
	file, err := create.Path(t.Context(), "x", create.Options{Trackers: [][]string{{"http://tracker.example/announce"}}, WebSeeds: []string{"http://seed.example/"}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := metainfo.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := false
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { elsewhere = true; w.Write(file) }))
	defer other.Close()
	hash := m.Hash.String()
	for _, tt := range []struct {
		name  string
		serve http.HandlerFunc
		hash  string
		says  string
	}{
		{"well", func(w http.ResponseWriter, _ *http.Request) { w.Write(file) }, hash, ""},
		{"another torrent", func(w http.ResponseWriter, _ *http.Request) { w.Write(file) }, idA, "another torrent"},
		{"gone", http.NotFound, hash, "does not share this torrent"},
		{"points elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }, hash, "not followed"},
		{"broken", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 500) }, hash, "500"},
		{"no torrent", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, hash, "no .torrent file"},
		{"without end", func(w http.ResponseWriter, _ *http.Request) {
			for b := make([]byte, 1<<20); ; {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		}, hash, "it sends more than 32 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(tt.serve)
			defer s.Close()
			d := sharing(t, nil)
			r := d.run("join", s.URL+"/t/"+tt.hash+".torrent?scope=lan")
			if tt.says != "" {
				if r.code != 1 || !strings.Contains(r.err, tt.says) || d.asked() != "" {
					t.Errorf("want %q: %v", tt.says, r)
				}
				return
			}
			if r.code != 0 {
				t.Fatalf("%v", r)
			}
			got, err := metainfo.Parse(d.added(t).Torrent)
			if err != nil || got.Hash != m.Hash || len(got.WebSeeds) != 0 || len(got.Trackers) != 1 || got.Trackers[0][0] != s.URL+"/announce" {
				t.Errorf("added %+v, %v", got, err)
			}
		})
	}
	if elsewhere {
		t.Error("a redirection was followed")
	}
	d := newDaemon(t)
	out, err := net.Dial("tcp", other.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() // nobody listens at the port of a connection that goes out, nor can
	if r := d.run("join", "http://"+out.LocalAddr().String()+"/t/"+hash+".torrent?scope=lan"); r.code != 1 || !strings.Contains(r.err, "asking 127.0.0.1:") || !strings.Contains(r.err, "Is the machine up") {
		t.Errorf("nobody there: %v", r)
	}
	if r := d.run("join", "http://8.8.8.8:6969/t/"+hash+".torrent?scope=lan"); r.code != 1 || !strings.Contains(r.err, "not in a private network") || strings.Contains(r.err, "up,") {
		t.Errorf("an address on the internet: %v", r)
	}
}

// TestJoinAlone waits for peers that do not come.
func TestJoinAlone(t *testing.T) {
	for _, tt := range []struct {
		name     string
		trackers []client.Tracker
		says     []string
	}{
		{
			"down",
			[]client.Tracker{{URL: "http://10.1.2.3:6969/announce", Status: "failed", Error: "connection refused"}},
			[]string{"no peer found after 50ms: is 10.1.2.3 up", "10.1.2.3: connection refused"},
		},
		{
			"not known there",
			[]client.Tracker{{URL: "http://10.1.2.3:6969/announce", Status: "failed", Error: "this torrent is not registered here"}},
			[]string{"10.1.2.3 does not know this torrent", "behind the #"},
		},
		{
			"nobody answers",
			[]client.Tracker{{URL: "http://10.1.2.3:6969/announce", Status: "working", Peers: 3}},
			[]string{"those that 10.1.2.3 knows of do not answer", "6881"},
		},
		{"no tracker", nil, []string{"is a machine that has it up"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := alone(t)
			d.answers["GET /v1/torrents/"+idA+"/trackers"] = client.TrackerList{Trackers: tt.trackers}
			r := world{env: map[string]string{"BTD_API": "unix://" + d.socket}, lonely: 50 * time.Millisecond}.run("join", lanLink, "--wait")
			if r.code != 1 {
				t.Errorf("%v", r)
			}
			for _, w := range tt.says {
				if !strings.Contains(r.err, w) {
					t.Errorf("does not say %q: %v", w, r)
				}
			}
		})
	}
}

// TestJoinWaitsOn: whoever has met a peer is not alone, however long the rest
// takes.
func TestJoinWaitsOn(t *testing.T) {
	d := alone(t)
	var words lockedBuffer
	late := make(chan func(), 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.then <- progress(1, 0, client.StateDownloading) // with 12 peers
		d.then <- progress(2, 0.5, client.StateDownloading)
		for end := time.Now().Add(time.Minute); !strings.Contains(words.String(), " 50.0%") && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond) // until the one before was looked at
		}
		(<-late)()
		d.then <- progress(3, 1, client.StateSeeding)
	}()
	w := world{env: map[string]string{"BTD_API": "unix://" + d.socket}, words: &words, after: func(_ time.Duration, f func()) *time.Timer {
		late <- f
		return time.AfterFunc(time.Hour, func() {})
	}}
	if r := w.run("join", lanLink, "--wait"); r.code != 0 {
		t.Fatalf("with a peer: %v", r)
	}
	<-done
}

// alone is a daemon that knows no peer of what it joins.
func alone(t *testing.T) *daemon {
	d := sharing(t, func(r *client.AddResponse) { r.Torrent.State, r.Torrent.HaveWanted = client.StateDownloading, 0 })
	list := someTorrents()[:1]
	list[0].Peers, list[0].HaveWanted = 0, 0
	d.answers["GET /v1/torrents"] = client.TorrentList{Torrents: list}
	return d
}

func TestShareSecret(t *testing.T) {
	tree(t, "x/a")
	b, err := create.Path(t.Context(), "x", create.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := metainfo.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	id := m.Hash.String()
	d := sharing(t, nil)
	for range 2 {
		if r := d.run("share", "x", "--secret"); r.code != 0 {
			t.Fatalf("%v", r)
		}
	}
	secrets := map[string]bool{}
	for line := range strings.Lines(d.asked()) {
		if _, body, ok := strings.Cut(line, "POST /v1/torrents "); ok {
			var req client.AddRequest
			if err := json.Unmarshal([]byte(body), &req); err != nil {
				t.Fatal(err)
			}
			if _, err := metainfo.ParseSecret(req.Secret); err != nil {
				t.Error(err)
			}
			secrets[req.Secret] = true
		}
	}
	if len(secrets) != 2 {
		t.Errorf("two swarms have %d secrets", len(secrets))
	}
	if r := d.run("share", "x", "--secret", "--url"); r.code != 2 {
		t.Errorf("%v", r)
	}

	// One that is there keeps what it has.
	there := client.Torrent{ID: id, Name: "x", State: client.StateSeeding, Wanted: 3, HaveWanted: 3, Options: client.Options{Scope: client.ScopeLAN}}
	for _, has := range []bool{false, true} {
		d := sharing(t, nil)
		there.Options.Secret = has
		d.answers["GET /v1/torrents/"+id] = there
		d.answers["POST /v1/torrents/"+id+"/share"] = client.ShareResponse{Magnet: lanLink}
		if r := d.run("share", "x"); r.code != 0 || r.out != lanLink+"\n" {
			t.Errorf("secret %v: %v", has, r)
		}
		r := d.run("share", "x", "--secret")
		if has != (r.code == 0) || !has && !strings.Contains(r.err, "without a secret: remove it first") {
			t.Errorf("secret %v: %v", has, r)
		}
		if strings.Contains(d.asked(), "POST /v1/torrents {") {
			t.Errorf("secret %v: it was added again", has)
		}
	}
}
