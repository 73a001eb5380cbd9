package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"btd/api/client"
)

func (a *app) priorityCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "priority TARGET [skip|low|normal|high FILE...]",
		Short: "say which files of a torrent come first, or not at all",
		Long: `Set the priority of files, or the order of a torrent's pieces.

FILE is an index as btctl files shows it, a range of them (2-5), or a pattern
(*.mkv, extras/*). A pattern without a slash fits the names of files and
directories; a directory stands for all that is in it. Quote patterns, so that
the shell leaves them alone.`,
		Example:           "  btctl priority debian skip '*.nfo' 3-5\n  btctl priority debian --sequential",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completePriority,
	}
	sequential := cmd.Flags().Bool("sequential", false, "fetch pieces in order (--sequential=false: rarest first)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ordered := cmd.Flags().Changed("sequential")
		level := ""
		switch {
		case len(args) == 1 && !ordered:
			return usagef("say what is to change: a priority and files, or --sequential")
		case len(args) == 2:
			return usagef("name the files, or '*' for all")
		case len(args) > 2:
			level = strings.ToLower(args[1])
			if !isPriority(level) {
				return usagef("priority %q is none of skip, low, normal, high", args[1])
			}
		}
		ctx := cmd.Context()
		list, err := a.targets(ctx, args[:1])
		if err != nil {
			return err
		}
		t := list[0]
		if level != "" {
			files, err := a.daemon.Files(ctx, t.ID)
			if err != nil {
				return err
			}
			if len(files) == 0 {
				return fmt.Errorf("%s: its files are not known before its metadata is here: btctl show says how far that is", t.Name)
			}
			chosen, err := chooseFiles(namesOf(files), t.Single, args[2:])
			if err != nil {
				return err
			}
			set := make(map[int]string, len(chosen))
			for _, i := range chosen {
				set[i] = level
			}
			if err := a.daemon.SetPriorities(ctx, t.ID, set); err != nil {
				return err
			}
			a.say("%s: %s for %s", t.Name, level, plural(len(chosen), "file"))
		}
		if ordered {
			if err := a.daemon.Patch(ctx, t.ID, client.TorrentPatch{Sequential: sequential}); err != nil {
				return err
			}
			a.say("%s: %s", t.Name, orderText(*sequential))
		}
		return nil
	}
	return cmd
}

func (a *app) completePriority(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return a.completeTargets(cmd, args, word)
	case 1:
		return []string{client.PrioritySkip, client.PriorityLow, client.PriorityNormal, client.PriorityHigh}, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func isPriority(s string) bool {
	switch s {
	case client.PrioritySkip, client.PriorityLow, client.PriorityNormal, client.PriorityHigh:
		return true
	}
	return false
}

func namesOf(files []client.File) []named {
	out := make([]named, len(files))
	for i, f := range files {
		out[i] = named{index: f.Index, path: f.Path, pad: f.Pad}
	}
	return out
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
