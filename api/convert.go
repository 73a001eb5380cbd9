package api

import (
	"encoding/hex"
	"math"
	"time"

	"btd/api/client"
	"btd/session"
)

func fromTorrent(t *session.Torrent) client.Torrent {
	progress := 1.0
	switch {
	case t.Waiting != nil:
		progress = 0
	case t.Wanted > 0:
		progress = float64(t.HaveWanted) / float64(t.Wanted)
	}
	return client.Torrent{
		ID: t.Hash.String(), Name: t.Name, Dir: t.Dir, State: string(t.State), Error: t.Error,
		Private: t.Private, SuperSeeding: t.SuperSeeding, Single: t.Single,
		Size: t.Size, Wanted: t.Wanted, Have: t.Have, HaveWanted: t.HaveWanted, Progress: fraction(progress),
		Pieces: t.Pieces, PieceLength: t.PieceLength, PiecesHave: t.PiecesHave, Checked: fraction(t.Checked),
		Uploaded: t.Uploaded, Downloaded: t.Downloaded, Corrupt: t.Corrupt,
		RateUp: t.RateUp, RateDown: t.RateDown,
		SecondsActive: t.SecondsActive, SecondsSeeding: t.SecondsSeeding,
		Metadata: fromWaiting(t.Waiting),
		Peers:    t.Peers, Seeds: t.Seeds, PeersKnown: t.PeersKnown, Swarm: fromSwarm(t.Swarm),
		Added: moment(t.Added), Completed: moment(t.Completed),
		Options: client.Options{
			Stopped: t.Options.Stopped, Sequential: t.Options.Sequential, Scope: t.Options.Scope.String(), Secret: t.Options.Secret,
			Limits:          fromLimits(t.Options.Limits),
			RatioLimit:      finite(t.Options.RatioLimit),
			SeedTimeSeconds: signedSeconds(t.Options.SeedTime),
		},
	}
}

func fromWaiting(w *session.Waiting) *client.Metadata {
	if w == nil {
		return nil
	}
	return &client.Metadata{Nodes: w.Nodes, Tried: w.Tried, Sources: w.Sources, Have: w.Have, Pieces: w.Pieces, Size: w.Size}
}

func fromSwarm(c session.SwarmCounts) client.Swarm {
	return client.Swarm{Seeds: c.Seeds, Leechers: c.Leechers, Downloads: c.Downloads}
}

func fromLimits(l session.Limits) client.Limits { return client.Limits{Up: l.Up, Down: l.Down} }

func fromFile(f *session.File) client.File {
	return client.File{
		Index: f.Index, Path: f.Path, Size: f.Size, Have: f.Have,
		Priority: fromPriority(f.Priority), Pad: f.Pad,
	}
}

func fromPriority(p session.Priority) string {
	switch {
	case p <= session.Skip:
		return client.PrioritySkip
	case p < session.Normal:
		return client.PriorityLow
	case p == session.Normal:
		return client.PriorityNormal
	}
	return client.PriorityHigh
}

func fromPeer(p *session.Peer) client.Peer {
	return client.Peer{
		Addr: p.Addr.String(), Client: p.Client, PeerID: hex.EncodeToString(p.ID[:]),
		Source: string(p.Source), Incoming: p.Incoming,
		Progress: fraction(p.Progress), Downloaded: p.Downloaded, Uploaded: p.Uploaded,
		RateDown: p.RateDown, RateUp: p.RateUp,
		Choking: p.Choking, Choked: p.Choked, Interested: p.Interested, Interesting: p.Interesting,
		Optimistic: p.Optimistic, Snubbed: p.Snubbed,
		Requests: p.Requests, RequestsToUs: p.RequestsToUs,
		ConnectedSeconds: int64(p.Connected / time.Second),
		Fast:             p.Fast, Extended: p.Extended, UploadOnly: p.UploadOnly,
	}
}

func fromTracker(t *session.Tracker) client.Tracker {
	return client.Tracker{
		URL: t.URL, Tier: t.Tier, Status: t.Status, Error: t.Error, Warning: t.Warning,
		Announces: t.Announces, Failures: t.Failures, Peers: t.Peers, Swarm: fromSwarm(t.Swarm),
		Last: moment(t.Last), Next: moment(t.Next),
	}
}

func fromStats(s *session.Stats) client.Stats {
	out := client.Stats{
		Torrents: map[string]int{}, Peers: s.Peers, RateUp: s.RateUp, RateDown: s.RateDown,
		Uploaded: s.Uploaded, Downloaded: s.Downloaded, Corrupt: s.Corrupt,
		ListenPort: s.ListenPort, DHTNodes: s.DHTNodes, DHT: s.DHT, LSD: s.LSD, UptimeSeconds: int64(s.Uptime / time.Second),
		MemoryLeased: s.MemoryLeased, OpenFiles: s.OpenFiles,
		Counters: map[string]int64{}, ResumeFailures: s.ResumeFailures,
	}
	for state, n := range s.Torrents {
		out.Torrents[string(state)] = n
	}
	for name, n := range s.Counters {
		out.Counters[name] = n
	}
	return out
}

func (s *Server) fromEvent(e *session.Event) client.Event {
	out := client.Event{Seq: s.epoch + e.Seq, Time: moment(e.Time), Kind: string(e.Kind), Message: e.Message}
	if !e.Hash.IsZero() {
		out.ID = e.Hash.String()
	}
	if e.Torrent != nil {
		t := fromTorrent(e.Torrent)
		out.Torrent = &t
	}
	return out
}

// fraction and finite keep numbers away from JSON that it cannot hold.
func fraction(f float64) float64 { return min(max(finite(f), 0), 1) }

func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

// signedSeconds rounds away from 0, which has a meaning of its own.
func signedSeconds(d time.Duration) int64 {
	switch n := int64(d / time.Second); {
	case n == 0 && d > 0:
		return 1
	case n == 0 && d < 0:
		return -1
	default:
		return n
	}
}

// moment is t in UTC to the millisecond, and the zero time as it is.
func moment(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}
