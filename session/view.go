package session

import (
	"net/netip"
	"time"

	"btd/metainfo"
	"btd/session/addrbook"
)

// State is what a torrent is doing, in one word.
type State string

// The states of a torrent.
const (
	StateStopped     State = "stopped"     // by the user, or by a ratio or time limit
	StateQueued      State = "queued"      // waits for a place among the active ones
	StateChecking    State = "checking"    // existing data is being verified
	StateMetadata    State = "metadata"    // added by a magnet link, what it holds is not known yet
	StateDownloading State = "downloading" // wanted pieces are missing
	StateSeeding     State = "seeding"     // every wanted piece is here
	StateError       State = "error"       // see Torrent.Error; retried by itself where that can help
)

// Torrent is an immutable picture of one torrent.
type Torrent struct {
	Hash    metainfo.Hash
	Name    string
	Dir     string // download directory
	State   State
	Error   string // why State is StateError, or the last problem worth showing
	Private bool
	Single  bool // one file, no directory of its own

	Size        int64 // bytes, pad files excluded
	Wanted      int64 // bytes of files that are not skipped
	Have        int64 // bytes of hash-checked pieces
	HaveWanted  int64 // bytes of hash-checked pieces among Wanted
	Pieces      int
	PieceLength int64
	PiecesHave  int
	Checked     float64  // 0 to 1 while StateChecking
	Waiting     *Waiting // while the metadata is missing, whatever State is; sizes, files and pieces are unknown then

	Uploaded, Downloaded int64 // payload bytes, all sessions
	Corrupt              int64 // bytes of pieces that failed their hash
	RateUp, RateDown     int64 // payload bytes per second
	SecondsActive        int64
	SecondsSeeding       int64

	SuperSeeding bool // peers are shown what we have piece by piece (BEP 16)

	Peers      int // connected
	Seeds      int // connected and complete
	PeersKnown int // addresses
	Swarm      SwarmCounts

	Added     time.Time
	Completed time.Time // zero until the download was complete once
	Options   Options
}

// Waiting says how far the search for a torrent's metadata has come.
type Waiting struct {
	Nodes   int // DHT nodes asked
	Tried   int // peers dialled, and those that came by themselves
	Sources int // connected peers that have the metadata
	Have    int // pieces of the metadata
	Pieces  int // of how many; 0 while nobody has it
	Size    int // bytes of the metadata, as peers claim
}

// SwarmCounts is what the trackers last said of the swarm; -1 is unknown.
type SwarmCounts struct {
	Seeds, Leechers, Downloads int
}

// Options are the settings of one torrent that a user may change.
type Options struct {
	Stopped    bool
	Sequential bool
	Scope      metainfo.Scope // where its peers may be
	Secret     bool           // it has one: only those who prove it are spoken to
	Limits     Limits
	RatioLimit float64       // stop seeding at uploaded/size; 0 means the session's, negative means never
	SeedTime   time.Duration // stop after seeding this long; 0 means the session's, negative means never
}

// Limits are transfer rates in payload bytes per second; 0 is unlimited.
type Limits struct {
	Up, Down int64
}

// Priority of a file. Pieces of a file with a higher priority are fetched
// first.
type Priority int8

// The priorities of a file.
const (
	Skip   Priority = 0
	Low    Priority = 1
	Normal Priority = 4
	High   Priority = 7
)

// File is a picture of one file.
type File struct {
	Index    int
	Path     string // slash-separated, below the download directory
	Size     int64
	Have     int64 // bytes that belong to hash-checked pieces
	Priority Priority
	Pad      bool
}

// Source says where an address came from.
type Source string

// The sources of addresses.
const (
	FromTracker  Source = "tracker"
	FromIncoming Source = "incoming"
	FromPEX      Source = "pex" // another peer told us (BEP 11)
	FromDHT      Source = "dht"
	FromLSD      Source = "lsd"                 // the local network
	FromMagnet   Source = addrbook.SourceMagnet // the magnet link (x.pe)
	FromUser     Source = addrbook.SourceUser
	FromResume   Source = addrbook.SourceResume // connected before the last restart
)

