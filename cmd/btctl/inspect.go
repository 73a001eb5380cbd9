package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"btd/metainfo"
)

func (a *app) inspectCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE|MAGNET",
		Short: "show everything in a .torrent file or magnet link",
		Long: `Show everything in a .torrent file (- is stdin) or a magnet link. No daemon is
needed and nothing is fetched. What strangers wrote is shown without control
characters; keys that btd does not know are listed with the beginning of their
values.

Letters before a file: p padding that is never stored, x executable, h hidden,
l a symbolic link that is never made (BEP 47).`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"torrent"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if isMagnet(args[0]) {
				return a.inspectMagnet(args[0])
			}
			return a.inspectFile(cmd.Context(), args[0])
		},
	}
}

func isMagnet(word string) bool { return strings.HasPrefix(strings.ToLower(word), "magnet:") }

// inspected is everything in a .torrent file.
type inspected struct {
	Name        string          `json:"name"`
	ID          string          `json:"id"`
	IDv2        string          `json:"id_v2,omitempty"` // of a hybrid
	Size        int64           `json:"size"`            // bytes, pad files included
	PieceLength int64           `json:"piece_length"`    // bytes
	Pieces      int             `json:"pieces"`
	Single      bool            `json:"single"` // one file, no directory of its own
	Private     bool            `json:"private"`
	Source      string          `json:"source"`
	Comment     string          `json:"comment"`
	CreatedBy   string          `json:"created_by"`
	Created     time.Time       `json:"created,omitzero"`
	Trackers    [][]string      `json:"trackers"` // by tier
	WebSeeds    []string        `json:"web_seeds"`
	Nodes       []string        `json:"nodes"` // of the DHT
	Unknown     []inspectedKey  `json:"unknown"`
	Files       []inspectedFile `json:"files"`
}

type inspectedKey struct {
	Key   string `json:"key"`   // quoted
	Value string `json:"value"` // the beginning of it
}

type inspectedFile struct {
	Path       string `json:"path"`
	Size       int64  `json:"size"` // bytes
	Pad        bool   `json:"pad,omitempty"`
	Executable bool   `json:"executable,omitempty"`
	Hidden     bool   `json:"hidden,omitempty"`
	Symlink    bool   `json:"symlink,omitempty"`
}

func (a *app) inspectFile(ctx context.Context, name string) error {
	b, err := a.readTorrent(ctx, name)
	if err != nil {
		return err
	}
	m, err := metainfo.Parse(b)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	extras, err := metainfo.Extras(b)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	x := inspected{
		Name: m.Name, ID: m.Hash.String(), Size: m.Total, PieceLength: m.PieceLength, Pieces: m.Pieces(), Single: m.Single,
		Private: m.Private, Source: m.Source, Comment: m.Comment, CreatedBy: m.CreatedBy, Created: m.Created,
		Trackers: orEmpty(m.Trackers), WebSeeds: orEmpty(m.WebSeeds), Nodes: orEmpty(m.Nodes), Unknown: []inspectedKey{}, Files: []inspectedFile{},
	}
	if v2, ok := m.Hash.V2(); ok {
		x.IDv2 = hex.EncodeToString(v2[:])
	}
	for _, e := range extras {
		x.Unknown = append(x.Unknown, inspectedKey(e))
	}
	for _, f := range m.Files {
		x.Files = append(x.Files, inspectedFile{f.Path, f.Length, f.Pad, f.Executable, f.Hidden, f.Symlink})
	}
	if a.json {
		return a.printJSON(x)
	}
	if err := a.print(x.facts()); err != nil {
		return err
	}
	return a.printTable(x.table())
}

// maxFact is how much is shown of one text, in characters.
const maxFact = 1000

