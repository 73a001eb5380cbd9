package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"btd/api/client"
)

// perTorrent prints something about each target: the JSON at path, or the
// table that lay makes of it.
func (a *app) perTorrent(ctx context.Context, words []string, path func(id string) string, lay func(context.Context, *client.Client, client.Torrent) (*table, error)) error {
	list, err := a.targets(ctx, words)
	if err != nil {
		return err
	}
	for i, t := range list {
		if a.json {
			if err := a.printRaw(ctx, path(t.ID)); err != nil {
				return err
			}
			continue
		}
		tab, err := lay(ctx, a.daemon, t)
		if err != nil {
			return err
		}
		if len(list) > 1 {
			sep := ""
			if i > 0 {
				sep = "\n"
			}
			if err := a.print(sep + clean(t.Name) + "\n"); err != nil {
				return err
			}
		}
		if err := a.printTable(tab); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) filesCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "files TARGET...",
		Short:             "list the files of torrents",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.perTorrent(cmd.Context(), args, client.FilesPath,
				func(ctx context.Context, c *client.Client, t client.Torrent) (*table, error) {
					files, err := c.Files(ctx, t.ID)
					return filesTable(files), err
				})
		},
	}
}

func filesTable(files []client.File) *table {
	t := newTable(">INDEX", ">SIZE", ">DONE", "PRIORITY", "PATH")
	for _, f := range files {
		if f.Pad {
			continue
		}
		done := 1.0
		if f.Size > 0 {
			done = float64(f.Have) / float64(f.Size)
		}
		t.row(fmt.Sprint(f.Index), bytesText(f.Size), percent(done), clean(f.Priority), clean(f.Path))
	}
	return t
}

func (a *app) peersCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "peers TARGET...",
		Short: "list connected peers, or add addresses",
		Long: `List the peers that torrents are connected to.

FLAGS: d we download (D: want to, but they choke us), u they download (U: want
to, but we choke them), O optimistic unchoke, s snubbed, I incoming.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.perTorrent(cmd.Context(), args, client.PeersPath,
				func(ctx context.Context, c *client.Client, t client.Torrent) (*table, error) {
					peers, err := c.Peers(ctx, t.ID)
					return peersTable(peers), err
				})
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use:               "add TARGET IP:PORT...",
		Short:             "give a torrent addresses to try",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := a.targets(cmd.Context(), args[:1])
			if err != nil {
				return err
			}
			return a.daemon.AddPeers(cmd.Context(), list[0].ID, args[1:])
		},
	})
	return cmd
}

func peersTable(peers []client.Peer) *table {
	t := newTable("ADDRESS", ">DONE", ">DOWN", ">UP", ">RECEIVED", ">SENT", "FLAGS", "FROM", "CLIENT")
	for _, p := range peers {
		t.row(p.Addr, percent(p.Progress), rateText(p.RateDown), rateText(p.RateUp), bytesText(p.Downloaded),
			bytesText(p.Uploaded), peerFlags(p), clean(p.Source), orNothing(p.Client))
	}
	return t
}

func peerFlags(p client.Peer) string {
	var b strings.Builder
	pick := func(on bool, s string) {
		if on {
			b.WriteString(s)
		}
	}
	pick(p.Interesting && !p.Choked, "d")
	pick(p.Interesting && p.Choked, "D")
	pick(p.Interested && !p.Choking, "u")
	pick(p.Interested && p.Choking, "U")
	pick(p.Optimistic, "O")
	pick(p.Snubbed, "s")
	pick(p.Incoming, "I")
	return orNothing(b.String())
}

func (a *app) trackersCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "trackers TARGET...",
		Short:             "list trackers, add or remove them",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.perTorrent(cmd.Context(), args, client.TrackersPath,
				func(ctx context.Context, c *client.Client, t client.Torrent) (*table, error) {
					trackers, err := c.Trackers(ctx, t.ID)
					return trackersTable(trackers), err
				})
		},
	}
	add := &cobra.Command{
		Use:               "add TARGET URL...",
		Short:             "add announce URLs",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeTargets,
	}
	tier := add.Flags().Int("tier", -1, "tier to add them to, from 0 (default a new one behind the others)")
	add.RunE = func(cmd *cobra.Command, args []string) error {
		req := client.TrackersRequest{URLs: args[1:]}
		if cmd.Flags().Changed("tier") {
			if *tier < 0 {
				return usagef("--tier is negative: tiers count from 0")
			}
			req.Tier = tier
		}
		list, err := a.targets(cmd.Context(), args[:1])
		if err != nil {
			return err
		}
		return a.daemon.AddTrackers(cmd.Context(), list[0].ID, req)
	}
	rm := &cobra.Command{
		Use:               "rm TARGET URL...",
		Aliases:           []string{"remove"},
		Short:             "remove announce URLs",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := a.targets(cmd.Context(), args[:1])
			if err != nil {
				return err
			}
			return a.removeTrackers(cmd.Context(), list[0], args[1:])
		},
	}
	cmd.AddCommand(add, rm)
	return cmd
}

func (a *app) removeTrackers(ctx context.Context, t client.Torrent, urls []string) error {
	there, err := a.daemon.Trackers(ctx, t.ID)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, x := range there {
		known[x.URL] = true
	}
	for _, u := range urls {
		if !known[u] {
			return missingError{fmt.Sprintf("%s has no tracker %s: btctl trackers lists them", t.Name, u)}
		}
	}
	return a.daemon.RemoveTrackers(ctx, t.ID, urls)
}

func trackersTable(trackers []client.Tracker) *table {
	t := newTable(">TIER", "STATUS", ">PEERS", ">SEEDS", ">LEECHERS", "LAST", "NEXT", "URL")
	for _, x := range trackers {
		text := clean(x.URL)
		if x.Error != "" {
			text += "  (" + clean(x.Error) + ")"
		}
		if x.Warning != "" {
			text += "  (warning: " + clean(x.Warning) + ")"
		}
		t.row(fmt.Sprint(x.Tier), clean(x.Status), fmt.Sprint(x.Peers), countText(x.Swarm.Seeds), countText(x.Swarm.Leechers),
			timeText(x.Last), timeText(x.Next), text)
	}
	return t
}
