package api

import (
	"context"
	"net/netip"

	"btd/metainfo"
	"btd/piece"
	"btd/session"
)

// Engine is what the API needs of a session. Methods without a context answer
// at once from snapshots. A change is visible in the snapshots when the call
// that made it returns.
type Engine interface {
	// Add adds a torrent, or merges the trackers into the one that is there.
	Add(ctx context.Context, torrentFile []byte, o session.AddOptions) (t session.Torrent, existed bool, err error)
	// AddMagnet is Add for a magnet link.
	AddMagnet(ctx context.Context, link string, o session.AddOptions) (t session.Torrent, existed bool, err error)
	// Torrents is all of them in queue order.
	Torrents() []session.Torrent
	Torrent(h metainfo.Hash) (session.Torrent, error)
	// Secret is a torrent's secret, zero if it has none: for its owner, who asks
	// how to share it.
	Secret(h metainfo.Hash) (metainfo.Secret, error)
	Files(h metainfo.Hash) ([]session.File, error)
	Peers(h metainfo.Hash) ([]session.Peer, error)
	Trackers(h metainfo.Hash) ([]session.Tracker, error)
	Pieces(h metainfo.Hash) (have *piece.Bitfield, availability []uint16, err error)

	Start(ctx context.Context, h metainfo.Hash) error
	Stop(ctx context.Context, h metainfo.Hash) error
	Remove(ctx context.Context, h metainfo.Hash, data bool) error
	// Verify begins a check and does not wait for its end.
	Verify(ctx context.Context, h metainfo.Hash) error
	Reannounce(ctx context.Context, h metainfo.Hash) error
	AddPeers(ctx context.Context, h metainfo.Hash, peers []netip.AddrPort) error
	AddTrackers(ctx context.Context, h metainfo.Hash, tier int, urls []string) error
	RemoveTrackers(ctx context.Context, h metainfo.Hash, urls []string) error
	SetLimits(ctx context.Context, h metainfo.Hash, l session.Limits) error
	SetOptions(ctx context.Context, h metainfo.Hash, p session.OptionsPatch) error
	// SetPriorities changes the files that are named and no others.
	SetPriorities(ctx context.Context, h metainfo.Hash, files map[int]session.Priority) error

	// The DHT: a lookup and a put take up to a minute. The callbacks of a lookup
	// must not block.
	DHTStats() session.DHTStats
	DHTLookup(ctx context.Context, hash [20]byte, trace func(session.DHTEvent), peers func([]netip.AddrPort)) (session.DHTFound, error)
	DHTGet(ctx context.Context, target [20]byte, salt []byte) (session.DHTItem, error)
	DHTPut(ctx context.Context, i session.DHTItem) (target [20]byte, stored int, err error)
	DHTSample(ctx context.Context, target [20]byte) (session.DHTSamples, error)

	// What is followed and published (BEP 46): a look and a publication take up
	// to a minute.
	Follow(ctx context.Context, link string, o session.FollowOptions) (v session.Followed, existed bool, err error)
	Follows() []session.Followed
	LookNow(ctx context.Context, target [20]byte) (session.Followed, error)
	Unfollow(ctx context.Context, target [20]byte) error
	Publish(ctx context.Context, i session.DHTItem) (session.Published, error)
	Publications() []session.Published
	Unpublish(ctx context.Context, target [20]byte) error

	Stats() session.Stats
	Limits() session.Limits
	SetSessionLimits(ctx context.Context, l session.Limits) error
	// Subscribe yields the events after number since; 0 means from now on.
	// lost tells that some of those are not in the history any more (or that
	// since lies in the future). The channel is closed when the reader is too
	// slow and when the session ends.
	Subscribe(since uint64) (events <-chan session.Event, cancel func(), lost bool)
}
