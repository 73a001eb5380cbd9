package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"btd/api/client"
	"btd/metainfo"
)

type followFlags struct {
	salt, dir                string
	keep, drop, now, stop    bool
	dirSet, saltSet, keepSet bool
}

func (a *app) followCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "follow [PUBKEY|MAGNET]",
		Short: "download what a key names, and each newer version of it",
		Long: `Follow a public key (BEP 46): the torrent that its owner named last in the DHT is
downloaded, and when he names another, that one takes its place. Without a key
list what is followed.

PUBKEY has 64 hex digits; MAGNET is a link that names one (magnet:?xs=urn:btpk:...).
The DHT is asked about once an hour, more often while nothing is found, and at
once with --now. A lower number than that of the version in use never counts.

A new version goes to the same directory. What is there already is verified, and
only pieces that changed are fetched. The old torrent is removed once the metadata
of the new one is here; files that only the old one had stay on disk. With
--keep-old nothing of the old one is touched: each version has a directory of its
own, version-N, and files that did not change are copied there.

--stop ends following; the version in use stays as it is. It takes the beginning
of a key too.`,
		Example: "  btctl follow 77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548 --dir /srv/news\n" +
			"  btctl follow 'magnet:?xs=urn:btpk:77ff…&s=6e657773' --keep-old\n  btctl follow --now 77ff8490\n  btctl follow --stop 77ff8490",
		Args: cobra.MaximumNArgs(1),
	}
	var f followFlags
	flags := cmd.Flags()
	flags.StringVar(&f.salt, "salt", "", "one of several items of the key, at most 64 bytes")
	flags.StringVar(&f.dir, "dir", "", "download directory (default the daemon's)")
	flags.StringVar(&f.dir, "path", "", "the same")
	_ = flags.MarkHidden("path")
	flags.BoolVar(&f.keep, "keep-old", false, "keep old versions")
	flags.BoolVar(&f.drop, "drop-old", false, "let each version take the place of the one before (as without it)")
	flags.BoolVar(&f.now, "now", false, "ask the DHT at once, and wait for the answer")
	flags.BoolVar(&f.stop, "stop", false, "end following")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		set := cmd.Flags().Changed
		f.dirSet, f.saltSet, f.keepSet = set("dir") || set("path"), set("salt"), set("keep-old") || set("drop-old")
		switch {
		case len(f.salt) > maxSalt:
			return usagef("--salt cannot be longer than %d bytes", maxSalt)
		case f.keep && f.drop:
			return usagef("--keep-old and --drop-old exclude each other")
		case len(args) == 0 && (f.dirSet || f.saltSet || f.keepSet || f.now || f.stop):
			return usagef("say which key: btctl follow PUBKEY")
		case len(args) == 0:
			return a.listFollows(cmd.Context())
		case f.stop && (f.dirSet || f.keepSet || f.now):
			return usagef("--stop ends following: no other option but --salt goes with it")
		case f.stop:
			return a.unfollow(cmd.Context(), args[0], f)
		}
		a.patient = true
		ctx, cancel := a.deadline(cmd.Context())
		defer cancel()
		return a.followKey(ctx, args[0], f)
	}
	return cmd
}

func (a *app) followKey(ctx context.Context, word string, f followFlags) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	if f.now && !f.dirSet && !f.keepSet && !isKey(word) {
		x, err := a.chooseFollow(ctx, c, word, f.salt)
		if err != nil {
			return err
		}
		return a.look(ctx, c, x.id)
	}
	req, err := followRequest(word, f)
	if err != nil {
		return err
	}
	v, err := c.Follow(ctx, req)
	if err != nil {
		return err
	}
	if f.now {
		return a.look(ctx, c, v.ID)
	}
	return a.reportFollow(v, v)
}

// isKey tells whether a word says all of a key.
func isKey(word string) bool {
	return isHex(word, 32) || strings.HasPrefix(strings.ToLower(word), "magnet:")
}

