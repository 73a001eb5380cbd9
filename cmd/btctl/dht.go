package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"btd/api/client"
	"btd/metainfo"
)

func (a *app) dhtCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dht",
		Short: "look into the DHT: stats, lookups, items, samples",
		Long: `Look into the DHT, by which peers find each other without a tracker.

Items (BEP 44) are values of at most 1,000 bytes that other nodes keep for
about two hours. An immutable one is found by the hash of its value, a mutable one
by a public key and a salt.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(a.dhtStatsCmd(), a.dhtLookupCmd(), a.dhtGetCmd(), a.dhtPutCmd(), a.dhtSampleCmd())
	return cmd
}

func (a *app) dhtStatsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "show the daemon's part in the DHT",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.json {
				return a.printRaw(cmd.Context(), client.DHTStatsPath)
			}
			c, err := a.connect()
			if err != nil {
				return err
			}
			s, err := c.DHTStats(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(dhtStatsText(s))
		},
	}
}

func dhtStatsText(s client.DHTStats) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s%s\n", name, clean(fmt.Sprintf(format, args...)))
	}
	line("DHT", "%s", s.Status)
	if s.Port == 0 {
		return b.String()
	}
	line("Listening", "UDP port %d", s.Port)
	line("Torrents", "%d announced", s.Torrents)
	if s.Busy+s.Dropped+s.ReadErrors > 0 {
		line("Trouble", "%d searches had no place, %d packets dropped, %d read errors", s.Busy, s.Dropped, s.ReadErrors)
	}
	for _, one := range []struct {
		name string
		node *client.DHTNode
	}{{"IPv4", s.IPv4}, {"IPv6", s.IPv6}} {
		n := one.node
		if n == nil {
			continue
		}
		external := n.External
		if external == "" {
			external = "not known"
		}
		line(one.name, "%s", n.ID)
		line("  Status", "%s", n.Status)
		line("  Address", "%s", external)
		line("  Searches", "%d so far, %d now, %d waiting", n.Searches, n.Running, n.Waiting)
		line("  Asked", "%s; %d answered, %d not", countsText(n.QueriesOut), n.Replies, n.TimedOut)
		line("  Served", "%s", countsText(n.QueriesIn))
		line("  Keeps", "%d peers of %d torrents, %d items", n.HeldPeers, n.HeldTorrents, n.HeldItems)
		line("  Traffic", "%s in, %s out", bytesText(n.BytesIn), bytesText(n.BytesOut))
		if len(n.Refused) > 0 {
			line("  Refused", "%s", countsText(n.Refused))
		}
	}
	return b.String()
}

// countsText names counts, the greatest first.
func countsText(m map[string]int64) string {
	names := slices.SortedFunc(maps.Keys(m), func(x, y string) int {
		if d := m[y] - m[x]; d != 0 {
			return int(max(-1, min(1, d)))
		}
		return strings.Compare(x, y)
	})
	names = slices.DeleteFunc(names, func(name string) bool { return m[name] == 0 })
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", m[name], name)
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func (a *app) dhtLookupCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "lookup HASH",
		Short: "search for the peers of a torrent, and show how",
		Long: `Search for the peers of a torrent, which the daemon need not know, and show each
step: who was asked, its distance to the hash (so many bits are left), how long
it took, what it gave, and who was dead. Nothing is announced.

HASH has 40 hex digits, or is a magnet link.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			hash, err := hashOf(args[0])
			if err != nil {
				return err
			}
			c, err := a.connect()
			if err != nil {
				return err
			}
			ctx, cancel := a.deadline(cmd.Context())
			defer cancel()
			for e, err := range c.DHTLookup(ctx, hash) {
				if err == nil && a.json {
					err = a.printJSON(e)
				} else if err == nil {
					err = a.print(traceText(e))
				}
				if err != nil {
					return cmpErr(ctx, err)
				}
			}
			return nil
		},
	}
}

// cmpErr prefers the end of ctx to what came of it.
func cmpErr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func hashOf(s string) (string, error) {
	if strings.HasPrefix(strings.ToLower(s), "magnet:") {
		m, err := metainfo.ParseMagnet(s)
		if err != nil {
			return "", usageError{err.Error()}
		}
		if !m.Secret.IsZero() {
			return "", usagef("the link has a secret: its torrent is not to be named in the DHT")
		}
		w := m.Hash.Wire()
		return hex.EncodeToString(w[:]), nil
	}
	h, err := metainfo.ParseHash(s)
	if err != nil {
		return "", usagef("%q is no info-hash: want 40 hex digits, or a magnet link", s)
	}
	w := h.Wire()
	return hex.EncodeToString(w[:]), nil
}

