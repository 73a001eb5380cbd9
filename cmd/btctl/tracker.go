package main

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"btd/api/client"
)

func (a *app) trackerCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tracker",
		Short: "be a tracker for others: start, register torrents, stats",
		Long: `The daemon can itself be a tracker, over HTTP and UDP. It tracks the torrents
that are registered with it, unless it is open (btd --tracker-open).`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(a.trackerStatsCmd(), a.trackerLsCmd(),
		a.trackerSwitch("start", "switch the daemon's tracker on, now and at its next start", (*client.Client).StartTracker),
		a.trackerSwitch("stop", "switch the daemon's tracker off", (*client.Client).StopTracker),
		a.registerCmd(), a.unregisterCmd())
	return cmd
}

func (a *app) trackerSwitch(use, short string, do func(*client.Client, context.Context) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			if err := do(c, cmd.Context()); err != nil {
				return err
			}
			if a.json {
				return a.printRaw(cmd.Context(), client.TrackerPath)
			}
			s, err := c.TrackerServer(cmd.Context())
			if err != nil {
				return err
			}
			if !s.On {
				a.say("the tracker is off")
				return nil
			}
			a.say("the tracker is on:")
			return a.print(strings.Join(cleanAll(s.URLs), "\n") + "\n")
		},
	}
}

func cleanAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = clean(s)
	}
	return out
}

func (a *app) trackerStatsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "show the daemon's tracker: its URLs, torrents, peers, what was refused",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.json {
				return a.printRaw(cmd.Context(), client.TrackerPath)
			}
			c, err := a.connect()
			if err != nil {
				return err
			}
			s, err := c.TrackerServer(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(trackerServerText(s))
		},
	}
}

func trackerServerText(s client.TrackerServer) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s%s\n", name, clean(fmt.Sprintf(format, args...)))
	}
	what := "registered torrents"
	if s.Open {
		what = "every torrent"
	}
	switch {
	case s.On:
		line("Tracker", "on, for %s", what)
	case s.Problem != "" && !s.Retry.IsZero():
		line("Tracker", "off: %s; tried again at %s", s.Problem, timeText(s.Retry))
	case s.Problem != "":
		line("Tracker", "off: %s", s.Problem)
	default:
		line("Tracker", "off")
	}
	line("Registered", "%s", plural(s.Registered, "torrent"))
	if !s.On {
		return b.String()
	}
	line("Listening", "%s, HTTP and UDP", s.Listen)
	for i, u := range s.URLs {
		name := ""
		if i == 0 {
			name = "Announce to"
		}
		line(name, "%s", u)
	}
	if !s.Open {
		line("Token", "%s (before /announce, for any torrent)", s.Token)
	}
	line("Tracks", "%s of %s, %s", plural(s.Peers, "peer"), plural(s.Torrents, "torrent"), plural(s.Seeds, "seed"))
	rates := map[string]int64{}
	for name, r := range s.PerSecond {
		rates[name] = int64(math.Round(r))
	}
	line("Announces", "%s; a second now: %s", countsText(s.Announces), countsText(rates))
	line("Scrapes", "%s", countsText(s.Scrapes))
	line("Refused", "%s", countsText(s.Refused))
	line("Connections", "%d", s.Connections)
	line("Memory", "%s", bytesText(s.Memory))
	return b.String()
}

func (a *app) trackerLsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "list the torrents that are registered with the daemon's tracker",
		Long: `List the torrents that are registered with the daemon's tracker. Those registered
by hand stay until they are unregistered; those registered by btctl share go
with the daemon's torrent.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.json {
				return a.printRaw(cmd.Context(), client.RegisteredPath)
			}
			c, err := a.connect()
			if err != nil {
				return err
			}
			list, err := c.Registered(cmd.Context())
			if err != nil {
				return err
			}
			t := newTable("ID", ">SEEDS", ">LEECHERS", ">DOWNLOADS", "BY", "NAME")
			for _, r := range list {
				by := "hand"
				if r.Shared {
					by = "share"
				}
				t.row(clean(r.ID), fmt.Sprint(r.Seeds), fmt.Sprint(r.Leechers), fmt.Sprint(r.Downloads), by, clean(r.Name))
			}
			return a.printTable(t)
		},
	}
}

func (a *app) registerCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "register TARGET|HASH...",
		Short: "have torrents tracked, also after a restart",
		Long: `Have the daemon's tracker track torrents. The daemon need not have them: 40 hex
digits name any. They are tracked until they are unregistered, also when the
daemon's own are removed. The tracker is not switched on by this (btctl tracker
start).`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTargets,
	}
	name := cmd.Flags().String("name", "", "what to call a torrent that the daemon does not have")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, word := range args {
			id, known, err := a.trackable(cmd.Context(), word)
			if err != nil {
				return err
			}
			if known == "" {
				known = *name
			}
			if err := a.daemon.Register(cmd.Context(), id, cutName(known)); err != nil {
				return err
			}
			a.say("registered %s %s", id, known)
		}
		return nil
	}
	return cmd
}

// trackable is the torrent that a word names, which the daemon has (then it
// has a name) or whose hash it is.
func (a *app) trackable(ctx context.Context, word string) (id, name string, err error) {
	list, err := a.targets(ctx, []string{word})
	switch {
	case err == nil:
		return list[0].ID, list[0].Name, nil
	case a.daemon != nil && isHex(word, 20):
		return strings.ToLower(word), "", nil
	}
	return "", "", err
}

// cutName is what the daemon takes of a name: 255 bytes.
func cutName(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), 255)], "")
}

func (a *app) unregisterCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "unregister TARGET|HASH...",
		Short:             "have the daemon's tracker forget torrents and their peers",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, word := range args {
				id, name, err := a.trackable(cmd.Context(), word)
				if err != nil {
					return err
				}
				if err := a.daemon.Unregister(cmd.Context(), id); err != nil {
					return notThere(err)
				}
				a.say("unregistered %s %s", id, name)
			}
			return nil
		},
	}
}