func followRequest(word string, f followFlags) (client.FollowRequest, error) {
	var req client.FollowRequest
	if f.keepSet {
		req.KeepOld = &f.keep
	}
	if f.dirSet {
		var err error
		if req.Dir, err = absoluteDir("--dir", f.dir); err != nil {
			return req, err
		}
	}
	if isHex(word, 32) {
		req.Key = strings.ToLower(word)
		if f.salt != "" {
			req.Salt = []byte(f.salt)
		}
		return req, nil
	}
	m, err := metainfo.ParseMagnet(word)
	switch {
	case err != nil && !strings.HasPrefix(strings.ToLower(word), "magnet:"):
		return req, usagef("%q is no public key: want 64 hex digits, or a magnet link", word)
	case err != nil:
		return req, usageError{err.Error()}
	case m.Key == nil:
		return req, usagef("the link names no key (xs=urn:btpk:...): add it with btctl add")
	case f.saltSet && string(m.Salt) != f.salt:
		m.Salt = []byte(f.salt)
	}
	req.Magnet = m.String()
	return req, nil
}

// reportFollow says what is followed now; answer is what the daemon said.
func (a *app) reportFollow(v client.Follow, answer any) error {
	switch {
	case v.Current != nil:
		a.say("following %s: version %d is %s", followName(v), v.Current.Seq, v.Current.Torrent)
	default:
		a.say("following %s: the DHT is asked for its newest version", followName(v))
	}
	if a.json {
		return a.printJSON(answer)
	}
	return a.print(v.ID + "\n")
}

func followName(v client.Follow) string {
	if v.Name != "" {
		return v.Name
	}
	return v.Key
}

// look asks the DHT for news and tells what there is.
func (a *app) look(ctx context.Context, c *client.Client, id string) error {
	v, err := c.Look(ctx, id)
	if err != nil {
		return notThere(err)
	}
	if v.Problem != "" {
		a.say("problem: %s", v.Problem)
	}
	switch {
	case v.Next != nil:
		a.say("version %d is %s: its metadata is asked of peers", v.Next.Seq, v.Next.Torrent)
	case v.Current != nil:
		a.say("version %d is the newest: %s", v.Current.Seq, v.Current.Torrent)
	default:
		a.say("nothing is published yet: it is looked for again")
	}
	if a.json {
		return a.printJSON(v)
	}
	return a.print(v.ID + "\n")
}

func (a *app) listFollows(ctx context.Context) error {
	if a.json {
		return a.printRaw(ctx, client.FollowsPath)
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	list, err := c.Follows(ctx)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		a.say("Nothing is followed. Follow a key with: btctl follow PUBKEY")
		return nil
	}
	t := newTable("KEY", "SALT", ">VERSION", "TORRENT", ">NEXT", "OLD", "ASKED", "DIR", "NAME")
	for _, v := range list {
		old := "drop"
		if v.KeepOld {
			old = "keep"
		}
		version, torrent, next := nothing, nothing, nothing
		if v.Current != nil {
			version, torrent = fmt.Sprint(v.Current.Seq), v.Current.Torrent[:min(8, len(v.Current.Torrent))]
		}
		if v.Next != nil {
			next = fmt.Sprint(v.Next.Seq)
		}
		name := orNothing(v.Name)
		if v.Problem != "" {
			name += "  (" + clean(v.Problem) + ")"
		}
		t.row(shortKey(v.Key), saltText(v.Salt), version, torrent, next, old, timeText(v.Looked), clean(v.Dir), name)
	}
	return a.printTable(t)
}

func (a *app) chooseFollow(ctx context.Context, c *client.Client, word, salt string) (keyed, error) {
	list, err := c.Follows(ctx)
	if err != nil {
		return keyed{}, err
	}
	var all []keyed
	for _, v := range list {
		all = append(all, keyed{id: v.ID, key: v.Key, name: v.Name, salt: v.Salt})
	}
	return choose(all, word, salt)
}

func (a *app) unfollow(ctx context.Context, word string, f followFlags) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	x, err := a.chooseFollow(ctx, c, word, f.salt)
	if err != nil {
		return err
	}
	if err := c.Unfollow(ctx, x.id); err != nil {
		return notThere(err)
	}
	a.say("%s is not followed any more; the version in use stays", x.key)
	return nil
}

// keyLink is the link that a publisher gives away.
func keyLink(key []byte, salt, name string) string {
	m := metainfo.Magnet{Key: key, Name: name}
	if salt != "" {
		m.Salt = []byte(salt)
	}
	return m.String()
}
