package client

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestMatch(t *testing.T) {
	a, b := strings.Repeat("a", 39)+"1", strings.Repeat("a", 39)+"2"
	list := []Torrent{
		{ID: a, Name: "Debian 12"},
		{ID: b, Name: "debian 12 extras"},
		{ID: strings.Repeat("c", 40), Name: "Café"},
		{ID: strings.Repeat("d", 40), Name: "cccp"}, // fits like the beginning of another's id
		{ID: strings.Repeat("e", 40), Name: "twin"},
		{ID: strings.Repeat("f", 40), Name: "twin"},
	}
	for target, want := range map[string]int{
		a: 0, strings.ToUpper(b): 1, "Debian 12": 0, "EXTRAS": 1, "café": 2, "cccp": 3, "cccc": 2, "dddddddd": 3,
	} {
		got, err := Match(list, target)
		if err != nil || got.ID != list[want].ID {
			t.Errorf("%q = %s, %v, want %s", target, got.Name, err, list[want].Name)
		}
	}
	for target, want := range map[string]int{"aaa": 2, "debian": 2, "ccc": 2, "twin": 2} {
		_, err := Match(list, target)
		var many *AmbiguousError
		if !errors.As(err, &many) || len(many.Candidates) != want || !strings.Contains(err.Error(), many.Candidates[0].ID) {
			t.Errorf("%q: %v, want %d candidates", target, err, want)
		}
	}
	for _, target := range []string{"", "ubuntu", strings.Repeat("9", 40)} {
		if _, err := Match(list, target); !HasCode(err, CodeNotFound) {
			t.Errorf("%q: %v, want not found", target, err)
		}
	}
}

func TestAmbiguousErrorIsBounded(t *testing.T) {
	err := &AmbiguousError{Target: "x", Candidates: make([]Torrent, 1000)}
	if text := err.Error(); strings.Count(text, "\n") > 12 || !strings.HasSuffix(text, "and 990 more") {
		t.Errorf("got %s", text)
	}
}

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]string{
		"unix:///run/btd/btd.sock": "unix /run/btd/btd.sock", "unix:/run/s": "unix /run/s", "/run/s": "unix /run/s", "./s": "unix ./s",
		"http://127.0.0.1:9091": "tcp 127.0.0.1:9091", "http://[::1]:9091/": "tcp [::1]:9091", "http://localhost": "tcp localhost:80",
	} {
		network, address, err := ParseAddress(in)
		if got := network + " " + address; err != nil || got != want {
			t.Errorf("%q = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "unix://", "https://x", "ftp://x", "http://", "http://x/path", "http://user@x", "http://x?q", "http://x:y"} {
		if network, address, err := ParseAddress(in); err == nil {
			t.Errorf("%q = %s %s, want an error", in, network, address)
		}
	}
}

func TestDefaultPaths(t *testing.T) {
	for _, tt := range []struct {
		name, goos, socket, state string
		env                       map[string]string
	}{
		{"a person", "linux", "/run/user/1/btd/btd.sock", "/home/x/.local/state/btd", map[string]string{"XDG_RUNTIME_DIR": "/run/user/1", "HOME": "/home/x"}},
		{"no runtime directory", "linux", "/home/x/.local/state/btd/btd.sock", "/home/x/.local/state/btd", map[string]string{"HOME": "/home/x"}},
		{"state elsewhere", "linux", "/s/btd/btd.sock", "/s/btd", map[string]string{"HOME": "/home/x", "XDG_STATE_HOME": "/s"}},
		{"relative state", "linux", "/home/x/.local/state/btd/btd.sock", "/home/x/.local/state/btd", map[string]string{"HOME": "/home/x", "XDG_STATE_HOME": "s"}},
		{"systemd", "linux", "/run/btd/btd.sock", "/var/lib/btd", map[string]string{"RUNTIME_DIRECTORY": "/run/btd:/run/more", "STATE_DIRECTORY": "/var/lib/btd", "HOME": "/root"}},
		{"mac", "darwin", "/Users/x/Library/Application Support/btd/btd.sock", "/Users/x/Library/Application Support/btd", map[string]string{"HOME": "/Users/x"}},
		{"nowhere", "linux", "", "", nil},
		{"windows", "windows", "/C/Local/btd/btd.sock", "/C/Local/btd", map[string]string{"LocalAppData": "/C/Local"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := func(k string) string { return tt.env[k] }
			if got := filepath.ToSlash(defaultSocket(tt.goos, env)); got != tt.socket {
				t.Errorf("socket %s, want %s", got, tt.socket)
			}
			if got := filepath.ToSlash(stateDir(tt.goos, env)); got != tt.state {
				t.Errorf("state %s, want %s", got, tt.state)
			}
		})
	}
}

func TestReadEvent(t *testing.T) {
	in := "retry: 1000\n\n: heartbeat\n\nid: 1\nevent: x\ndata: one\n\ndata: two\r\ndata:lines\r\n\r\ndata: cut"
	r := bufio.NewReaderSize(strings.NewReader(in), 16)
	for i, want := range []string{"", "", "one", "two\nlines"} {
		if got, err := readEvent(r); err != nil || got != want {
			t.Errorf("event %d = %q, %v, want %q", i, got, err, want)
		}
	}
	if got, err := readEvent(r); err == nil {
		t.Errorf("an event without its end = %q", got)
	}
	endless := bufio.NewReader(strings.NewReader(strings.Repeat("data: x\n", maxEvent)))
	if _, err := readEvent(endless); err == nil {
		t.Error("an event without end was read")
	}
	long := bufio.NewReader(strings.NewReader(strings.Repeat("x", 2*maxEvent)))
	if _, err := readEvent(long); err == nil {
		t.Error("a line without end was read")
	}
}

// TestEventsOfASilentDaemon runs in virtual time over a pipe.
func TestEventsOfASilentDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{Address: "/unused"})
		if err != nil {
			t.Fatal(err)
		}
		var daemons []net.Conn
		c.http.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			daemons = append(daemons, theirs)
			go func() {
				if _, err := http.ReadRequest(bufio.NewReader(theirs)); err != nil {
					return
				}
				_, _ = io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n: hello\n\n")
				_, _ = io.Copy(io.Discard, theirs)
			}()
			return ours, nil
		}}
		began := time.Now()
		for e, err := range c.Events(t.Context(), 7) {
			if took := time.Since(began); !errors.Is(err, errQuiet) || took < quietLimit || took > 2*quietLimit {
				t.Errorf("after %v: %+v, %v", took, e, err)
			}
			break
		}
		for _, d := range daemons {
			d.Close()
		}
		c.Close()
	})
}

func FuzzReadEvent(f *testing.F) {
	for _, s := range []string{"data: {}\n\n", ": x\n\n", "id: 1\r\ndata: a\r\ndata: b\r\n\r\n", "\n\n\n", "data"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReaderSize(strings.NewReader(string(in)), 16)
		for range len(in) + 1 {
			data, err := readEvent(r)
			if err != nil {
				return
			}
			if len(data) > len(in) {
				t.Fatalf("%d bytes of data from %d", len(data), len(in))
			}
		}
		t.Fatal("more events than bytes")
	})
}
