package main

import (
	crand "crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"btd/api/client"
)

func (a *app) dhtSampleCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "sample [TARGET]",
		Short: "ask nodes of the DHT which torrents they know",
		Long: `Ask the nodes on the way to TARGET, 40 hex digits, and those next to it which
torrents they keep peers of (BEP 51), and print their info-hashes. Without TARGET
it is a random place. Each node is asked no more often than it wants to be.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var at [20]byte
			if _, err := crand.Read(at[:]); err != nil {
				return fmt.Errorf("choose a place: %w", err)
			}
			target := hex.EncodeToString(at[:])
			if len(args) == 1 {
				if target = args[0]; !isHex(target, len(at)) {
					return usagef("%q is no target: want 40 hex digits", target)
				}
			}
			a.patient = true
			ctx, cancel := a.deadline(cmd.Context())
			defer cancel()
			if a.json {
				return a.printRaw(ctx, client.DHTSamplePath(target))
			}
			c, err := a.connect()
			if err != nil {
				return err
			}
			s, err := c.DHTSample(ctx, target)
			if err != nil {
				return err
			}
			a.say("%s of %s that know %d", plural(len(s.Hashes), "torrent"), plural(s.Nodes, "node"), s.Kept)
			var b strings.Builder
			for _, h := range s.Hashes {
				b.WriteString(clean(h) + "\n")
			}
			return a.print(b.String())
		},
	}
}
