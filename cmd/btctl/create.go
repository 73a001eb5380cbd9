package main

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"btd/metainfo"
	"btd/metainfo/create"
)

// contentFlags say what of a path goes into a new torrent, and how.
type contentFlags struct {
	pieceSize string
	exclude   []string
	skip      bool
	webSeeds  []string
	comment   string
	source    string
}

func (f *contentFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.pieceSize, "piece-size", "", "size of a piece, a power of two from 16KiB to 512MiB (default by the size of the content)")
	flags.StringArrayVar(&f.exclude, "exclude", nil, "leave out files and directories that fit this pattern (may be repeated)")
	flags.BoolVar(&f.skip, "skip-unusable", false, "leave out symbolic links, sockets, devices and what may not be read")
	flags.StringArrayVar(&f.webSeeds, "web-seed", nil, "http:// or ftp:// address that has the content as well (may be repeated)")
	flags.StringVar(&f.comment, "comment", "", "text for people")
	flags.StringVar(&f.source, "source", "", "label that changes the id of the torrent, as trackers ask for")
}

// options turns the words into options.
func (f *contentFlags) options() (create.Options, error) {
	o := create.Options{
		Exclude: f.exclude, WebSeeds: f.webSeeds, Comment: f.comment, Source: f.source, CreatedBy: "btctl " + ownVersion(),
	}
	if f.pieceSize == "" {
		return o, nil
	}
	n, err := humanize.ParseBytes(f.pieceSize)
	if err != nil || strings.HasSuffix(f.pieceSize, "b") || n < 16<<10 || n > metainfo.MaxPieceLength || bits.OnesCount64(n) != 1 {
		return o, usagef("--piece-size %q: want a power of two from 16KiB to 512MiB, like 4MiB", f.pieceSize)
	}
	o.PieceLength = int64(n)
	return o, nil
}

type createFlags struct {
	contentFlags
	out      string
	force    bool
	private  bool
	trackers []string
	date     string
	noDate   bool
}

func (a *app) createCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create PATH",
		Short: "make a .torrent of a file or directory",
		Long: `Make a .torrent of a file or directory, and print its info-hash. No daemon is
needed. The same files and the same --piece-size, --private and --source make
the same info-hash on every machine.

All files are in it, hidden ones too, in the byte order of their paths; empty
directories are not. A symbolic link, a pipe, a socket, a device or a file that
may not be read is an error that names it: leave it out by name (--exclude) or
all of them (--skip-unusable). So is a name that cannot be used everywhere, and
a file that changes or vanishes meanwhile.

--exclude takes patterns as in a shell: one without a slash fits the name of a
file, or of a directory with all that is in it; one with a slash fits the path
below PATH.

Each --tracker is a tier of its own; trackers with commas between share a tier
(a comma in an address is written %2C).`,
		Example: "  btctl create photos --tracker http://tracker.example/announce\n" +
			"  btctl create image.bin -o /tmp/image.torrent --piece-size 4MiB --no-date\n" +
			"  btctl create music --exclude '*.tmp' --exclude .git --private --tracker http://a.example/announce,http://b.example/announce",
		Args: cobra.ExactArgs(1),
	}
	var f createFlags
	flags := cmd.Flags()
	flags.StringVarP(&f.out, "output", "o", "", "where to write it, - is stdout (default NAME.torrent in this directory)")
	flags.BoolVar(&f.force, "force", false, "replace a .torrent that is there")
	flags.BoolVar(&f.private, "private", false, "let peers come from its trackers only; changes the id of the torrent")
	flags.StringArrayVar(&f.trackers, "tracker", nil, "announce address; a tier each, or several with commas between (may be repeated)")
	flags.StringVar(&f.date, "date", "", "creation date, like 2026-11-21 or 2026-11-21T15:04:05Z (default now); it does not change the id")
	flags.BoolVar(&f.noDate, "no-date", false, "leave the creation date out")
	f.register(flags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.create(cmd.Context(), args[0], f) }
	return cmd
}

