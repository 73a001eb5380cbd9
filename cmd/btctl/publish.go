package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/spf13/cobra"

	"btd/api/client"
)

type publishFlags struct {
	salt          string
	seq           int64
	newKey, fixed bool
}

func (a *app) publishCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "publish KEYFILE TARGET",
		Short: "tell the followers of a key which torrent is the current version",
		Long: `Publish a torrent as the current version of a key (BEP 46), and print the magnet
link to give away: whoever follows it downloads the torrent, and each newer version
that is published with the same key and salt.

KEYFILE holds the 32 bytes of a private key as hex digits, as for btctl dht put.
--new-key makes it if it is not there. The key does not leave btctl: the daemon
is given what it signed, and stores that again each hour, over restarts too. btctl
and the daemon take the number that follows the highest one in the DHT and here.

--list shows what is published, --stop ends it: nodes of the DHT forget it within
two hours, and the number is remembered. Of whoever has the torrent already, nothing
is taken away.`,
		Example: "  btctl publish --new-key me.key debian --salt news\n  btctl publish me.key debian-13.1 --salt news\n" +
			"  btctl publish --list\n  btctl publish --stop me.key --salt news",
		Args: cobra.MaximumNArgs(2),
	}
	var f publishFlags
	flags := cmd.Flags()
	flags.StringVar(&f.salt, "salt", "", "one of several items of the same key, at most 64 bytes")
	flags.Int64Var(&f.seq, "seq", 0, "number of the version; without it the next one")
	flags.BoolVar(&f.newKey, "new-key", false, "make KEYFILE if it is not there")
	list := flags.Bool("list", false, "show what is published")
	stop := flags.Bool("stop", false, "end publishing for KEYFILE, or a public key")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		set := cmd.Flags().Changed
		f.fixed = set("seq")
		switch {
		case f.seq < 0 || len(f.salt) > maxSalt:
			return usagef("--seq cannot be negative, nor --salt longer than %d bytes", maxSalt)
		case (*list || *stop) && (f.newKey || f.fixed), *list && (*stop || set("salt") || len(args) > 0):
			return usagef("--list and --stop publish nothing")
		case *list:
			return a.listPublications(cmd.Context())
		case *stop && len(args) == 1:
			return a.unpublish(cmd.Context(), args[0], f.salt)
		case *stop:
			return usagef("say of which key: btctl publish --stop KEYFILE")
		case len(args) != 2:
			return usagef("say with which key, and which torrent: btctl publish KEYFILE TARGET")
		}
		a.patient = true
		ctx, cancel := a.deadline(cmd.Context())
		defer cancel()
		return a.publish(ctx, args[0], args[1], f)
	}
	return cmd
}

func (a *app) publish(ctx context.Context, file, target string, f publishFlags) error {
	list, err := a.targets(ctx, []string{target})
	if err != nil {
		return err
	}
	hash, err := hex.DecodeString(list[0].ID)
	switch {
	case err != nil || len(hash) != 20:
		return usagef("%s has no v1 info-hash, which an item needs", list[0].Name)
	case list[0].Private:
		return usagef("%s is private: who follows could not find its peers", list[0].Name)
	}
	private, err := a.keyOf(file, f.newKey)
	if err != nil {
		return err
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	req := client.DHTPutRequest{V: fmt.Appendf(nil, "d2:ih20:%se", hash), Seq: f.seq}
	if !f.fixed {
		if req.Seq, err = nextNumber(ctx, c, private, f.salt); err != nil {
			return fmt.Errorf("finding the number of the next version (--seq gives it): %w", err)
		}
	}
	sign(&req, private, f.salt)
	v, err := c.Publish(ctx, client.PublishRequest(req))
	if err != nil {
		return err
	}
	if v.Problem != "" || v.Stored == 0 {
		a.say("not in the DHT yet, btd tries again: %s", v.Problem)
	}
	a.say("version %d of key %s is %s, stored at %s", v.Seq, v.Key, list[0].Name, plural(v.Stored, "node"))
	link := keyLink(private.Public().(ed25519.PublicKey), f.salt, list[0].Name)
	if a.json {
		a.say("%s", link)
		return a.printJSON(v)
	}
	return a.print(link + "\n")
}

// keyOf reads the key, and makes it only if that is wished.
func (a *app) keyOf(file string, make bool) (ed25519.PrivateKey, error) {
	if make {
		return a.readKey(file)
	}
	key, err := loadKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no key at %s: btctl publish --new-key %s TARGET makes one", file, file)
	}
	return key, err
}

// nextNumber is one more than the highest number in the DHT and of what the
// daemon published or followed.
func nextNumber(ctx context.Context, c *client.Client, private ed25519.PrivateKey, salt string) (int64, error) {
	next, err := nextVersion(ctx, c, private, salt)
	if err != nil {
		return 0, err
	}
	id := itemID(private.Public().(ed25519.PublicKey), []byte(salt))
	pubs, err := c.Publications(ctx)
	if err != nil {
		return 0, err
	}
	follows, err := c.Follows(ctx)
	if err != nil {
		return 0, err
	}
	var known []int64
	for _, p := range pubs {
		if p.ID == id {
			known = append(known, p.Seq)
		}
	}
	for _, f := range follows {
		for _, v := range []*client.FollowVersion{f.Current, f.Next} {
			if f.ID == id && v != nil {
				known = append(known, v.Seq)
			}
		}
	}
	for _, seq := range known {
		if seq == math.MaxInt64 {
			return 0, errHighest
		}
		next = max(next, seq+1)
	}
	return next, nil
}

func (a *app) listPublications(ctx context.Context) error {
	if a.json {
		return a.printRaw(ctx, client.PublicationsPath)
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	list, err := c.Publications(ctx)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		a.say("Nothing is published. Publish a torrent with: btctl publish --new-key KEYFILE TARGET")
		return nil
	}
	t := newTable("KEY", "SALT", ">VERSION", "TORRENT", "STATE", ">NODES", "STORED", "NAME")
	for _, v := range list {
		state := "alive"
		switch {
		case v.Stopped:
			state = "stopped"
		case v.Problem != "":
			state = "problem"
		}
		name := orNothing(v.Name)
		if v.Problem != "" {
			name += "  (" + clean(v.Problem) + ")"
		}
		t.row(shortKey(v.Key), saltText(v.Salt), fmt.Sprint(v.Seq), orNothing(v.Torrent[:min(8, len(v.Torrent))]), state, fmt.Sprint(v.Stored), timeText(v.Looked), name)
	}
	return a.printTable(t)
}

func (a *app) unpublish(ctx context.Context, word, salt string) error {
	if private, err := loadKey(word); err == nil {
		word = itemID(private.Public().(ed25519.PublicKey), []byte(salt))
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	list, err := c.Publications(ctx)
	if err != nil {
		return err
	}
	var all []keyed
	for _, v := range list {
		if !v.Stopped {
			all = append(all, keyed{id: v.ID, key: v.Key, name: v.Name, salt: v.Salt})
		}
	}
	x, err := choose(all, word, salt)
	if err != nil {
		return err
	}
	if err := c.Unpublish(ctx, x.id); err != nil {
		return notThere(err)
	}
	a.say("%s is not kept alive any more: the DHT forgets it within two hours", x.key)
	return nil
}
