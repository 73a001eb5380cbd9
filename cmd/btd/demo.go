package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"btd/dht"
	"btd/metainfo"
	"btd/metainfo/create"
	"btd/session"
	"btd/tracker/server"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

const (
	demoDownloaders = 3
	demoTimeout     = 3 * time.Minute
	demoMinShare    = 0.20 // of a downloader's bytes must come from the other downloaders
)

func newDemo() *cobra.Command {
	size, seedRate := byteSize(96<<20), byteRate(32<<20)
	var keep, trackerless bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a whole swarm on this machine and check every byte",
		Long: `demo makes content, a torrent and a tracker, starts one seeding and three
downloading sessions in separate directories on loopback, and checks every
byte that arrives. It uses no network but loopback and leaves nothing behind.

The seed's upload is limited, so that the downloaders have to trade with each
other to finish soon: each must get at least a fifth of its bytes from the others.

With --trackerless there is no tracker: they find each other over a private DHT.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &demo{size: int64(size), seedRate: int64(seedRate), keep: keep, trackerless: trackerless, out: cmd.OutOrStdout(), screen: cmd.ErrOrStderr()}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), demoTimeout,
				fmt.Errorf("the demo was not through after %s", demoTimeout))
			defer cancel()
			return d.run(ctx)
		},
	}
	cmd.Flags().Var(&size, "size", "`bytes` of content")
	cmd.Flags().Var(&seedRate, "seed-rate", "upload `rate` of the seed; 0 is unlimited")
	cmd.Flags().BoolVar(&trackerless, "trackerless", false, "find peers over a private DHT instead of a tracker")
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the directories afterwards and say where they are")
	return cmd
}

// demo is one run of the demonstration.
type demo struct {
	size, seedRate int64
	keep           bool
	trackerless    bool
	out, screen    io.Writer

	root    string
	file    []byte // the .torrent
	meta    *metainfo.Metainfo
	tracker string      // "" if there is none
	boot    *dht.Server // the node that all others begin with; nil with a tracker
	bootAt  string
	all     []*session.Session // the seed first
	names   []string
}

func (d *demo) run(ctx context.Context) (err error) {
	if d.root, err = os.MkdirTemp("", "btd-demo-"); err != nil {
		return err
	}
	if d.keep {
		defer fmt.Fprintln(d.out, "kept:", d.root)
	} else {
		defer os.RemoveAll(d.root)
	}
	start := d.startTracker
	if d.trackerless {
		start = d.startNode
	}
	stop, err := start(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := d.makeContent(ctx); err != nil {
		return fmt.Errorf("making the content: %w", err)
	}
	defer func() {
		for _, s := range d.all {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := d.startSessions(ctx); err != nil {
		return err
	}
	began := time.Now()
	shares, err := d.follow(ctx)
	if err != nil {
		return err
	}
	return d.report(time.Since(began), shares)
}

// startTracker serves a tracker on a free loopback port.
func (d *demo) startTracker(ctx context.Context) (stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the tracker: %w", err)
	}
	d.tracker = "http://" + l.Addr().String() + "/announce"
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- server.New(server.Config{}).Serve(ctx, l) }()
	return func() {
		cancel()
		<-done
	}, nil
}

// startNode runs a DHT node on a free loopback port.
func (d *demo) startNode(context.Context) (stop func(), err error) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		return nil, fmt.Errorf("starting the DHT node: %w", err)
	}
	d.bootAt = conn.LocalAddr().String()
	if d.boot, err = dht.NewServer(dht.ServerConfig{IPv4: dht.Socket{Conn: conn, Own: true}}); err != nil {
		conn.Close()
		return nil, fmt.Errorf("starting the DHT node: %w", err)
	}
	return func() { d.boot.Close() }, nil
}

// announced waits until the seed can be found in the DHT.
func (d *demo) announced(ctx context.Context) error {
	for d.boot != nil && d.boot.Stats().IPv4.Peers == 0 {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// makeContent writes a few files of random bytes with odd sizes, and their
// torrent.
func (d *demo) makeContent(ctx context.Context) error {
	dir := d.dir(0)
	if err := os.MkdirAll(filepath.Join(dir, "demo", "more"), 0o755); err != nil {
		return err
	}
	seed := [32]byte{}
	for i := range seed {
		seed[i] = byte(rand.Uint32())
	}
	random := rand.NewChaCha8(seed)
	small := d.size/10 + 12345
	for _, f := range []struct {
		name string
		size int64
	}{{"demo/image.bin", d.size - small - 7}, {"demo/more/second.bin", small}, {"demo/more/tiny.txt", 7}} {
		w, err := os.Create(filepath.Join(dir, filepath.FromSlash(f.name)))
		if err != nil {
			return err
		}
		_, err = io.CopyN(w, random, f.size)
		if err = errors.Join(err, w.Close()); err != nil {
			return err
		}
	}
	var err error
	o := create.Options{PieceLength: 256 << 10, CreatedBy: "btd " + version}
	if d.tracker != "" {
		o.Trackers = [][]string{{d.tracker}}
	}
	d.file, err = create.Torrent(ctx, os.DirFS(dir), "demo", o)
	if err != nil {
		return err
	}
	d.meta, err = metainfo.Parse(d.file)
	return err
}

// dir is where session i keeps its content.
func (d *demo) dir(i int) string { return filepath.Join(d.root, fmt.Sprintf("peer%d", i), "content") }

func (d *demo) startSessions(ctx context.Context) error {
	for i := range 1 + demoDownloaders {
		name := "seed"
		cfg := session.Config{
			StateDir: filepath.Join(d.root, fmt.Sprintf("peer%d", i), "state"), Dir: d.dir(i),
			Listen: "127.0.0.1:0", Version: version,
			Log: slog.New(slog.NewTextHandler(d.screen, &slog.HandlerOptions{Level: slog.LevelWarn})),
		}
		if d.boot != nil {
			cfg.DHT = session.DHTConfig{On: true, Bootstrap: []string{d.bootAt}, Isolated: true}
		}
		if i == 0 {
			cfg.Limits.Up = d.seedRate
		} else {
			name = fmt.Sprintf("downloader %d", i)
		}
		s, err := session.Open(cfg)
		if err != nil {
			return fmt.Errorf("starting the %s: %w", name, err)
		}
		d.all, d.names = append(d.all, s), append(d.names, name)
		if _, _, err := s.Add(ctx, d.file, session.AddOptions{}); err != nil {
			return fmt.Errorf("adding the torrent to the %s: %w", name, err)
		}
		if i == 0 {
			if err := d.await(ctx, s, session.StateSeeding); err != nil {
				return fmt.Errorf("waiting for the seed: %w", err)
			}
			if err := d.announced(ctx); err != nil {
				return fmt.Errorf("announcing the seed: %w", err)
			}
			where := "tracker at " + d.tracker
			if d.boot != nil {
				where = "no tracker, a DHT node at " + d.bootAt
			}
			fmt.Fprintf(d.out, "seeding %s in %d pieces on %s, %s\n",
				humanize.IBytes(uint64(d.meta.Total)), d.meta.Pieces(), s.Addr(), where)
		}
	}
	return nil
}

// await waits until the demo's torrent reaches a state in one session.
func (d *demo) await(ctx context.Context, s *session.Session, want session.State) error {
	for {
		t, err := s.Torrent(d.meta.Hash)
		switch {
		case err != nil:
			return err
		case t.State == session.StateError:
			return errors.New(t.Error)
		case t.State == want:
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