// public tells whether peers from this source are not for private torrents
// (BEP 27).
func (s Source) public() bool { return s == FromPEX || s == FromDHT || s == FromLSD }

// Peer is a picture of one connected peer.
type Peer struct {
	Addr     netip.AddrPort
	Client   string // from the extension handshake, else from the peer id
	ID       [20]byte
	Source   Source
	Incoming bool

	Progress                   float64 // 0 to 1
	Downloaded, Uploaded       int64   // payload bytes this connection
	RateDown, RateUp           int64
	Choking, Choked            bool // ours to them, theirs to us
	Interested, Interesting    bool // they in us, we in them
	Optimistic, Snubbed        bool
	Requests, RequestsToUs     int // outstanding
	Connected                  time.Duration
	Fast, Extended, UploadOnly bool
}

// Tracker is a picture of one announce URL of one torrent.
type Tracker struct {
	URL       string
	Tier      int
	Status    string // "idle", "announcing", "working", "failed", "disabled"
	Error     string // the last failure, with its reason
	Warning   string // the tracker's last warning message
	Announces int
	Failures  int // in a row
	Peers     int // addresses in the last answer
	Swarm     SwarmCounts
	Last      time.Time // last answer
	Next      time.Time // next announce
}

// AddOptions say how to add a torrent.
type AddOptions struct {
	Dir        string // "" means the session's download directory
	Stopped    bool
	Sequential bool
	Only       []int // file indexes to download, the others are skipped; nil means all
	Limits     Limits
	Scope      metainfo.Scope   // where its peers may be; that of a link holds if it is narrower
	Secret     metainfo.Secret  // of its closed swarm; zero if it has none
	Peers      []netip.AddrPort // addresses to try at once

	// Seen describes the files in Dir as whoever adds the torrent saw them when
	// it hashed them all. If they still are what it describes they are not hashed
	// again. Zero is nothing; magnet links pass it over.
	Seen metainfo.Fingerprint
}

// Stats is a picture of the whole session.
type Stats struct {
	Torrents       map[State]int
	Peers          int
	RateUp         int64 // payload bytes per second
	RateDown       int64
	Uploaded       int64 // payload bytes, all sessions
	Downloaded     int64
	Corrupt        int64
	ListenPort     int
	DHTNodes       int    // that are known
	DHT            string // how it stands with the DHT, in words; "" if it is off
	LSD            string // likewise with local discovery
	Uptime         time.Duration
	MemoryLeased   int64 // bytes of block buffers in use or promised
	OpenFiles      int
	Counters       map[string]int64 // misbehaviour and other rare things, by name
	ResumeFailures int64            // commits of the resume database that failed
}

// Event tells subscribers what changed. Events carry a sequence number that
// grows by one.
type Event struct {
	Seq     uint64
	Time    time.Time
	Kind    EventKind
	Hash    metainfo.Hash // zero for events of the session
	Torrent *Torrent      // for EventAdded, EventState, EventProgress, EventCompleted
	Message string        // for EventError, EventWarning and EventVersion
}

// EventKind names what happened.
type EventKind string

// The kinds of events.
const (
	EventAdded     EventKind = "added"
	EventRemoved   EventKind = "removed"
	EventState     EventKind = "state"
	EventProgress  EventKind = "progress" // at most once a second per active torrent
	EventCompleted EventKind = "completed"
	EventError     EventKind = "error"
	EventWarning   EventKind = "warning"
	EventVersion   EventKind = "version" // a key that is followed has a new version, or it is in use now
)

// OptionsPatch changes the options whose fields are not nil.
type OptionsPatch struct {
	Sequential *bool
	RatioLimit *float64
	SeedTime   *time.Duration
}
