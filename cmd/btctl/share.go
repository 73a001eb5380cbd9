package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"btd/api/client"
	"btd/metainfo"
)

type shareFlags struct {
	contentFlags
	url, secret bool
}

func (a *app) shareCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "share PATH",
		Short: "give a file or directory to the local network, and print what others join with",
		Long: `Share a file or directory with other machines of the local network, and print
one line. On each of them, btctl join takes that line; nothing else has to be
typed. The files stay where they are.

The line is a magnet link, with --url the address of the .torrent file at the
daemon's tracker. Sharing the same files again prints the same line.

The torrent has scope lan: its peers are in private and link-local networks
only, and it is not in the DHT. The daemon's own tracker is switched on if it
is off (TCP and UDP port 6969 unless told otherwise), and its machines find
each other without it as well, by multicast.

Without a secret everybody in the local network can join. With --secret only
those who have the whole line can, and all that is sent is encrypted. The
secret is behind the # of the line: whoever sees the line has it.

What cannot be shared as it is (symbolic links, sockets, files that may not be
read) is an error that names it; see btctl create.`,
		Example: "  btctl share /srv/images/desktop.img\n  btctl share photos --exclude '*.tmp' --url",
		Args:    cobra.ExactArgs(1),
	}
	var f shareFlags
	flags := cmd.Flags()
	flags.BoolVar(&f.secret, "secret", false, "make a secret: only those who have the line can join")
	flags.BoolVar(&f.url, "url", false, "print the address of the .torrent file instead of a magnet link")
	f.register(flags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.share(cmd.Context(), args[0], f) }
	return cmd
}

// shared is what is printed with --json.
type shared struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Size    int64  `json:"size"` // bytes
	Existed bool   `json:"existed"`
	client.ShareResponse
}

func (a *app) share(ctx context.Context, name string, f shareFlags) error {
	if f.secret && f.url {
		return usagef("--secret and --url exclude each other: the .torrent file of a closed swarm is for its members only")
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	at, err := sharedPath(name)
	if err != nil {
		return err
	}
	a.patient = true // the daemon may have much to sync
	c, err := a.connect()
	if err != nil {
		return err
	}
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	if _, err := c.Version(ctx); err != nil { // before an hour of hashing
		return err
	}
	began := time.Now()
	b, err := a.makeTorrent(ctx, at, o, f.skip)
	if err != nil {
		return err
	}
	m, err := metainfo.Parse(b)
	if err != nil {
		return err
	}
	req := client.AddRequest{Torrent: b, Dir: filepath.Dir(at), Scope: client.ScopeLAN, Seen: fingerprint(m, filepath.Dir(at), began)}
	added, err := addShared(ctx, c, m.Hash.String(), req, f.secret)
	if err != nil {
		return err
	}
	if err := a.ready(ctx, c, added, req); err != nil {
		return err
	}
	s, err := c.Share(ctx, added.Torrent.ID)
	if err != nil {
		return err
	}
	return a.reportShared(shared{ID: added.Torrent.ID, Name: m.Name, Size: m.Total, Existed: added.Existed, ShareResponse: s}, f)
}

// addShared adds what is to be shared, unless it is there: then it keeps its
// secret, or has none.
func addShared(ctx context.Context, c *client.Client, id string, req client.AddRequest, secret bool) (client.AddResponse, error) {
	t, err := c.Torrent(ctx, id)
	var answer *client.Error
	switch {
	case err == nil && secret && !t.Options.Secret:
		return client.AddResponse{}, fmt.Errorf("btd shares %s already, without a secret: %s", t.Name, removeFirst(t))
	case err == nil && t.Metadata == nil:
		return client.AddResponse{Torrent: t, Existed: true}, nil
	case err != nil && !(errors.As(err, &answer) && answer.Code == client.CodeNotFound):
		return client.AddResponse{}, err
	}
	if secret {
		key, err := metainfo.NewSecret(rand.Reader)
		if err != nil {
			return client.AddResponse{}, err
		}
		req.Secret = key.String()
	}
	return c.Add(ctx, req)
}

// removeFirst says how to share something in another way.
func removeFirst(t client.Torrent) string {
	return "remove it first (btctl rm " + t.ID[:8] + "; the files stay), and share again"
}

// sharedPath is where the files are, without a symbolic link in it: the
// daemon follows none.
func sharedPath(name string) (string, error) {
	full, err := filepath.Abs(name)
	if err == nil {
		full, err = filepath.EvalSymlinks(full)
	}
	var path *os.PathError
	switch {
	case errors.As(err, &path):
		return "", fmt.Errorf("%s: %w", name, path.Err)
	case err != nil:
		return "", fmt.Errorf("%s: %w", name, err)
	case !utf8.ValidString(full):
		return "", fmt.Errorf("%q is not UTF-8, which the API needs", full)
	}
	return full, nil
}

// racy is how long before hashing begins a file must have been left alone for
// its time to tell whether it changed since: clocks of file systems are coarse.
const racy = 100 * time.Millisecond

// fingerprint describes the files below dir, which were hashed since began:
// the daemon need not hash them again. It is "" if one of them may have changed
// meanwhile.
func fingerprint(m *metainfo.Metainfo, dir string, began time.Time) string {
	errTouched := errors.New("it may have changed")
	f, err := m.Fingerprint(func(i int) (size, modTime int64, err error) {
		fi, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(m.Files[i].Path)))
		switch {
		case err != nil:
			return 0, 0, err
		case !fi.Mode().IsRegular() || fi.Size() != m.Files[i].Length || fi.ModTime().After(began.Add(-racy)):
			return 0, 0, errTouched
		}
		return fi.Size(), fi.ModTime().UnixNano(), nil
	})
	if err != nil {
		return ""
	}
	return f.String()
}