// traceText is one step of a lookup on a line.
func traceText(e client.DHTEvent) string {
	at := fmt.Sprintf("%7.0f ms  ", e.AfterMS)
	if e.Kind == "peers" {
		return at + "peers     " + clean(strings.Join(e.Peers, " ")) + "\n"
	}
	if f := e.Found; f != nil {
		text := fmt.Sprintf("%sfound     %s, %d queries, %d replies, %s close to the hash\n", at, plural(f.Peers, "peer"), f.Queries, f.Replies, plural(f.Closest, "node"))
		if f.FirstMS > 0 {
			text += fmt.Sprintf("%sfirst     after %.0f ms\n", at, f.FirstMS)
		}
		if f.EstimatedSeeds+f.EstimatedPeers > 0 {
			text += fmt.Sprintf("%sswarm     about %.0f seeds and %.0f others\n", at, f.EstimatedSeeds, f.EstimatedPeers)
		}
		return text
	}
	if e.Kind == "finished" {
		return at + "finished\n"
	}
	var gave []string
	add := func(when bool, format string, args ...any) {
		if when {
			gave = append(gave, fmt.Sprintf(format, args...))
		}
	}
	add(e.Again, "again")
	add(e.Kind == "stalled", "no answer yet: another is asked in its place")
	add(e.Kind == "timed out", "dead")
	add(e.RTTMS > 0, "after %.0f ms", e.RTTMS)
	add(e.Late, "late")
	add(e.Values, "peers")
	add(e.Named > 0, "names %d, %d of them new", e.Named, e.New)
	add(e.Why != "", "%s", e.Why)
	text := fmt.Sprintf("%s%-9s hop %d  %3d bits  %-21s  %s", at, clean(e.Kind), e.Hop, e.Bits, clean(e.Addr), clean(strings.Join(gave, ", ")))
	return strings.TrimRight(text, " ") + "\n"
}

func (a *app) dhtGetCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "get [TARGET]",
		Short:   "fetch a value from the DHT",
		Long:    "Fetch a value (BEP 44): an immutable one by its target, 40 hex digits, or the\nnewest one of a public key.",
		Example: "  btctl dht get 8a1b…\n  btctl dht get --key 77ff… --salt news",
		Args:    cobra.MaximumNArgs(1),
	}
	key := cmd.Flags().String("key", "", "public key of a mutable item, 64 hex digits")
	salt := cmd.Flags().String("salt", "", "salt of the mutable item")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case (len(args) == 1) == (*key != ""):
			return usagef("give either the target or --key")
		case len(args) == 1 && *salt != "":
			return usagef("--salt goes with --key")
		case *key != "" && !isHex(*key, 32):
			return usagef("--key has to have 64 hex digits")
		case *key == "" && !isHex(args[0], 20):
			return usagef("%q is no target: want 40 hex digits", args[0])
		}
		path := client.DHTKeyPath(*key, *salt)
		if *key == "" {
			path = client.DHTItemPath(args[0])
		}
		a.patient = true
		ctx, cancel := a.deadline(cmd.Context())
		defer cancel()
		if a.json {
			return notThere(a.printRaw(ctx, path))
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		i, err := c.DHTItem(ctx, path)
		if err != nil {
			return notThere(err)
		}
		if i.K != "" {
			a.say("version %d", i.Seq)
		}
		return a.print(valueText(i.V) + "\n")
	}
	return cmd
}

func isHex(s string, size int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == size
}

// notThere makes "not found" speak of items.
func notThere(err error) error {
	var answer *client.Error
	if errors.As(err, &answer) && answer.Code == client.CodeNotFound {
		return missingError{answer.Message}
	}
	return err
}

// valueText is a string as itself, and any other value as it is encoded.
func valueText(v []byte) string {
	if s, ok := stringOf(v); ok {
		return cleanLines(s)
	}
	return clean(string(v))
}

// stringOf reads a bencoded string.
func stringOf(v []byte) (string, bool) {
	head, rest, ok := strings.Cut(string(v), ":")
	if !ok || head != fmt.Sprint(len(rest)) {
		return "", false
	}
	return rest, true
}
