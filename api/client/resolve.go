package client

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// Match finds the torrent that target names: its id or whole name; else the
// only torrent whose id begins with target or whose name contains it,
// ignoring case. Nothing is an Error with CodeNotFound, several are an
// AmbiguousError.
func Match(list []Torrent, target string) (Torrent, error) {
	if target == "" {
		return Torrent{}, &Error{Status: http.StatusNotFound, Code: CodeNotFound, Message: "an empty word names no torrent"}
	}
	low := strings.ToLower(target)
	var named, partly []Torrent
	for _, t := range list {
		switch {
		case t.ID == low:
			return t, nil
		case t.Name == target:
			named = append(named, t)
		case strings.HasPrefix(t.ID, low) || strings.Contains(strings.ToLower(t.Name), low):
			partly = append(partly, t)
		}
	}
	found := named
	if len(found) == 0 {
		found = partly
	}
	switch len(found) {
	case 0:
		return Torrent{}, &Error{
			Status: http.StatusNotFound, Code: CodeNotFound,
			Message: fmt.Sprintf("no torrent fits %q", target),
		}
	case 1:
		return found[0], nil
	}
	return Torrent{}, &AmbiguousError{Target: target, Candidates: found}
}

// Resolve finds each target among the daemon's torrents as Match does. A
// torrent that is named twice is returned once. Any error means that nothing
// is returned.
func (c *Client) Resolve(ctx context.Context, targets ...string) ([]Torrent, error) {
	if len(targets) == 0 {
		return nil, nil
	}
	list, err := c.Torrents(ctx)
	if err != nil {
		return nil, err
	}
	var out []Torrent
	seen := map[string]bool{}
	for _, target := range targets {
		t, err := Match(list, target)
		if err != nil {
			return nil, err
		}
		if !seen[t.ID] {
			seen[t.ID] = true
			out = append(out, t)
		}
	}
	return out, nil
}