// ready waits until the daemon has verified what it has to, and says why it
// cannot share what was added.
func (a *app) ready(ctx context.Context, c *client.Client, added client.AddResponse, req client.AddRequest) error {
	t := added.Torrent
	switch {
	case !added.Existed:
	case t.Options.Scope != client.ScopeLAN:
		return fmt.Errorf("btd has %s already, and offers it to the internet: %s", t.Name, removeFirst(t))
	case t.Dir != req.Dir && !isComplete(t):
		return fmt.Errorf("btd has %s already, in %s, and not all of it there: %s", t.Name, t.Dir, removeFirst(t))
	case t.State == client.StateStopped:
		if err := c.Start(ctx, t.ID); err != nil {
			return err
		}
	}
	if isComplete(t) && t.State != client.StateError {
		return nil
	}
	d := a.newDisplay(a.err, a.errTTY, 0)
	defer d.close()
	return a.follow(ctx, d, []string{t.ID}, func(list []client.Torrent) (bool, error) {
		if len(list) == 0 {
			return true, errRemoved
		}
		switch t := list[0]; {
		case t.State == client.StateError:
			return true, fmt.Errorf("btd cannot share %s: %s", t.Name, t.Error)
		case isComplete(t):
			return true, nil
		case t.State == client.StateDownloading && t.HaveWanted < t.Wanted:
			return true, fmt.Errorf("btd does not find in %s what was hashed there: did it change, or does btd see other files than btctl?", t.Dir)
		}
		return false, nil
	})
}

func (a *app) reportShared(s shared, f shareFlags) error {
	if a.json {
		return a.printJSON(s)
	}
	line := s.Magnet
	if f.url {
		if line = s.URL; line == "" {
			return fmt.Errorf("%s has a secret: its .torrent file is for members only, and there is no address of it. Leave out --url", s.Name)
		}
	}
	if a.errTTY {
		a.say("sharing %s (%s). On each of the other machines:\n\n  btctl join '%s'\n", s.Name, bytesText(s.Size), strings.ReplaceAll(line, "'", `'\''`))
	}
	return a.print(line + "\n")
}
