package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"btd/api/client"
	"btd/metainfo"
)

func (a *app) magnetCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "magnet TARGET|FILE...",
		Short: "print magnet links",
		Long: `Print the magnet link of a torrent, with its name, size, trackers and web
seeds. What ends in .torrent or has a slash in it is a file (- is stdin), for
which no daemon is needed; anything else names torrents of the daemon, which
does not tell of web seeds.`,
		Example:           "  btctl magnet debian\n  btctl magnet ./debian.torrent",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, word := range args {
				if err := a.magnet(cmd.Context(), word); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// magnet prints the links of what word names.
func (a *app) magnet(ctx context.Context, word string) error {
	if isTorrentFile(word) {
		b, err := a.readTorrent(ctx, word)
		if err != nil {
			return err
		}
		m, err := metainfo.Parse(b)
		if err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
		link := metainfo.Magnet{Hash: m.Hash, Name: m.Name, Length: m.Total, Trackers: slices.Concat(m.Trackers...), WebSeeds: m.WebSeeds}
		return a.printLink(m.Private, &link)
	}
	list, err := a.targets(ctx, []string{word})
	if err != nil {
		return err
	}
	for _, t := range list {
		link, err := a.linkOf(ctx, t)
		if err != nil {
			return err
		}
		if err := a.printLink(t.Private, link); err != nil {
			return err
		}
	}
	return nil
}

// isTorrentFile tells a file from the name of a torrent.
func isTorrentFile(word string) bool {
	return word == "-" || strings.EqualFold(filepath.Ext(word), ".torrent") || strings.ContainsRune(word, '/') || strings.ContainsRune(word, os.PathSeparator)
}

// linkOf is the link of a torrent of the daemon.
func (a *app) linkOf(ctx context.Context, t client.Torrent) (*metainfo.Magnet, error) {
	if t.Options.Secret {
		return nil, fmt.Errorf("%s has a secret, without which its link leads nowhere: btctl share prints the link with it", clean(t.Name))
	}
	hash, err := metainfo.ParseHash(t.ID)
	if err != nil {
		return nil, err
	}
	scope, err := metainfo.ParseScope(t.Options.Scope)
	if err != nil {
		return nil, err
	}
	trackers, err := a.daemon.Trackers(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	link := &metainfo.Magnet{Hash: hash, Name: t.Name, Length: t.Size, Scope: scope}
	for _, x := range trackers {
		link.Trackers = append(link.Trackers, x.URL)
	}
	return link, nil
}

func (a *app) printLink(private bool, link *metainfo.Magnet) error {
	if private {
		a.say("%s is private: most clients need its .torrent, and no link", link.Name)
	}
	if a.json {
		return a.printJSON(struct {
			Magnet string `json:"magnet"`
		}{link.String()})
	}
	return a.print(link.String() + "\n")
}
