package main

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"btd/api/client"
)

func (a *app) limitCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "limit [TARGET...]",
		Short: "show or set limits of the session or of torrents",
		Long: `Show or set limits: without a target those of the session, which all torrents
share, else those of each torrent.

Rates are in bytes per second: 5MiB/s, 500kB/s, 1.5M, unlimited (or 0). KiB, MiB
and GiB are powers of 1024; kB, MB and GB (or k, M, G) powers of 1000.`,
		Example:           "  btctl limit --down 5MiB/s --up 1MiB/s\n  btctl limit debian --up unlimited --ratio 2",
		ValidArgsFunction: a.completeTargets,
	}
	f := cmd.Flags()
	down := f.String("down", "", "download rate")
	up := f.String("up", "", "upload rate")
	ratio := f.String("ratio", "", "stop seeding at uploaded/size: a number, unlimited, or session")
	seed := f.String("seed-time", "", "stop after seeding this long: a duration like 36h, unlimited, or session")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var p client.TorrentPatch
		var limits client.LimitsPatch
		var err error
		set := cmd.Flags().Changed
		if set("down") {
			if limits.Down, err = ratePtr(*down); err != nil {
				return err
			}
			p.Limits = &limits
		}
		if set("up") {
			if limits.Up, err = ratePtr(*up); err != nil {
				return err
			}
			p.Limits = &limits
		}
		if set("ratio") {
			if p.RatioLimit, err = parseRatio(*ratio); err != nil {
				return err
			}
		}
		if set("seed-time") {
			if p.SeedTimeSeconds, err = parseSeedTime(*seed); err != nil {
				return err
			}
		}
		if len(args) == 0 {
			return a.limitSession(cmd, p)
		}
		return a.limitTorrents(cmd, args, p)
	}
	return cmd
}

func (a *app) limitSession(cmd *cobra.Command, p client.TorrentPatch) error {
	if p.RatioLimit != nil || p.SeedTimeSeconds != nil {
		return usagef("--ratio and --seed-time need a target; those of the session are in the daemon's configuration")
	}
	ctx := cmd.Context()
	c, err := a.connect()
	if err != nil {
		return err
	}
	if p.Limits == nil && a.json {
		return a.printRaw(ctx, client.LimitsPath)
	}
	var now client.Limits
	if p.Limits == nil {
		now, err = c.Limits(ctx)
	} else {
		now, err = c.SetLimits(ctx, *p.Limits)
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(now)
	}
	t := newTable(">DOWN", ">UP")
	t.row(limitText(now.Down), limitText(now.Up))
	return a.printTable(t)
}

func (a *app) limitTorrents(cmd *cobra.Command, args []string, p client.TorrentPatch) error {
	ctx := cmd.Context()
	list, err := a.targets(ctx, args)
	if err != nil {
		return err
	}
	if p != (client.TorrentPatch{}) {
		return a.each(list, "limited", func(t client.Torrent) error { return a.daemon.Patch(ctx, t.ID, p) })
	}
	if a.json {
		return a.printRaw(ctx, client.ListPath(ids(list)...))
	}
	t := newTable(">DOWN", ">UP", ">RATIO", ">SEEDING", "NAME")
	for _, x := range list {
		t.row(limitText(x.Options.Limits.Down), limitText(x.Options.Limits.Up),
			ratioLimitText(x.Options.RatioLimit), seedTimeText(x.Options.SeedTimeSeconds), clean(x.Name))
	}
	return a.printTable(t)
}

func ratePtr(s string) (*int64, error) {
	n, err := parseRate(s)
	return &n, err
}

// special reads the words that stand for a number.
func special(s string) (n int, ok bool) {
	switch strings.ToLower(s) {
	case "session", "default":
		return 0, true
	case "unlimited", "none":
		return -1, true
	}
	return 0, false
}

func parseRatio(s string) (*float64, error) {
	if n, ok := special(s); ok {
		f := float64(n)
		return &f, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > 0) || math.IsInf(f, 0) {
		return nil, usagef("ratio %q: write a number above 0 like 1.5, unlimited, or session", s)
	}
	return &f, nil
}

func parseSeedTime(s string) (*int64, error) {
	if n, ok := special(s); ok {
		n := int64(n)
		return &n, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second {
		return nil, usagef("seeding time %q: write a duration like 90m or 36h, unlimited, or session", s)
	}
	n := int64(d / time.Second)
	return &n, nil
}
