package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"btd/api/client"
)

func (a *app) watchCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch [TARGET...]",
		Short: "show the progress of torrents as it happens",
		Long: `Show the progress of the targets, or of all torrents that do something, until
interrupted: bars on a terminal, lines elsewhere. With --json every event is
printed on a line of its own as the daemon sends it; an event of the kind lost
means that some are missing.

With --until-complete the command ends by itself; one that is interrupted
before has failed.`,
		ValidArgsFunction: a.completeTargets,
	}
	f := cmd.Flags()
	interval := f.Duration("interval", time.Second, "shortest time between two lines about a torrent, without a terminal")
	until := f.Bool("until-complete", false, "end when everything wanted is here")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *until && len(args) == 0 {
			return usagef("--until-complete needs a target")
		}
		ctx, cancel := a.deadline(cmd.Context())
		defer cancel()
		list, err := a.targets(ctx, args)
		if err != nil {
			return err
		}
		var only []string
		if len(args) > 0 {
			only = ids(list)
		}
		err = a.watch(ctx, only, *until, *interval)
		if errors.Is(err, context.Canceled) && !*until {
			return nil // interrupting is how to end it
		}
		return err
	}
	return cmd
}

func (a *app) watch(ctx context.Context, only []string, until bool, interval time.Duration) error {
	d := a.newDisplay(a.out, a.outTTY && !a.json, interval)
	d.busy, d.json = only == nil, a.json
	err := a.follow(ctx, d, only, func(list []client.Torrent) (bool, error) {
		if only != nil && len(list) == 0 {
			return true, errRemoved
		}
		return until && !slices.ContainsFunc(list, func(t client.Torrent) bool { return !isComplete(t) }), nil
	})
	d.close()
	return err
}

// isBusy picks what is worth a line when no target is named.
func isBusy(t client.Torrent) bool {
	switch t.State {
	case client.StateMetadata, client.StateDownloading, client.StateChecking, client.StateError:
		return true
	}
	return t.RateUp > 0 || t.RateDown > 0
}
