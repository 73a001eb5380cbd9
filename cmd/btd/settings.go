package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"btd/api/client"
	"btd/dht"
	"btd/session"
	"btd/storage"

	"github.com/dustin/go-humanize"
	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"
)

// settings are the daemon's, as the configuration file names them.
type settings struct {
	discovery
	Config    string `toml:"-"`
	State     string `toml:"state"`
	Dir       string `toml:"dir"`
	Listen    string `toml:"listen"`
	APISocket string `toml:"api-socket"`
	APITCP    string `toml:"api-tcp"`
	LogLevel  string `toml:"log-level"`
	LogFormat string `toml:"log-format"`

	LimitUp   byteRate `toml:"limit-up"`
	LimitDown byteRate `toml:"limit-down"`
	LimitLAN  bool     `toml:"limit-lan"`
	Ratio     float64  `toml:"ratio"`
	SeedTime  duration `toml:"seed-time"`

	MaxPeers           int      `toml:"max-peers"`
	MaxPeersPerTorrent int      `toml:"max-peers-per-torrent"`
	UploadSlots        int      `toml:"upload-slots"`
	SuperSeeding       string   `toml:"super-seeding"`
	ActiveDownloads    int      `toml:"active-downloads"`
	ActiveSeeds        int      `toml:"active-seeds"`
	TrackerEnabled     bool     `toml:"tracker-enabled"`
	TrackerListen      string   `toml:"tracker-listen"`
	TrackerOpen        bool     `toml:"tracker-open"`
	Prealloc           bool     `toml:"preallocate"`
	Memory             byteSize `toml:"memory"`
	OpenFiles          int      `toml:"open-files"`
	SyncEvery          duration `toml:"sync-every"`
}

// discovery is how peers are found beside trackers.
type discovery struct {
	PEX          bool  `toml:"pex"`
	LSD          bool  `toml:"lsd"`
	DHT          bool  `toml:"dht"`
	DHTBootstrap hosts `toml:"dht-bootstrap"`
	DHTReadOnly  bool  `toml:"dht-read-only"`
}

// session maps the settings onto a session's.
func (d *discovery) session(cfg *session.Config) {
	cfg.NoPEX, cfg.LSD.On = !d.PEX, d.LSD
	cfg.DHT = session.DHTConfig{
		On: d.DHT, Bootstrap: d.DHTBootstrap, ReadOnly: d.DHTReadOnly,
		Isolated: len(d.DHTBootstrap) > 0 && !slices.Equal(d.DHTBootstrap, dht.DefaultBootstrap()),
	}
}

func defaults() *settings {
	s := &settings{
		State: client.StateDir(), APISocket: client.DefaultSocket(),
		Listen: ":6881", LogLevel: "info", LogFormat: "text",
		MaxPeers: 500, MaxPeersPerTorrent: 80, UploadSlots: 4, ActiveDownloads: 8,
		SuperSeeding: string(session.SuperAuto), LimitLAN: true,
		discovery:     discovery{PEX: true, LSD: true, DHT: true, DHTBootstrap: dht.DefaultBootstrap()},
		TrackerListen: ":6969",
		Memory:        32 << 20, OpenFiles: 256, SyncEvery: duration(10 * time.Second),
	}
	if home, err := os.UserHomeDir(); err == nil {
		s.Dir = filepath.Join(home, "Downloads")
	}
	return s
}

