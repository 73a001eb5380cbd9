package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"btd/api/client"
)

func (a *app) lsCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "ls [TARGET...]",
		Aliases:           []string{"list"},
		Short:             "list torrents",
		Example:           "  btctl ls\n  btctl ls --json | jq -r '.torrents[] | select(.state == \"error\") | .name'",
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := a.connect()
			if err != nil {
				return err
			}
			chosen, err := a.targets(ctx, args)
			if err != nil {
				return err
			}
			if a.json {
				return a.printRaw(ctx, client.ListPath(ids(chosen)...))
			}
			if len(args) == 0 {
				if chosen, err = c.Torrents(ctx); err != nil {
					return err
				}
			}
			if len(chosen) == 0 {
				a.say("There are no torrents. Add one with: btctl add FILE.torrent")
				return nil
			}
			return a.printTable(listTable(chosen))
		},
	}
}

func listTable(list []client.Torrent) *table {
	t := newTable("ID", "STATE", ">DONE", ">SIZE", ">DOWN", ">UP", ">ETA", ">PEERS", ">RATIO", "NAME")
	short := shortIDs(list)
	for i, x := range list {
		name := clean(x.Name)
		if x.State == client.StateError && x.Error != "" {
			name += "  (" + clean(x.Error) + ")"
		}
		if x.State == client.StateMetadata && x.Metadata != nil {
			name += "  (" + waitingText(*x.Metadata) + ")"
		}
		size := bytesText(x.Wanted)
		if x.Metadata != nil {
			size = nothing
		}
		t.row(short[i], clean(x.State), doneText(x), size, rateText(x.RateDown), rateText(x.RateUp),
			etaText(x), fmt.Sprint(x.Peers), ratioText(x), name)
	}
	return t
}

func ids(list []client.Torrent) []string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = t.ID
	}
	return out
}

func (a *app) showCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "show TARGET...",
		Short:             "show everything about torrents",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := a.targets(cmd.Context(), args)
			if err != nil {
				return err
			}
			if a.json {
				return a.printRaw(cmd.Context(), client.ListPath(ids(list)...))
			}
			var b strings.Builder
			for i, t := range list {
				if i > 0 {
					b.WriteByte('\n')
				}
				b.WriteString(details(t))
			}
			return a.print(b.String())
		},
	}
}

// details has one fact on each line.
func details(t client.Torrent) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s%s\n", name, fmt.Sprintf(format, args...))
	}
	line("Name", "%s", clean(t.Name))
	line("Id", "%s", t.ID)
	line("State", "%s", stateText(t))
	if t.Error != "" {
		line("Problem", "%s", clean(t.Error))
	}
	line("Directory", "%s", clean(t.Dir))
	if t.Metadata != nil {
		line("Waiting for", "%s", waitingText(*t.Metadata))
	} else {
		line("Done", "%s, %s of %s wanted", doneText(t), bytesText(t.HaveWanted), bytesText(t.Wanted))
		line("Size", "%s in %d pieces of %s, %d here", bytesText(t.Size), t.Pieces, bytesText(t.PieceLength), t.PiecesHave)
	}
	line("Downloaded", "%s, now %s", bytesText(t.Downloaded), rateText(t.RateDown))
	line("Uploaded", "%s, now %s, ratio %s", bytesText(t.Uploaded), rateText(t.RateUp), ratioText(t))
	if t.Corrupt > 0 {
		line("Corrupt", "%s", bytesText(t.Corrupt))
	}
	if eta := etaText(t); eta != nothing {
		line("Ready in", "%s", eta)
	}
	line("Peers", "%d connected, %d of them complete, %d known", t.Peers, t.Seeds, t.PeersKnown)
	if t.SuperSeeding {
		line("Showing", "each peer other pieces: nobody else has them all (super-seeding)")
	}
	line("Swarm", "%s seeds, %s leechers, %s downloads", countText(t.Swarm.Seeds), countText(t.Swarm.Leechers), countText(t.Swarm.Downloads))
	line("Limits", "%s", limitsText(t.Options))
	line("Order", "%s", orderText(t.Options.Sequential))
	line("Private", "%s", yesNo(t.Private))
	if t.Options.Scope == client.ScopeLAN {
		line("Scope", "lan: peers in private and link-local networks only, whoever tells of them; not in the DHT")
	}
	if t.Options.Secret {
		line("Secret", "yes: only peers that prove it are spoken to, encrypted; trackers see a mask; not in the DHT")
	}
	line("Added", "%s", timeText(t.Added))
	line("Completed", "%s", timeText(t.Completed))
	line("Active", "%s, seeding %s", secondsText(t.SecondsActive), secondsText(t.SecondsSeeding))
	return b.String()
}

func stateText(t client.Torrent) string {
	if t.State == client.StateChecking {
		return fmt.Sprintf("%s, %s done", t.State, percent(t.Checked))
	}
	return clean(t.State)
}

func orderText(sequential bool) string {
	if sequential {
		return "sequential"
	}
	return "rarest first"
}

func limitsText(o client.Options) string {
	return fmt.Sprintf("down %s, up %s, ratio %s, seeding %s",
		limitText(o.Limits.Down), limitText(o.Limits.Up), ratioLimitText(o.RatioLimit), seedTimeText(o.SeedTimeSeconds))
}

func ratioLimitText(f float64) string {
	switch {
	case f == 0:
		return "as the session"
	case f < 0:
		return "unlimited"
	}
	return fmt.Sprintf("%.2f", f)
}

func seedTimeText(n int64) string {
	switch {
	case n == 0:
		return "as the session"
	case n < 0:
		return "unlimited"
	}
	return secondsText(n)
}