func (a *app) create(ctx context.Context, name string, f createFlags) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	o.Private = f.private
	for _, tier := range f.trackers {
		o.Trackers = append(o.Trackers, strings.Split(tier, ","))
	}
	if o.Created, err = f.when(time.Now()); err != nil {
		return err
	}
	if f.out, err = a.outputFor(name, f); err != nil {
		return err
	}
	ctx, cancel := a.deadline(ctx)
	defer cancel()
	b, err := a.makeTorrent(ctx, name, o, f.skip)
	if err != nil {
		return err
	}
	m, err := metainfo.Parse(b)
	if err != nil {
		return err
	}
	if f.out == "-" {
		if err := a.print(string(b)); err != nil {
			return err
		}
	} else if err := writeNew(f.out, b, f.force); err != nil {
		return err
	}
	return a.reportCreated(m, f.out)
}

// when is the date to put in.
func (f *createFlags) when(now time.Time) (time.Time, error) {
	switch {
	case f.noDate && f.date != "":
		return time.Time{}, usagef("--date and --no-date exclude each other")
	case f.noDate:
		return time.Time{}, nil
	case f.date == "":
		return now, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, f.date); err == nil && t.Unix() > 0 {
			return t, nil
		}
	}
	return time.Time{}, usagef("--date %q: want a day like 2026-11-21, or a time like 2026-11-21T15:04:05Z", f.date)
}

// outputFor is where the .torrent of name goes. What stands in the way is said
// before an hour of hashing.
func (a *app) outputFor(name string, f createFlags) (string, error) {
	switch {
	case f.out == "-" && a.json:
		return "", usagef("-o - and --json exclude each other: both write to stdout")
	case f.out == "-" && a.outTTY:
		return "", usagef("-o -: a .torrent is not for a terminal: send stdout elsewhere")
	case f.out == "-":
		return f.out, nil
	}
	full, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	out := f.out
	if out == "" {
		out = filepath.Base(full) + ".torrent"
	}
	return out, checkOutput(out, full, f.force)
}

// makeTorrent is the .torrent of a path. Meanwhile it draws how far it is on a
// terminal, and it names what is left out.
func (a *app) makeTorrent(ctx context.Context, name string, o create.Options, skip bool) ([]byte, error) {
	if skip {
		o.Skip = func(e *create.UnusableError) { a.say("left out: %v", e) }
	}
	bar := a.newHashBar(filepath.Base(name))
	o.Progress = bar.show
	b, err := create.Path(ctx, name, o)
	bar.close()
	var unusable *create.UnusableError
	if errors.As(err, &unusable) {
		return nil, fmt.Errorf("%w (leave it out with --exclude, or all such with --skip-unusable)", err)
	}
	return b, err
}

// createdFile is what is printed of a new .torrent.
type createdFile struct {
	File        string `json:"file"`
	ID          string `json:"id"`
	Name        string `json:"name"`
	Size        int64  `json:"size"` // bytes
	Files       int    `json:"files"`
	Hidden      int    `json:"hidden"`
	Pieces      int    `json:"pieces"`
	PieceLength int64  `json:"piece_length"` // bytes
}

func (a *app) reportCreated(m *metainfo.Metainfo, out string) error {
	c := createdFile{
		File: out, ID: m.Hash.String(), Name: m.Name, Size: m.Total, Files: len(m.Files), Pieces: m.Pieces(), PieceLength: m.PieceLength,
	}
	for _, f := range m.Files {
		if strings.Contains("/"+f.Path[len(m.Name):], "/.") {
			c.Hidden++
		}
	}
	if m.Single {
		c.Hidden = 0
	}
	hidden := ""
	if c.Hidden > 0 {
		hidden = fmt.Sprintf(" (%d hidden)", c.Hidden)
	}
	where := out
	if out == "-" {
		where = "a torrent"
	}
	a.say("made %s: %s%s, %s in %s of %s", where, plural(c.Files, "file"), hidden, bytesText(c.Size), plural(c.Pieces, "piece"), bytesText(c.PieceLength))
	switch {
	case a.json:
		return a.printJSON(c)
	case out == "-":
		return nil
	}
	return a.print(c.ID + "\n")
}
