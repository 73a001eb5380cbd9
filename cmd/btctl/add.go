package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"btd/api/client"
	"btd/metainfo"
)

// maxFile is the largest .torrent file that the daemon takes, in bytes.
const maxFile = 32 << 20

type addFlags struct {
	dir, scope                string
	stopped, sequential, wait bool
	only, peers               []string
}

func (a *app) addCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add FILE|MAGNET...",
		Short: "add .torrent files and magnet links",
		Long: `Add .torrent files and magnet links (- is stdin), and print the id of each
torrent. Data that is in the directory already is checked and used. A torrent
that is there already gets the trackers of the file or link, and the files of
--only; where it is, and how it runs, stays as it was.

What the torrent of a magnet link holds is fetched from peers first: btctl ls
and btctl show say how far that is. A link that names a key (xs=urn:btpk:...)
and no torrent is followed, as btctl follow does.

--only takes indexes, ranges (2-5) and patterns ('*.mkv') as btctl priority
does, with commas between or repeated; with a magnet link no patterns, since
its names are not known yet.

With --scope lan the torrent has peers in private and link-local networks
only, and is not in the DHT; magnet links can say that as well (x.scope=lan).

What stands behind # in a magnet link is the secret of a closed swarm: only
peers that prove it are spoken to. Others on this machine see the arguments of
a command, so such a link is better given on stdin.

A file that cannot be read ends the command before anything is added. Where the
daemon refuses one of several, the others are added, and the command fails.

With --wait the command ends when everything wanted is here: 0, with an error
of a torrent: 1, or with --timeout: 7. The torrents stay in every case. There
is no waiting where one was refused.`,
		Example: "  btctl add 'magnet:?xt=urn:btih:...'\n  btctl add debian.torrent --dir /srv/iso --wait\n  btctl add show.torrent --only '*.mkv' --sequential",
		Args:    cobra.MinimumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"torrent"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	var f addFlags
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "dir", "", "download directory (default the daemon's)")
	flags.BoolVar(&f.stopped, "stopped", false, "add without starting")
	flags.BoolVar(&f.sequential, "sequential", false, "fetch pieces in order")
	flags.StringVar(&f.scope, "scope", "", "where peers may be: internet, or lan for private networks only")
	flags.StringSliceVar(&f.only, "only", nil, "files to download; the others are skipped")
	flags.StringSliceVar(&f.peers, "peer", nil, "address (IP:PORT) to try at once")
	flags.BoolVar(&f.wait, "wait", false, "wait until everything wanted is here")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if flags.Changed("only") && len(f.only) == 0 {
			return usagef("--only is empty: name files, or leave it out to download every file")
		}
		return a.add(cmd.Context(), args, f)
	}
	return cmd
}

