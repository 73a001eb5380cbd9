package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"btd/api/client"
	"btd/dht"
	"btd/metainfo"
	"btd/metainfo/create"
	"btd/session"
	"btd/storage"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

const (
	demoDownloaders = 3
	demoTimeout     = 3 * time.Minute
	demoLeast       = 8 << 20          // bytes of content
	demoSettle      = 20 * time.Second // for the counters, at most
	demoMinShare    = 0.20             // of a downloader's bytes must come from the other downloaders

	// demoHold is the seed's upload rate until the downloaders have met, bytes
	// per second: who comes first has nobody to trade with.
	demoHold = 256 << 10
)

func newDemo() *cobra.Command {
	size, seedRate := byteSize(96<<20), byteRate(32<<20)
	var keep, trackerless, secret bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a whole swarm on this machine and check every byte",
		Long: `demo makes content, starts four daemons in separate directories on loopback,
shares the content on one and joins on three, as btctl share and btctl join do,
and checks every byte that arrives. It uses no network but loopback and leaves
nothing behind.

The seed's upload is limited, so that the downloaders have to trade with each
other to finish soon: each must get at least a fifth of its bytes from the others.

With --secret only those who have the shared line are spoken to, encrypted. With
--trackerless there is no tracker: they find each other over a private DHT.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if secret && trackerless {
				return usageError{errors.New("--secret and --trackerless exclude each other: a torrent with a secret is not in a DHT")}
			}
			if err := fit(&size, &seedRate, cmd.Flags().Changed); err != nil {
				return err
			}
			d := &demo{size: int64(size), seedRate: int64(seedRate), keep: keep, trackerless: trackerless, secret: secret, out: cmd.OutOrStdout(), screen: cmd.ErrOrStderr()}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), demoTimeout,
				fmt.Errorf("the demo was not through after %s", demoTimeout))
			defer cancel()
			return d.run(ctx)
		},
	}
	cmd.Flags().Var(&size, "size", "`bytes` of content; less than the default where the disk is nearly full")
	cmd.Flags().Var(&seedRate, "seed-rate", "upload `rate` of the seed; 0 is unlimited")
	cmd.Flags().BoolVar(&trackerless, "trackerless", false, "find peers over a private DHT instead of a tracker")
	cmd.Flags().BoolVar(&secret, "secret", false, "give the swarm a secret")
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the directories afterwards and say where they are")
	return cmd
}

// fit makes the content of a demo so small that all copies find room, and the
// seed slower by as much. What was asked for stays as it is.
func fit(size *byteSize, seedRate *byteRate, asked func(flag string) bool) error {
	room := storage.Free(os.TempDir())
	most := byteSize(room / (demoDownloaders + 2)) // one copy's room stays free
	if room < 0 || asked("size") || most >= *size {
		return nil
	}
	if most < demoLeast {
		return fmt.Errorf("there are only %s free in %s: set TMPDIR to a directory with more room", humanize.IBytes(uint64(room)), os.TempDir())
	}
	if !asked("seed-rate") {
		*seedRate = byteRate(float64(*seedRate) * float64(most) / float64(*size))
	}
	*size = most
	return nil
}

// demo is one run of the demonstration.
type demo struct {
	size, seedRate int64
	keep           bool
	trackerless    bool
	secret         bool
	out, screen    io.Writer

	root   string
	file   []byte // the .torrent
	meta   *metainfo.Metainfo
	line   string      // what the seed's daemon says that others join with; "" without a tracker
	boot   *dht.Server // the node that all others begin with; nil with a tracker
	bootAt string
	all    []*demoDaemon // the seed first
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
	if d.trackerless {
		stop, err := d.startNode()
		if err != nil {
			return err
		}
		defer stop()
	}
	if err := d.makeContent(ctx); err != nil {
		return fmt.Errorf("making the content: %w", err)
	}
	defer func() {
		for _, s := range d.all[min(1, len(d.all)):] {
			err = errors.Join(err, s.close())
		}
		if len(d.all) > 0 { // last: the others say goodbye to its tracker
			err = errors.Join(err, d.all[0].close())
		}
	}()
	if err := d.startDaemons(ctx); err != nil {
		return err
	}
	if err := d.together(ctx); err != nil {
		return err
	}
	began := time.Now()
	shares, err := d.follow(ctx)
	if err != nil {
		return err
	}
	return d.report(ctx, time.Since(began), shares)
}

// startNode runs a DHT node on a free loopback port.
func (d *demo) startNode() (stop func(), err error) {
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
	var seed [32]byte
	rand.Read(seed[:]) // never fails
	random := mathrand.NewChaCha8(seed)
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
	d.file, err = create.Path(ctx, filepath.Join(dir, "demo"), create.Options{PieceLength: 256 << 10, CreatedBy: "btd " + version})
	if err != nil {
		return err
	}
	d.meta, err = metainfo.Parse(d.file)
	return err
}

// dir is where daemon i keeps its content.
func (d *demo) dir(i int) string { return filepath.Join(d.root, fmt.Sprintf("peer%d", i), "content") }

func (d *demo) startDaemons(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(d.screen, &slog.HandlerOptions{Level: slog.LevelWarn}))
	for i := range 1 + demoDownloaders {
		name := "seed"
		if i > 0 {
			name = fmt.Sprintf("downloader %d", i)
		}
		cfg := session.Config{Listen: "127.0.0.1:0", Version: version}
		if d.boot != nil {
			cfg.DHT = session.DHTConfig{On: true, Bootstrap: []string{d.bootAt}, Isolated: true}
		}
		s, err := openDaemon(name, filepath.Join(d.root, fmt.Sprintf("peer%d", i)), cfg, log)
		if err != nil {
			return err
		}
		d.all = append(d.all, s)
		if i == 0 {
			if err := d.share(ctx, s); err != nil {
				return fmt.Errorf("sharing: %w", err)
			}
			continue
		}
		req := client.AddRequest{Torrent: d.file}
		if d.line != "" {
			req = client.AddRequest{Magnet: d.line, Scope: client.ScopeLAN}
		}
		if _, err := s.api.Add(ctx, req); err != nil {
			return fmt.Errorf("joining as %s: %w", name, err)
		}
	}
	return nil
}

// share adds the content to the seed's daemon and has it tracked, or found in
// the DHT.
func (d *demo) share(ctx context.Context, s *demoDaemon) error {
	req := client.AddRequest{Torrent: d.file, Limits: client.Limits{Up: demoHold}}
	if d.boot == nil {
		req.Scope = client.ScopeLAN
	}
	if d.secret {
		key, err := metainfo.NewSecret(rand.Reader)
		if err != nil {
			return err
		}
		req.Secret = key.String()
	}
	if _, err := s.api.Add(ctx, req); err != nil {
		return err
	}
	if err := d.await(ctx, s, session.StateSeeding); err != nil {
		return fmt.Errorf("waiting for the seed: %w", err)
	}
	where := "no tracker, a DHT node at " + d.bootAt
	if d.boot != nil {
		if err := d.announced(ctx); err != nil {
			return fmt.Errorf("announcing the seed: %w", err)
		}
	} else {
		line, err := s.api.Share(ctx, d.meta.Hash.String())
		if err != nil {
			return err
		}
		d.line, where = line.Magnet, "shared as "+metainfo.WithoutSecret(line.Magnet)
	}
	fmt.Fprintf(d.out, "seeding %s in %d pieces on %s, %s\n", humanize.IBytes(uint64(d.meta.Total)), d.meta.Pieces(), s.Addr(), where)
	return nil
}

// together waits until each downloader is connected to another one, and then
// lets the seed send as fast as it may.
func (d *demo) together(ctx context.Context) error {
	seed := d.all[0]
	met := func(p session.Peer) bool { return p.ID != seed.PeerID() }
	for _, s := range d.all[1:] {
		for {
			peers, err := s.Peers(d.meta.Hash)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if slices.ContainsFunc(peers, met) {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s has met no other downloader: %w", s.name, context.Cause(ctx))
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return seed.api.Patch(ctx, d.meta.Hash.String(), client.TorrentPatch{Limits: &client.LimitsPatch{Up: &d.seedRate}})
}

// await waits until the demo's torrent reaches a state in one session.
func (d *demo) await(ctx context.Context, s *demoDaemon, want session.State) error {
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