// register makes a flag of every setting.
func (s *settings) register(f *pflag.FlagSet) {
	f.StringVar(&s.Config, "config", "", "read settings from this TOML `file`")
	f.StringVar(&s.State, "state", s.State, "`directory` of the resume database, the lock and the API token")
	f.StringVar(&s.Dir, "dir", s.Dir, "download `directory`")
	f.StringVar(&s.Listen, "listen", s.Listen, "`address` for peers, host:port; port 0 takes any free one")
	f.StringVar(&s.APISocket, "api-socket", s.APISocket, "unix socket `path` of the API; empty turns it off")
	f.StringVar(&s.APITCP, "api-tcp", s.APITCP, "loopback `address` of the API as well, e.g. 127.0.0.1:6880 (with a token)")
	f.StringVar(&s.LogLevel, "log-level", s.LogLevel, "debug, info, warn or error")
	f.StringVar(&s.LogFormat, "log-format", s.LogFormat, "text or json")
	f.Var(&s.LimitUp, "limit-up", "upload `rate` of all torrents, e.g. 5MiB (a second); 0 is unlimited")
	f.Var(&s.LimitDown, "limit-down", "download `rate` of all torrents; 0 is unlimited")
	f.BoolVar(&s.LimitLAN, "limit-lan", s.LimitLAN, "the limits hold for peers in the local network as well; they never do for torrents of scope lan")
	f.Float64Var(&s.Ratio, "ratio", s.Ratio, "stop seeding at this ratio of uploaded to size; 0 is never")
	f.Var(&s.SeedTime, "seed-time", "stop seeding after this `time`, e.g. 72h; 0 is never")
	f.IntVar(&s.MaxPeers, "max-peers", s.MaxPeers, "connections in all")
	f.IntVar(&s.MaxPeersPerTorrent, "max-peers-per-torrent", s.MaxPeersPerTorrent, "connections of one torrent")
	f.IntVar(&s.UploadSlots, "upload-slots", s.UploadSlots, "peers of a torrent that are served at a time, beside one optimistic")
	f.StringVar(&s.SuperSeeding, "super-seeding", s.SuperSeeding, "show what btd is the only seed of piece by piece: auto, on or off")
	f.IntVar(&s.ActiveDownloads, "active-downloads", s.ActiveDownloads, "torrents downloading at a time; -1 is unlimited")
	f.IntVar(&s.ActiveSeeds, "active-seeds", s.ActiveSeeds, "torrents uploading at a time; 0 is unlimited")
	f.BoolVar(&s.PEX, "pex", s.PEX, "tell peers of each other and take what they tell; private torrents never do")
	f.BoolVar(&s.LSD, "lsd", s.LSD, "find peers in the local network by multicast, which tells it what you have; private torrents never do")
	f.BoolVar(&s.DHT, "dht", s.DHT, "find peers without trackers, over UDP at the port of --listen; private torrents never do")
	f.Var(&s.DHTBootstrap, "dht-bootstrap", "`hosts` of the DHT to begin with, host:port, ...; hosts of your own make a network of your own, empty is none")
	f.BoolVar(&s.DHTReadOnly, "dht-read-only", s.DHTReadOnly, "ask the DHT but do not serve it, for instance where traffic costs")
	f.BoolVar(&s.TrackerEnabled, "tracker-enabled", s.TrackerEnabled, "be a tracker for others from the start; btctl can switch it on later")
	f.StringVar(&s.TrackerListen, "tracker-listen", s.TrackerListen, "`address` of that tracker, host:port of HTTP and of UDP")
	f.BoolVar(&s.TrackerOpen, "tracker-open", s.TrackerOpen, "have it track every torrent, not only those that are registered")
	f.BoolVar(&s.Prealloc, "preallocate", s.Prealloc, "reserve disk space before downloading")
	f.Var(&s.Memory, "memory", "`bytes` for blocks on their way to disk")
	f.Var(&s.SyncEvery, "sync-every", "`time` after which finished pieces are synced to disk and recorded")
	f.IntVar(&s.OpenFiles, "open-files", s.OpenFiles, "files kept open at a time")
}

// load completes the settings: flags were parsed into s already; what they
// do not say comes from the environment, then from the file.
func (s *settings) load(f *pflag.FlagSet, env func(string) (string, bool)) error {
	given := map[string]string{}
	f.Visit(func(fl *pflag.Flag) { given[fl.Name] = fl.Value.String() })
	if v, ok := env("BTD_CONFIG"); ok && given["config"] == "" {
		s.Config = v
	}
	if err := s.readFile(s.Config); err != nil {
		return err
	}
	var bad []error
	f.VisitAll(func(fl *pflag.Flag) {
		name := "BTD_" + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
		v, ok := given[fl.Name]
		if !ok {
			if v, ok = env(name); !ok || fl.Name == "config" || fl.Name == "help" || fl.Name == "version" {
				return
			}
		}
		if err := fl.Value.Set(v); err != nil {
			bad = append(bad, fmt.Errorf("%s or --%s: %w", name, fl.Name, err))
		}
	})
	if err := errors.Join(bad...); err != nil {
		return err
	}
	return s.check()
}

