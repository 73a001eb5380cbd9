package main

import (
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"btd/api/client"
)

func (a *app) statsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "show what the daemon is doing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.json {
				return a.printRaw(cmd.Context(), client.StatsPath)
			}
			c, err := a.connect()
			if err != nil {
				return err
			}
			s, err := c.Stats(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(statsText(s))
		},
	}
}

func statsText(s client.Stats) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s%s\n", name, fmt.Sprintf(format, args...))
	}
	line("Running for", "%s", secondsText(s.UptimeSeconds))
	line("Listening", "port %d", s.ListenPort)
	if s.DHT != "" {
		line("DHT", "%s", clean(s.DHT))
	}
	if s.LSD != "" {
		line("LSD", "%s", clean(s.LSD))
	}
	total := 0
	var states []string
	for _, state := range slices.Sorted(maps.Keys(s.Torrents)) {
		if n := s.Torrents[state]; n > 0 {
			total += n
			states = append(states, fmt.Sprintf("%d %s", n, clean(state)))
		}
	}
	text := fmt.Sprint(total)
	if total > 0 {
		text += ": " + strings.Join(states, ", ")
	}
	line("Torrents", "%s", text)
	line("Peers", "%d", s.Peers)
	line("Downloaded", "%s, now %s", bytesText(s.Downloaded), rateText(s.RateDown))
	line("Uploaded", "%s, now %s", bytesText(s.Uploaded), rateText(s.RateUp))
	line("Corrupt", "%s", bytesText(s.Corrupt))
	line("Buffers", "%s", bytesText(s.MemoryLeased))
	line("Open files", "%d", s.OpenFiles)
	if s.ResumeFailures > 0 {
		line("Resume", "%d writes of the resume database failed: see the daemon's log", s.ResumeFailures)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Counters)) {
		if n := s.Counters[name]; n != 0 {
			line("Counter", "%d %s", n, clean(name))
		}
	}
	return b.String()
}

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "show the versions of btctl and of the daemon",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.json {
				return a.printRaw(cmd.Context(), client.VersionPath)
			}
			if err := a.print(fmt.Sprintf("btctl %s (%s)\n", ownVersion(), runtime.Version())); err != nil {
				return err
			}
			c, err := a.connect()
			if err != nil {
				return err
			}
			v, err := c.Version(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(fmt.Sprintf("btd %s (%s), API %s\n", clean(v.Version), clean(v.Go), clean(v.API)))
		},
	}
}

// ownVersion is what the build recorded.
func ownVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
