package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"btd/api/client"
	"btd/metainfo"
)

type joinFlags struct {
	dir         string
	wait, force bool
}

func (a *app) joinCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "join LINE",
		Short: "get what another machine shares",
		Long: `Get what another machine of the local network shares, and pass it on to
others. LINE is what btctl share has printed there; quote it, a shell would take
it apart. - reads it from stdin, where others on this machine do not see it.

With --wait the command shows progress and ends when everything is here and
verified: 0; with an error, or if no other machine is found within half a
minute: 1; with --timeout: 7. The torrent stays in every case, and goes on.

The address of a .torrent file is asked only if it is in a private network,
unless --force says otherwise.`,
		Example: "  btctl join 'magnet:?xt=urn:btih:...&x.scope=lan' --wait\n  btctl join 'http://192.168.1.5:6969/t/....torrent?scope=lan' --path /srv/images",
		Args:    cobra.ExactArgs(1),
	}
	var f joinFlags
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "path", "", "download directory (default the daemon's)")
	flags.BoolVar(&f.wait, "wait", false, "wait until everything is here")
	flags.BoolVar(&f.force, "force", false, "ask for the .torrent file whatever the address is")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.join(cmd.Context(), args[0], f) }
	return cmd
}

func (a *app) join(ctx context.Context, line string, f joinFlags) error {
	req := client.AddRequest{Scope: client.ScopeLAN}
	if f.dir != "" {
		var err error
		if req.Dir, err = absoluteDir("--path", f.dir); err != nil {
			return err
		}
	}
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	if line == "-" {
		b, err := io.ReadAll(io.LimitReader(readerOf(ctx, a.in), metainfo.MaxMagnet+1))
		if err != nil {
			return fmt.Errorf("read stdin: %w", err)
		}
		line = string(b)
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	line = strings.TrimSpace(line)
	switch {
	case strings.HasPrefix(strings.ToLower(line), "magnet:"):
		req.Magnet, err = line, checkLine(line)
	case strings.HasPrefix(strings.ToLower(line), "http://"):
		req.Torrent, err = fetch(ctx, line, f.force)
	default:
		err = usagef("this is no line of btctl share: it begins with magnet: or http://")
	}
	if err != nil {
		return err
	}
	added, err := c.Add(ctx, req)
	if err != nil {
		return err
	}
	t := added.Torrent
	if added.Existed && t.State == client.StateStopped {
		if err := c.Start(ctx, t.ID); err != nil {
			return err
		}
	}
	if err := a.reportAdded(req, added); err != nil {
		return err
	}
	if f.wait {
		return a.waitJoined(ctx, c, t.ID)
	}
	return nil
}

// checkLine finds what is wrong with a link. It ends in its scope, and then
// perhaps a secret: one without a scope was cut off, and would be looked for
// everywhere.
func checkLine(line string) error {
	m, err := metainfo.ParseMagnet(line)
	switch {
	case err != nil:
		return usagef("%s\nIs the line whole, as btctl share has printed it?", strings.TrimPrefix(err.Error(), "metainfo: "))
	case m.Hash.IsZero():
		return usagef("the link names a key and no torrent: it is no line of btctl share (btctl add takes it)")
	case m.Scope != metainfo.ScopeLAN:
		return usagef("the line is cut off, or no line of btctl share: it has no x.scope=lan (btctl add takes links from elsewhere)")
	}
	return nil
}

// lonelyAfter is how long a join waits for its first peer.
const lonelyAfter = 30 * time.Second

// errLonely means that no peer was found.
var errLonely = errors.New("no peer found")

// waitJoined waits until the torrent is complete, or nobody is found to get it
// from.
func (a *app) waitJoined(ctx context.Context, c *client.Client, id string) error {
	waiting, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	var met atomic.Bool
	limit := a.lonely
	if limit == 0 {
		limit = lonelyAfter
	}
	after := a.after
	if after == nil {
		after = time.AfterFunc
	}
	late := after(limit, func() {
		if !met.Load() {
			giveUp(errLonely)
		}
	})
	defer late.Stop()
	done := allComplete(1)
	d := a.newDisplay(a.err, a.errTTY, 0)
	err := a.follow(waiting, d, []string{id}, func(list []client.Torrent) (bool, error) {
		for _, t := range list {
			if t.Peers > 0 || t.Downloaded > 0 || isComplete(t) || t.State == client.StateChecking {
				met.Store(true)
			}
		}
		return done(list)
	})
	d.close()
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(waiting), errLonely) {
		trackers, terr := c.Trackers(ctx, id)
		if terr != nil {
			return terr
		}
		return fmt.Errorf("no peer found after %s: %s\n(It stays added, and goes on when one is found.)", limit, whyLonely(trackers))
	}
	return err
}

// whyLonely guesses by what trackers say why there are no peers.
func whyLonely(trackers []client.Tracker) string {
	var hosts, problems []string
	named := 0
	for _, t := range trackers {
		host := t.URL
		if u, err := url.Parse(t.URL); err == nil && u.Hostname() != "" {
			host = u.Hostname()
		}
		switch {
		case t.Status == "working":
			named = max(named, t.Peers)
			problems = append(problems, host+" answers")
		case t.Error != "":
			problems = append(problems, host+": "+t.Error)
		}
		hosts = append(hosts, host)
	}
	about := ""
	if len(problems) > 0 {
		about = "\n  " + strings.Join(problems, "\n  ")
	}
	switch {
	case len(hosts) == 0:
		return "is a machine that has it up, and in the same network?"
	case named > 0:
		return "those that " + hosts[0] + " knows of do not answer. Is their port for peers (6881) open, and is the line whole, with all that is behind the #?" + about
	case strings.Contains(about, "registered"):
		return "the tracker of " + hosts[0] + " does not know this torrent. Is the line whole, with all that is behind the #?" + about
	}
	return "is " + hosts[0] + " up, and its ports 6969 and 6881 open?" + about
}