func (s *settings) readFile(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading settings: %w", err)
	}
	defer f.Close()
	err = toml.NewDecoder(f).DisallowUnknownFields().Decode(s)
	var unknown *toml.StrictMissingError
	var broken *toml.DecodeError
	switch {
	case errors.As(err, &unknown):
		row, _ := unknown.Errors[0].Position()
		return fmt.Errorf("%s, line %d: there is no setting %q (see btd --help)", path, row, strings.Join(unknown.Errors[0].Key(), "."))
	case errors.As(err, &broken):
		row, _ := broken.Position()
		return fmt.Errorf("%s, line %d: %s", path, row, strings.TrimPrefix(broken.Error(), "toml: "))
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// check finds what no part of the daemon could work with.
func (s *settings) check() error {
	var err error
	for _, p := range []struct {
		name string
		path *string
	}{{"state", &s.State}, {"dir", &s.Dir}} {
		if *p.path == "" {
			return fmt.Errorf("--%s: say where; there is no home directory to put it in", p.name)
		}
		if *p.path, err = filepath.Abs(*p.path); err != nil {
			return fmt.Errorf("--%s: %w", p.name, err)
		}
	}
	switch {
	case s.APISocket == "" && s.APITCP == "":
		return errors.New("both --api-socket and --api-tcp are off: the daemon could not be controlled")
	case s.Ratio < 0 || s.SeedTime < 0 || s.LimitUp < 0 || s.LimitDown < 0:
		return errors.New("limits, ratio and seed-time cannot be negative")
	case s.ActiveDownloads == 0:
		return errors.New("active-downloads is 0: nothing would ever be downloaded; -1 means no limit")
	case s.MaxPeers < 1 || s.MaxPeersPerTorrent < 1 || s.UploadSlots < 1:
		return errors.New("max-peers, max-peers-per-torrent and upload-slots must be at least 1")
	case !session.SuperSeeding(s.SuperSeeding).Valid():
		return fmt.Errorf("super-seeding is %q; want auto, on or off", s.SuperSeeding)
	case s.Memory < 1<<20 || s.OpenFiles < 8:
		return errors.New("memory must be at least 1MiB and open-files at least 8")
	case s.DHTBootstrap.check() != nil:
		return fmt.Errorf("dht-bootstrap: %w", s.DHTBootstrap.check())
	case !isAddress(s.TrackerListen):
		return fmt.Errorf("tracker-listen is %q; want host:port or :port", s.TrackerListen)
	case s.SyncEvery <= 0:
		return errors.New("sync-every must be more than 0")
	}
	return nil
}

// isAddress tells what can be listened on: host:port, where the host may
// be left out.
func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	_, perr := strconv.ParseUint(port, 10, 16)
	return err == nil && perr == nil
}

// session maps all settings onto a session's.
func (s *settings) session(log *slog.Logger) session.Config {
	cfg := session.Config{
		StateDir: s.State, Dir: s.Dir, Listen: s.Listen, Version: version,
		MaxPeers: s.MaxPeers, MaxPeersPerTorrent: s.MaxPeersPerTorrent,
		UploadSlotsPerTorrent: s.UploadSlots,
		SuperSeeding:          session.SuperSeeding(s.SuperSeeding),
		ActiveDownloads:       s.ActiveDownloads, ActiveSeeds: s.ActiveSeeds,
		Limits:     session.Limits{Up: int64(s.LimitUp), Down: int64(s.LimitDown)},
		FreeLocal:  !s.LimitLAN,
		RatioLimit: s.Ratio, SeedTime: time.Duration(s.SeedTime),
		Prealloc: s.Prealloc, SyncEvery: time.Duration(s.SyncEvery),
		Storage: storage.Config{Memory: int64(s.Memory), MaxOpenFiles: s.OpenFiles, Log: log},
		Log:     log,
	}
	s.discovery.session(&cfg)
	return cfg
}

// byteSize is a number of bytes that people write as 32MiB.
type byteSize int64

func (b *byteSize) Set(v string) error {
	n, err := humanize.ParseBytes(v)
	if err != nil || n > 1<<60 {
		return fmt.Errorf("%q is not a size such as 32MiB", v)
	}
	*b = byteSize(n)
	return nil
}

func (b *byteSize) UnmarshalText(t []byte) error { return b.Set(string(t)) }
func (b *byteSize) Type() string                 { return "size" }
func (b *byteSize) String() string               { return fmt.Sprint(int64(*b)) }

// byteRate is a number of bytes a second, written as 5MiB or 5MiB/s.
type byteRate int64

func (r *byteRate) Set(v string) error {
	n, err := humanize.ParseBytes(strings.TrimSuffix(v, "/s"))
	if err != nil || n > 1<<60 {
		return fmt.Errorf("%q is not a rate such as 5MiB", v)
	}
	*r = byteRate(n)
	return nil
}

func (r *byteRate) UnmarshalText(t []byte) error { return r.Set(string(t)) }
func (r *byteRate) Type() string                 { return "rate" }
func (r *byteRate) String() string               { return fmt.Sprint(int64(*r)) }

// hosts is a list of host:port, separated by commas or blanks.
type hosts []string

func (h *hosts) Set(v string) error {
	list := hosts(strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' }))
	if err := list.check(); err != nil {
		return err
	}
	*h = list
	return nil
}

func (h hosts) check() error {
	for _, one := range h {
		host, port, err := net.SplitHostPort(one)
		if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 || host == "" {
			return fmt.Errorf("%q is not like host:port", one)
		}
	}
	return nil
}

func (h *hosts) Type() string   { return "hosts" }
func (h *hosts) String() string { return strings.Join(*h, ",") }

// duration is a time span, written as 72h or 90m.
type duration time.Duration

func (d *duration) Set(v string) error {
	n, err := time.ParseDuration(v)
	if err != nil {
		return fmt.Errorf("%q is not a time span such as 72h", v)
	}
	*d = duration(n)
	return nil
}

func (d *duration) UnmarshalText(t []byte) error { return d.Set(string(t)) }
func (d *duration) Type() string                 { return "duration" }
func (d *duration) String() string               { return time.Duration(*d).String() }
