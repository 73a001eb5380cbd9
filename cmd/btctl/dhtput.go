package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"btd/api/client"
)

func (a *app) dhtPutCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "put VALUE",
		Short: "store a value in the DHT",
		Long: `Store a value (BEP 44), a text, at the nodes that are closest to it, and print its
target; with --key as a mutable item, which can be replaced by its next version.
Nodes forget items after about two hours: store them again before.

KEYFILE holds the 32 bytes of a private key as hex digits. It is made if it is not
there. The key is not shown to the daemon.`,
		Example: "  btctl dht put 'hello world'\n  btctl dht put --key me.key --salt news 'second edition'",
		Args:    cobra.ExactArgs(1),
	}
	key := cmd.Flags().String("key", "", "sign with the private key in this file: a mutable item")
	salt := cmd.Flags().String("salt", "", "one of several items of the same key, at most 64 bytes")
	seq := cmd.Flags().Int64("seq", 0, "version; without it the next one after that which is there")
	raw := cmd.Flags().Bool("raw", false, "VALUE is bencode already, not a text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		set := cmd.Flags().Changed
		switch {
		case *key == "" && (set("salt") || set("seq")):
			return usagef("--salt and --seq go with --key")
		case *seq < 0 || len(*salt) > maxSalt:
			return usagef("--seq cannot be negative, nor --salt longer than 64 bytes")
		}
		req := client.DHTPutRequest{V: []byte(args[0])}
		if !*raw {
			req.V = fmt.Appendf(nil, "%d:%s", len(args[0]), args[0])
		}
		if len(req.V) > 1000 {
			return usagef("the value has %d bytes with its encoding, at most 1000 can be stored", len(req.V))
		}
		a.patient = true
		c, err := a.connect()
		if err != nil {
			return err
		}
		ctx, cancel := a.deadline(cmd.Context())
		defer cancel()
		if *key != "" {
			private, err := a.readKey(*key)
			if err != nil {
				return err
			}
			if req.Seq = *seq; !set("seq") {
				if req.Seq, err = nextVersion(ctx, c, private, *salt); err != nil {
					return err
				}
			}
			sign(&req, private, *salt)
		}
		out, err := c.DHTPut(ctx, req)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(out)
		}
		if req.K != "" {
			a.say("version %d of key %s", req.Seq, req.K)
		}
		a.say("stored at %s", plural(out.Stored, "node"))
		return a.print(out.Target + "\n")
	}
	return cmd
}

var errHighest = errors.New("the newest version has the highest number that there is: use another key or salt")

// nextVersion is one more than the version that the DHT holds.
func nextVersion(ctx context.Context, c *client.Client, private ed25519.PrivateKey, salt string) (int64, error) {
	i, err := c.DHTItem(ctx, client.DHTKeyPath(publicHex(private), salt))
	var missing missingError
	switch err = notThere(err); {
	case errors.As(err, &missing):
		return 1, nil
	case err != nil:
		return 0, err
	}
	if i.Seq == math.MaxInt64 {
		return 0, errHighest
	}
	return i.Seq + 1, nil
}
