package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"btd/dht"

	"github.com/spf13/pflag"
)

// loaded is the settings that come of flags, environment and file.
func loaded(t *testing.T, file string, env map[string]string, args ...string) (*settings, error) {
	t.Helper()
	s := defaults()
	s.State, s.Dir, s.APISocket = "/s", "/d", "/s/sock"
	f := pflag.NewFlagSet("btd", pflag.ContinueOnError)
	s.register(f)
	if file != "" {
		path := filepath.Join(t.TempDir(), "btd.toml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	err := s.load(f, func(k string) (string, bool) { v, ok := env[k]; return v, ok })
	return s, err
}

func TestFlagsWinOverEnvironmentOverFile(t *testing.T) {
	file := "limit-up = \"1MiB\"\nlimit-down = \"2MiB\"\nratio = 3.5\nseed-time = \"2h\"\npreallocate = true\nsync-every = \"2s\"\npex = false\nlsd = false\nlimit-lan = false\n"
	env := map[string]string{"BTD_LIMIT_UP": "4MiB", "BTD_LIMIT_DOWN": "5MiB/s", "BTD_MAX_PEERS": "77"}
	s, err := loaded(t, file, env, "--limit-down", "6MiB", "--listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if s.LimitUp != 4<<20 || s.LimitDown != 6<<20 {
		t.Errorf("limits %d up, %d down; want 4 MiB of the environment, 6 MiB of the flag", s.LimitUp, s.LimitDown)
	}
	if s.Ratio != 3.5 || time.Duration(s.SeedTime) != 2*time.Hour || !s.Prealloc || s.PEX || s.LSD {
		t.Errorf("ratio %v, seed time %v, preallocate %v, pex %v, lsd %v; want those of the file", s.Ratio, s.SeedTime, s.Prealloc, s.PEX, s.LSD)
	}
	if got := s.session(nil).SyncEvery; got != 2*time.Second {
		t.Errorf("sync every %v, want the 2 s of the file", got)
	}
	if got := s.session(nil); !got.NoPEX || got.LSD.On || !got.FreeLocal || !got.DHT.On || got.DHT.Isolated {
		t.Errorf("session without PEX %v, LSD %v, local peers free %v, DHT %+v", got.NoPEX, got.LSD.On, got.FreeLocal, got.DHT)
	}
	if s.MaxPeers != 77 || s.Listen != "127.0.0.1:0" || s.UploadSlots != 4 {
		t.Errorf("max peers %d, listen %s, slots %d; want 77, 127.0.0.1:0, 4", s.MaxPeers, s.Listen, s.UploadSlots)
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	for _, x := range []struct {
		name, file string
		env        map[string]string
		args       []string
		want       []string
	}{
		{"unknown key", "dir = \"/x\"\n\nspeed = 9\n", nil, nil, []string{"line 3", `"speed"`}},
		{"broken file", "dir = \n", nil, nil, []string{"line 1"}},
		{"wrong type", "max-peers = \"many\"\n", nil, nil, []string{"line 1"}},
		{"bad rate in file", "limit-up = \"fast\"\n", nil, nil, []string{"line 1", "fast"}},
		{"environment", "", map[string]string{"BTD_RATIO": "x"}, nil, []string{"BTD_RATIO"}},
		{"negative", "", nil, []string{"--ratio", "-1"}, []string{"negative"}},
		{"bootstrap in the file", "dht-bootstrap = [\"a:1\", \"nohost\"]\n", nil, nil, []string{"dht-bootstrap", "nohost"}},
		{"bootstrap of the environment", "", map[string]string{"BTD_DHT_BOOTSTRAP": "a:0"}, nil, []string{"BTD_DHT_BOOTSTRAP", "a:0"}},
		{"super-seeding", "super-seeding = \"maybe\"\n", nil, nil, []string{"super-seeding", "maybe", "auto"}},
		{"tracker", "", nil, []string{"--tracker-listen", "6969"}, []string{"tracker-listen", "6969", "host:port"}},
		{"no API", "", nil, []string{"--api-socket", ""}, []string{"api-socket", "api-tcp"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			_, err := loaded(t, x.file, x.env, x.args...)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range x.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not mention %s", err, w)
				}
			}
		})
	}
}

func TestFileOfTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "btd.toml")
	if err := os.WriteFile(path, []byte("ratio = 2"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := loaded(t, "", map[string]string{"BTD_CONFIG": path})
	if err != nil || s.Ratio != 2 {
		t.Errorf("ratio %v, %v; want 2 from the file that BTD_CONFIG names", s.Ratio, err)
	}
}

func TestBootstrapHosts(t *testing.T) {
	for _, x := range []struct {
		name, file string
		env        map[string]string
		args       []string
		want       int
		isolated   bool
	}{
		{"default", "", nil, nil, len(dht.DefaultBootstrap()), false},
		{"file", "dht-bootstrap = [\"a:1\", \"b:2\"]\n", nil, nil, 2, true},
		{"none in the file", "dht-bootstrap = []\n", nil, nil, 0, false},
		{"none in the environment", "", map[string]string{"BTD_DHT_BOOTSTRAP": ""}, nil, 0, false},
		{"flags over the file", "dht-bootstrap = [\"a:1\", \"b:2\"]\n", nil, []string{"--dht-bootstrap", "c:3,d:4, [::1]:5"}, 3, true},
	} {
		s, err := loaded(t, x.file, x.env, x.args...)
		if err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
		if got := s.session(nil).DHT; len(got.Bootstrap) != x.want || got.Isolated != x.isolated || !got.On {
			t.Errorf("%s: %+v", x.name, got)
		}
	}
}
