package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"btd/api/client"
)

// follow keeps a picture of torrents (nil ids: of all) by the event stream,
// shows it after every change, and goes on until seen says that it is enough.
// A daemon that goes away is looked for a few times.
func (a *app) follow(ctx context.Context, d *display, ids []string, seen func([]client.Torrent) (bool, error)) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	p := picture{torrents: map[string]client.Torrent{}, only: ids}
	connected, failed := false, 0
	for e, err := range c.Events(ctx, 0) {
		if err == nil && e.Kind == client.EventLost {
			err = p.list(ctx, c)
		} else if err == nil {
			p.apply(e)
		}
		if err != nil {
			var answer *client.Error
			failed++
			if !connected || failed > a.patience || errors.As(err, &answer) {
				return err
			}
			if failed == 1 {
				d.note("The connection to btd is lost, trying again.")
			}
			continue
		}
		if connected || e.Kind != client.EventLost {
			d.event(e, &p)
		}
		connected, failed = true, 0
		list := p.sorted()
		d.show(list)
		if d.failed != nil {
			return fmt.Errorf("write: %w", d.failed)
		}
		if enough, err := seen(list); enough || err != nil {
			return err
		}
	}
	return ctx.Err()
}

// picture is what is known of the torrents that are followed.
type picture struct {
	torrents map[string]client.Torrent
	order    []string // of first sight
	only     []string // ids; nil is all
}

func (p *picture) list(ctx context.Context, c *client.Client) error {
	list, err := c.Torrents(ctx, p.only...)
	if err != nil {
		return err
	}
	clear(p.torrents)
	p.order = p.order[:0]
	for _, t := range list {
		p.put(t)
	}
	return nil
}

func (p *picture) put(t client.Torrent) {
	if _, ok := p.torrents[t.ID]; !ok {
		p.order = append(p.order, t.ID)
	}
	p.torrents[t.ID] = t
}

// follows tells whether an event is about what is followed.
func (p *picture) follows(e client.Event) bool {
	return p.only == nil || slices.Contains(p.only, e.ID)
}

func (p *picture) apply(e client.Event) {
	switch {
	case !p.follows(e):
	case e.Kind == client.EventRemoved:
		delete(p.torrents, e.ID)
		p.order = slices.DeleteFunc(p.order, func(id string) bool { return id == e.ID })
	case e.Torrent != nil:
		p.put(*e.Torrent)
	}
}

func (p *picture) sorted() []client.Torrent {
	out := make([]client.Torrent, len(p.order))
	for i, id := range p.order {
		out[i] = p.torrents[id]
	}
	return out
}