func (a *app) add(ctx context.Context, files []string, f addFlags) error {
	if f.stopped && f.wait {
		return usagef("--stopped and --wait exclude each other: a stopped torrent never completes")
	}
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	// All files are read before anything is added.
	reqs := make([]client.AddRequest, len(files))
	for i, name := range files {
		req, err := a.addRequest(ctx, name, f)
		if err != nil {
			return err
		}
		reqs[i] = req
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	var added []string
	var failed error
	for i, req := range reqs {
		resp, err := c.Add(ctx, req)
		if err != nil {
			failed = a.alsoFailed(failed, metainfo.WithoutSecret(files[i]), err)
			code, _ := explain(err)
			if errors.As(err, new(*client.Error)) && code != exitAuth && code != exitNoDaemon {
				continue // the daemon refuses this one
			}
			if rest := len(reqs) - i - 1; rest > 0 {
				a.say("%s not tried", plural(rest, "torrent"))
			}
			return failed
		}
		if resp.Follow == nil && !slices.Contains(added, resp.Torrent.ID) {
			added = append(added, resp.Torrent.ID)
		}
		if err := a.reportAdded(req, resp); err != nil {
			return err
		}
	}
	if failed == nil && f.wait && len(added) > 0 { // no ids would mean all torrents
		return a.wait(ctx, added)
	}
	return failed
}

func (a *app) reportAdded(req client.AddRequest, resp client.AddResponse) error {
	if resp.Follow != nil {
		return a.reportFollow(*resp.Follow, resp)
	}
	t := resp.Torrent
	switch {
	case resp.Existed:
		more := ""
		if len(req.Only) > 0 {
			more = "and the files of --only "
		}
		a.say("%s was there already: it has the trackers of the file or link %snow, and is %s", t.Name, more, t.State)
		if passed := passedOver(req, t); len(passed) > 0 {
			a.say("%s: without effect, since it was there already", strings.Join(passed, ", "))
		}
	case t.Metadata != nil:
		a.say("added %s to %s: what it holds is asked of peers", t.Name, t.Dir)
	default:
		a.say("added %s (%s) to %s", t.Name, bytesText(t.Wanted), t.Dir)
	}
	if a.json {
		return a.printJSON(resp)
	}
	return a.print(t.ID + "\n")
}

// passedOver is what had no effect, the torrent being there already.
func passedOver(req client.AddRequest, t client.Torrent) (what []string) {
	if req.Dir != "" && req.Dir != t.Dir {
		what = append(what, "the directory")
	}
	if req.Stopped && t.State != client.StateStopped {
		what = append(what, "--stopped")
	}
	if req.Sequential && !t.Options.Sequential {
		what = append(what, "--sequential")
	}
	return what
}

func (a *app) addRequest(ctx context.Context, name string, f addFlags) (client.AddRequest, error) {
	req := client.AddRequest{Stopped: f.stopped, Sequential: f.sequential, Scope: f.scope, Peers: f.peers}
	if f.dir != "" {
		var err error
		if req.Dir, err = absoluteDir("--dir", f.dir); err != nil {
			return req, err
		}
	}
	if isMagnet(name) {
		return linkRequest(req, name, f)
	}
	var err error
	if req.Torrent, err = a.readTorrent(ctx, name); err != nil {
		return req, err
	}
	if link := strings.TrimSpace(string(req.Torrent[:min(len(req.Torrent), metainfo.MaxMagnet)])); name == "-" && isMagnet(link) {
		req.Torrent = nil
		return linkRequest(req, link, f)
	}
	if len(f.only) > 0 {
		m, err := metainfo.Parse(req.Torrent)
		if err != nil {
			return req, fmt.Errorf("%s: %w", name, err)
		}
		all := make([]named, len(m.Files))
		for i, x := range m.Files {
			all[i] = named{index: i, path: x.Path, pad: x.Pad}
		}
		if req.Only, err = chooseFiles(all, m.Single, f.only); err != nil {
			return req, err
		}
	}
	return req, nil
}

// linkRequest completes a request with a link. What the link says is for the
// daemon to judge.
func linkRequest(req client.AddRequest, link string, f addFlags) (client.AddRequest, error) {
	if m, err := metainfo.ParseMagnet(link); f.wait && err == nil && m.Hash.IsZero() {
		return req, usagef("--wait does not go with a link that names a key: its torrent is not known yet")
	}
	var err error
	req.Magnet = link
	req.Only, err = indexesOf(f.only)
	return req, err
}

// absoluteDir is a directory for the daemon, which works elsewhere.
func absoluteDir(flag, name string) (string, error) {
	dir, err := filepath.Abs(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	if !utf8.ValidString(dir) {
		return "", fmt.Errorf("%s: %q is not UTF-8, which the API needs", flag, dir)
	}
	return dir, nil
}

// readTorrent reads a file, or stdin for -, until ctx ends or --timeout is over.
func (a *app) readTorrent(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	r := a.in
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		r = file
	}
	b, err := io.ReadAll(io.LimitReader(readerOf(ctx, r), maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, err)
	case len(b) > maxFile:
		return nil, fmt.Errorf("%s has more than %s: it is no .torrent file", name, bytesText(maxFile))
	case len(b) == 0:
		return nil, fmt.Errorf("%s is empty", name)
	}
	return b, nil
}

// errRemoved means that somebody removed the torrent that is waited for.
var errRemoved = errors.New("it was removed meanwhile")

// wait draws progress until the torrents are complete.
func (a *app) wait(ctx context.Context, ids []string) error {
	d := a.newDisplay(a.err, a.errTTY, 0)
	err := a.follow(ctx, d, ids, allComplete(len(ids)))
	d.close()
	return err
}

// allComplete tells when n torrents that are followed are complete, and why
// they will not be.
func allComplete(n int) func([]client.Torrent) (bool, error) {
	return func(list []client.Torrent) (bool, error) {
		complete := 0
		for _, t := range list {
			switch {
			case t.State == client.StateError:
				return true, fmt.Errorf("%s: %s (it stays added, and goes on when the cause is gone)", t.Name, t.Error)
			case isComplete(t):
				complete++
			case t.State == client.StateStopped:
				return true, fmt.Errorf("%s was stopped: let it run with btctl start", t.Name)
			}
		}
		if len(list) < n {
			return true, errRemoved
		}
		return complete == n, nil
	}
}

// isComplete tells whether everything wanted is here and checked.
func isComplete(t client.Torrent) bool {
	return t.Metadata == nil && t.State != client.StateChecking && t.HaveWanted >= t.Wanted
}
