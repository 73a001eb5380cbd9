package main

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"btd/api/client"
)

// eachCmd is a command that does the same to every target. With --all it
// leaves out those that omit (nil: none) picks.
func (a *app) eachCmd(use, short, done string, omit func(client.Torrent) bool, do func(context.Context, *client.Client, string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:               use + " TARGET... | --all",
		Short:             short,
		ValidArgsFunction: a.completeTargets,
	}
	all := cmd.Flags().Bool("all", false, "every torrent")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		list, err := a.chosen(cmd.Context(), args, *all)
		if err != nil {
			return err
		}
		if *all && omit != nil {
			n := len(list)
			if list = slices.DeleteFunc(list, omit); len(list) < n {
				a.say("left out %s: stopped or queued", plural(n-len(list), "torrent"))
			}
		}
		return a.each(list, done, func(t client.Torrent) error { return do(cmd.Context(), a.daemon, t.ID) })
	}
	return cmd
}

// chosen is what the words name, or everything.
func (a *app) chosen(ctx context.Context, words []string, all bool) ([]client.Torrent, error) {
	switch {
	case all && len(words) > 0:
		return nil, usagef("--all and a target exclude each other")
	case !all && len(words) == 0:
		return nil, usagef("name a torrent, or use --all")
	case !all:
		return a.targets(ctx, words)
	}
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	return c.Torrents(ctx)
}

// each goes on where one of several fails, and fails in the end.
func (a *app) each(list []client.Torrent, done string, do func(client.Torrent) error) error {
	var failed error
	for _, t := range list {
		if err := do(t); err != nil {
			failed = a.alsoFailed(failed, t.Name, err)
		} else {
			a.say("%s %s", done, t.Name)
		}
	}
	return failed
}

// alsoFailed keeps the first of several errors for the end, and says what the
// others are.
func (a *app) alsoFailed(first error, name string, err error) error {
	if first == nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_, text := explain(err)
	a.say("btctl: %s: %s", name, text)
	return first
}

func (a *app) startCmd() *cobra.Command {
	return a.eachCmd("start", "let torrents run", "started", nil,
		func(ctx context.Context, c *client.Client, id string) error { return c.Start(ctx, id) })
}

func (a *app) stopCmd() *cobra.Command {
	return a.eachCmd("stop", "stop torrents until they are started", "stopped", nil,
		func(ctx context.Context, c *client.Client, id string) error { return c.Stop(ctx, id) })
}

func (a *app) verifyCmd() *cobra.Command {
	return a.eachCmd("verify", "check the data of torrents against their hashes", "checking", nil,
		func(ctx context.Context, c *client.Client, id string) error { return c.Verify(ctx, id) })
}

func (a *app) reannounceCmd() *cobra.Command {
	idle := func(t client.Torrent) bool { return t.State == client.StateStopped || t.State == client.StateQueued }
	cmd := a.eachCmd("reannounce", "ask the trackers of torrents for peers", "announcing", idle,
		func(ctx context.Context, c *client.Client, id string) error { return c.Reannounce(ctx, id) })
	cmd.Long = "Ask the trackers of torrents, as far as they allow it, and the DHT for peers now. --all leaves out torrents that are stopped or queued."
	return cmd
}

func (a *app) rmCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "rm TARGET... | --all",
		Aliases:           []string{"remove"},
		Short:             "forget torrents, and delete their data with --data",
		Long:              "Forget torrents. Their data stays where it is unless --data is given. On a terminal there is a question first.",
		ValidArgsFunction: a.completeTargets,
	}
	f := cmd.Flags()
	all := f.Bool("all", false, "every torrent")
	data := f.Bool("data", false, "delete the data too")
	yes := f.BoolP("yes", "y", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a.patient = true // deleting takes as long as it takes
		list, err := a.chosen(cmd.Context(), args, *all)
		if err != nil || len(list) == 0 {
			return err
		}
		if a.inTTY && !*yes {
			if err := a.confirm(cmd.Context(), list, *data); err != nil {
				a.say("Nothing was removed.")
				return err
			}
		}
		return a.each(list, "removed", func(t client.Torrent) error { return a.daemon.Remove(cmd.Context(), t.ID, *data) })
	}
	return cmd
}

// confirm asks a person, and gives errDeclined if the answer is no.
func (a *app) confirm(ctx context.Context, list []client.Torrent, data bool) error {
	const most = 10
	for i, t := range list {
		if i == most {
			a.say("  and %d more", len(list)-most)
			break
		}
		a.say("  %s (%s, %s)", t.Name, bytesText(t.Size), t.Dir)
	}
	what := "1 torrent"
	if len(list) != 1 {
		what = fmt.Sprintf("%d torrents", len(list))
	}
	if data {
		what += " AND DELETE THE DATA"
	}
	fmt.Fprintf(a.err, "Remove %s? [y/N] ", what)
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	line, err := bufio.NewReader(readerOf(ctx, a.in)).ReadString('\n')
	if err != nil && (line == "" || ctx.Err() != nil) {
		fmt.Fprintln(a.err)
	}
	if ctx.Err() != nil { // half an answer is none
		return fmt.Errorf("waiting for an answer: %w", ctx.Err())
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errDeclined
	}
	return nil
}