// facts has one on each line.
func (x *inspected) facts() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s%s\n", name, cut(fmt.Sprintf(format, args...), maxFact))
	}
	text := func(name, s string) {
		if s != "" {
			line(name, "%s", clean(s))
		}
	}
	text("Name", x.Name)
	line("Id", "%s", x.ID)
	text("Id (v2)", x.IDv2)
	line("Size", "%s (%d bytes) in %s of %s", bytesText(x.Size), x.Size, plural(x.Pieces, "piece"), bytesText(x.PieceLength))
	line("Files", "%d", len(x.Files))
	line("Private", "%s", yesNo(x.Private))
	text("Source", x.Source)
	text("Comment", x.Comment)
	text("Created by", x.CreatedBy)
	if !x.Created.IsZero() {
		line("Created", "%s", timeText(x.Created))
	}
	for i, tier := range x.Trackers {
		for _, u := range tier {
			line("Tracker", "%s (tier %d)", clean(u), i)
		}
	}
	for _, u := range x.WebSeeds {
		text("Web seed", u)
	}
	for _, n := range x.Nodes {
		text("DHT node", n)
	}
	for _, e := range x.Unknown {
		line("Unknown key", "%s: %s", clean(e.Key), clean(e.Value))
	}
	return b.String() + "\n"
}

// table lists the files.
func (x *inspected) table() *table {
	t := newTable(">INDEX", ">SIZE", "ATTR", "PATH")
	for i, f := range x.Files {
		t.row(fmt.Sprint(i), bytesText(f.Size), f.letters(), clean(f.Path))
	}
	return t
}

func (f *inspectedFile) letters() string {
	s := ""
	for _, l := range []struct {
		on     bool
		letter string
	}{{f.Pad, "p"}, {f.Executable, "x"}, {f.Hidden, "h"}, {f.Symlink, "l"}} {
		if l.on {
			s += l.letter
		}
	}
	return orNothing(s)
}

// inspectedLink is everything in a magnet link.
type inspectedLink struct {
	ID       string          `json:"id"` // empty if the link names only a key
	IDv2     string          `json:"id_v2,omitempty"`
	Name     string          `json:"name"`
	Size     int64           `json:"size"` // bytes, as the link claims; 0 is unknown
	Trackers []string        `json:"trackers"`
	WebSeeds []string        `json:"web_seeds"`
	Peers    []string        `json:"peers"`
	Only     []inspectedSpan `json:"only"` // indexes of the wanted files; none means all
	Key      string          `json:"key,omitempty"`
	Salt     string          `json:"salt,omitempty"`
	Scope    string          `json:"scope"`
	Secret   bool            `json:"secret"` // whether there is one
}

type inspectedSpan struct {
	First int `json:"first"`
	Last  int `json:"last"`
}

// orEmpty is [] in JSON where a nil list is null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (a *app) inspectMagnet(link string) error {
	m, err := metainfo.ParseMagnet(link)
	if err != nil {
		return err
	}
	x := inspectedLink{
		Name: m.Name, Size: m.Length, Trackers: orEmpty(m.Trackers), WebSeeds: orEmpty(m.WebSeeds), Peers: orEmpty(m.Peers),
		Only: []inspectedSpan{},
		Key:  hex.EncodeToString(m.Key), Salt: hex.EncodeToString(m.Salt), Scope: m.Scope.String(), Secret: !m.Secret.IsZero(),
	}
	for _, s := range m.Only {
		x.Only = append(x.Only, inspectedSpan(s))
	}
	if !m.Hash.IsZero() {
		x.ID = m.Hash.String()
	}
	if v2, ok := m.Hash.V2(); ok {
		x.IDv2 = hex.EncodeToString(v2[:])
	}
	if a.json {
		return a.printJSON(x)
	}
	return a.print(x.facts())
}

func (x *inspectedLink) facts() string {
	var b strings.Builder
	text := func(name, s string) {
		if s != "" {
			fmt.Fprintf(&b, "%-13s%s\n", name, cut(clean(s), maxFact))
		}
	}
	all := func(name string, list []string) {
		for _, s := range list {
			text(name, s)
		}
	}
	text("Name", x.Name)
	text("Id", x.ID)
	text("Id (v2)", x.IDv2)
	text("Public key", x.Key)
	text("Salt", x.Salt)
	if x.Size > 0 {
		text("Size", fmt.Sprintf("%s (%d bytes), as the link claims", bytesText(x.Size), x.Size))
	}
	all("Tracker", x.Trackers)
	all("Web seed", x.WebSeeds)
	all("Peer", x.Peers)
	for _, s := range x.Only {
		text("Files", fmt.Sprintf("%d to %d", s.First, s.Last))
	}
	text("Scope", x.Scope)
	if x.Secret {
		text("Secret", "yes (not shown)")
	}
	return b.String()
}
