package api

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func socketConfig(path string) Config { return Config{Engine: newFake(0), Socket: path} }

func TestSocketIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	path := filepath.Join(t.TempDir(), "made", "s")
	s := New(socketConfig(path))
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	defer s.listen[0].close()
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		st, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if got := st.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", p, got, want)
		}
	}
}

func TestSocketGoesWithTheServer(t *testing.T) {
	p := serve(t, newFake(0), nil)
	p.stop()
	if _, err := os.Lstat(p.socket); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestSocketOfAnotherIsLeftAtTheEnd(t *testing.T) {
	p := serve(t, newFake(0), nil)
	if err := os.Remove(p.socket); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p.stop()
	if _, err := os.Lstat(p.socket); err != nil {
		t.Errorf("the other's socket: %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close() // the file stays, as after kill -9
	s := New(socketConfig(path))
	if err := s.Listen(); err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	s.listen[0].close()
}

func TestLiveSocketIsRefused(t *testing.T) {
	p := serve(t, newFake(1), nil)
	err := New(socketConfig(p.socket)).Serve(context.Background())
	if err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("second server: %v", err)
	}
	if code, _ := p.do(t, "GET", "/v1/torrents", "", ""); code != 200 {
		t.Errorf("the first server answers %d", code)
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(dir, "token")
	for name, tt := range map[string]struct {
		cfg  Config
		says string
	}{
		"nothing":         {Config{}, "no address"},
		"file in the way": {Config{Socket: file}, "not a socket"},
		"long path":       {Config{Socket: filepath.Join(dir, strings.Repeat("x", 120))}, "at most 10"},
		"every address":   {Config{TCP: ":0", TokenFile: token}, "not a loopback"},
		"public address":  {Config{TCP: "192.0.2.1:0", TokenFile: token}, "not a loopback"},
		"unspecified":     {Config{TCP: "[::]:0", TokenFile: token}, "not a loopback"},
		"no port":         {Config{TCP: "127.0.0.1", TokenFile: token}, "want host:port"},
		"port by name":    {Config{TCP: "127.0.0.1:http", TokenFile: token}, "not a number"},
		"no token file":   {Config{TCP: "127.0.0.1:0"}, "token"},
	} {
		t.Run(name, func(t *testing.T) {
			err := New(tt.cfg).Serve(context.Background())
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file in the way: %q, %v", b, err)
	}
}

func TestOneBadAddressClosesTheOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := New(Config{Engine: newFake(0), Socket: path, TCP: "192.0.2.1:1", TokenFile: path + "t"})
	if err := s.Listen(); err == nil {
		t.Fatal("listening on a public address")
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestToken(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state", "token")
	first, made, err := loadToken(path)
	if err != nil || !made || len(first) != 2*tokenBytes {
		t.Fatalf("first start: %q, %t, %v", first, made, err)
	}
	again, made, err := loadToken(path)
	if err != nil || made || again != first {
		t.Errorf("second start: %q, %t, %v, want %q", again, made, err, first)
	}
	if st, err := os.Stat(path); err != nil || (runtime.GOOS != "windows" && st.Mode().Perm() != 0o600) {
		t.Errorf("the file: %v, %v", st.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("files beside the token: %v, %v", left, err)
	}
	other, _, err := loadToken(filepath.Join(dir, "other"))
	if err != nil || other == first {
		t.Errorf("two tokens are the same: %v", err)
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		content string
		mode    os.FileMode
		says    string
	}{
		"readable by others": {strings.Repeat("a", 64), 0o644, "others may read"},
		"empty":              {"", 0o600, "at least 20"},
		"short":              {"secret", 0o600, "at least 20"},
		"two words":          {strings.Repeat("a", 30) + " " + strings.Repeat("b", 30), 0o600, "printable"},
		"huge":               {strings.Repeat("a", tokenMax+1), 0o600, "not a file with a token"},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" && tt.mode != 0o600 {
				t.Skip("no modes")
			}
			path := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			if _, _, err := loadToken(path); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

func TestServeReportsAListenerThatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := New(socketConfig(path))
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	s.listen[0].Listener.Close()
	if err := s.Serve(context.Background()); err == nil || !strings.Contains(err.Error(), "serve on "+path) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}
