package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

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
		case *seq < 0 || len(*salt) > 64:
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

// readKey reads a private key, or makes one.
func (a *app) readKey(path string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		_, err = fmt.Fprintln(f, hex.EncodeToString(private.Seed()))
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		a.say("made the key %s: keep it, nobody else can replace what it signs", path)
		return private, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("read the key: %s does not hold 64 hex digits", path)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// nextVersion is one more than the version that the DHT holds.
func nextVersion(ctx context.Context, c *client.Client, private ed25519.PrivateKey, salt string) (int64, error) {
	key := hex.EncodeToString(private.Public().(ed25519.PublicKey))
	i, err := c.DHTItem(ctx, client.DHTKeyPath(key, salt))
	var missing missingError
	switch err = notThere(err); {
	case errors.As(err, &missing):
		return 1, nil
	case err != nil:
		return 0, err
	}
	return i.Seq + 1, nil
}

// sign signs an item as BEP 44 says ("Signature generation").
func sign(req *client.DHTPutRequest, private ed25519.PrivateKey, salt string) {
	var b []byte
	if salt != "" {
		b = fmt.Appendf(b, "4:salt%d:%s", len(salt), salt)
	}
	b = fmt.Appendf(b, "3:seqi%de1:v%s", req.Seq, req.V)
	req.K = hex.EncodeToString(private.Public().(ed25519.PublicKey))
	req.Sig = hex.EncodeToString(ed25519.Sign(private, b))
	if salt != "" {
		req.Salt = []byte(salt)
	}
}
