package client

import "time"

// The states of a torrent.
const (
	StateStopped     = "stopped"     // by the user, or by a ratio or time limit
	StateQueued      = "queued"      // waits for a place among the active ones
	StateChecking    = "checking"    // existing data is being verified
	StateMetadata    = "metadata"    // added by a magnet link, what it holds is not known yet
	StateDownloading = "downloading" // wanted pieces are missing
	StateSeeding     = "seeding"     // every wanted piece is here
	StateError       = "error"       // Torrent.Error says why
)

// The scopes of a torrent: where its peers may be.
const (
	ScopeInternet = "internet"
	ScopeLAN      = "lan" // at private, link-local and loopback addresses only; not in the DHT
)

// Torrent is a picture of one torrent.
type Torrent struct {
	ID           string `json:"id"` // info-hash, lower-case hex
	Name         string `json:"name"`
	Dir          string `json:"dir"`   // download directory
	State        string `json:"state"` // one of the State constants
	Error        string `json:"error"` // why State is "error", or the last problem worth showing; else empty
	Private      bool   `json:"private"`
	SuperSeeding bool   `json:"super_seeding"` // peers are shown what we have piece by piece (BEP 16)
	Single       bool   `json:"single"`        // one file, no directory of its own

	Size        int64   `json:"size"`        // bytes, pad files excluded
	Wanted      int64   `json:"wanted"`      // bytes of files that are not skipped
	Have        int64   `json:"have"`        // bytes of hash-checked pieces
	HaveWanted  int64   `json:"have_wanted"` // bytes of hash-checked pieces among wanted
	Progress    float64 `json:"progress"`    // have_wanted / wanted, 0 to 1
	Pieces      int     `json:"pieces"`
	PieceLength int64   `json:"piece_length"` // bytes
	PiecesHave  int     `json:"pieces_have"`
	Checked     float64 `json:"checked"` // 0 to 1 while checking

	Uploaded       int64 `json:"uploaded"`   // payload bytes, ever
	Downloaded     int64 `json:"downloaded"` // payload bytes, ever
	Corrupt        int64 `json:"corrupt"`    // bytes of pieces that failed their hash
	RateUp         int64 `json:"rate_up"`    // payload bytes per second
	RateDown       int64 `json:"rate_down"`
	SecondsActive  int64 `json:"seconds_active"`
	SecondsSeeding int64 `json:"seconds_seeding"`

	Metadata *Metadata `json:"metadata,omitempty"` // there while it is missing: sizes, files and pieces are not known then

	Peers      int   `json:"peers"`       // connected
	Seeds      int   `json:"seeds"`       // connected and complete
	PeersKnown int   `json:"peers_known"` // addresses
	Swarm      Swarm `json:"swarm"`

	Added     time.Time `json:"added"`
	Completed time.Time `json:"completed,omitzero"` // absent until the download was complete once
	Options   Options   `json:"options"`
}

// Metadata says how far the search for a torrent's metadata has come.
type Metadata struct {
	Nodes   int `json:"nodes"`   // DHT nodes asked
	Tried   int `json:"tried"`   // peers dialled, and those that came by themselves
	Sources int `json:"sources"` // connected peers that have it
	Have    int `json:"have"`    // pieces that are here
	Pieces  int `json:"pieces"`  // of how many; 0 while nobody has it
	Size    int `json:"size"`    // bytes, as peers claim
}

// Swarm is what the trackers last said; -1 is unknown.
type Swarm struct {
	Seeds     int `json:"seeds"`
	Leechers  int `json:"leechers"`
	Downloads int `json:"downloads"`
}

// Options are the settings of one torrent.
type Options struct {
	Stopped         bool    `json:"stopped"`
	Sequential      bool    `json:"sequential"`
	Scope           string  `json:"scope"`  // one of the Scope constants
	Secret          bool    `json:"secret"` // it has one: its peers are those who hold it
	Limits          Limits  `json:"limits"`
	RatioLimit      float64 `json:"ratio_limit"`       // stop seeding at uploaded/size; 0 is the session's, negative is never
	SeedTimeSeconds int64   `json:"seed_time_seconds"` // stop after seeding this long; 0 is the session's, negative is never
}

// Limits are rates in payload bytes per second; 0 is unlimited.
type Limits struct {
	Up   int64 `json:"up"`
	Down int64 `json:"down"`
}

// LimitsPatch changes the limits that are not nil.
type LimitsPatch struct {
	Up   *int64 `json:"up,omitempty"`
	Down *int64 `json:"down,omitempty"`
}

// TorrentPatch changes the settings that are not nil.
type TorrentPatch struct {
	Sequential      *bool        `json:"sequential,omitempty"`
	Limits          *LimitsPatch `json:"limits,omitempty"`
	RatioLimit      *float64     `json:"ratio_limit,omitempty"`       // as Options.RatioLimit
	SeedTimeSeconds *int64       `json:"seed_time_seconds,omitempty"` // as Options.SeedTimeSeconds
}

// TorrentList is the answer to a list of torrents, in queue order.
type TorrentList struct {
	Torrents []Torrent `json:"torrents"`
}

// AddRequest adds a torrent: Torrent or Magnet, not both.
type AddRequest struct {
	Torrent    []byte   `json:"torrent,omitempty"` // the .torrent file; base64 in JSON
	Magnet     string   `json:"magnet,omitempty"`  // a magnet link
	Dir        string   `json:"dir,omitempty"`     // absolute; empty is the daemon's download directory
	Stopped    bool     `json:"stopped,omitempty"`
	Sequential bool     `json:"sequential,omitempty"`
	Secret     string   `json:"secret,omitempty"` // of a closed swarm, 43 characters; a magnet link may have it behind its #. No answer ever has it
	Scope      string   `json:"scope,omitempty"`  // one of the Scope constants; empty is the internet, or what the link says. The narrower holds
	Only       []int    `json:"only,omitempty"`   // indexes of the files to download; absent is all
	Limits     Limits   `json:"limits,omitzero"`
	Peers      []string `json:"peers,omitempty"` // addresses to try at once, host:port with a literal IP
	Seen       string   `json:"seen,omitempty"`  // with Torrent: the files in Dir as the caller has just hashed them all, as metainfo.Fingerprint writes it
}

// AddResponse is the torrent that was added, or that was there already: then
// its trackers have been merged with those of the file or link, and the files of
// Only are wanted as well. A link that names a key and no torrent gives a Follow instead.
type AddResponse struct {
	Torrent Torrent `json:"torrent,omitzero"`
	Follow  *Follow `json:"follow,omitempty"`
	Existed bool    `json:"existed"`
}

// ShareResponse is what others need to join a torrent.
type ShareResponse struct {
	Magnet string `json:"magnet"`        // a link; behind # it has the torrent's secret, if there is one
	URL    string `json:"url,omitempty"` // where the .torrent file is; absent if there is a secret: its file is for members only
}

// The priorities of a file.
const (
	PrioritySkip   = "skip" // is not downloaded
	PriorityLow    = "low"
	PriorityNormal = "normal"
	PriorityHigh   = "high"
)

// File is a picture of one file.
type File struct {
	Index    int    `json:"index"`
	Path     string `json:"path"` // slash-separated, below the download directory
	Size     int64  `json:"size"` // bytes
	Have     int64  `json:"have"` // bytes that belong to hash-checked pieces
	Priority string `json:"priority"`
	Pad      bool   `json:"pad"` // padding (BEP 47): zeros that are never stored
}

// FileList is the answer to a list of files.
type FileList struct {
	Files []File `json:"files"`
}

// PrioritiesRequest sets the priorities of files by index; files that are not
// named keep theirs.
type PrioritiesRequest struct {
	Files map[int]string `json:"files"`
}

// Peer is a picture of one connected peer.
type Peer struct {
	Addr     string `json:"addr"`    // IP:port
	Client   string `json:"client"`  // as the peer names itself, unchecked
	PeerID   string `json:"peer_id"` // 20 bytes in hex
	Source   string `json:"source"`  // "tracker", "dht", "pex", "lsd", "incoming", "magnet", "user" or "resume"
	Incoming bool   `json:"incoming"`

	Progress         float64 `json:"progress"`   // 0 to 1
	Downloaded       int64   `json:"downloaded"` // payload bytes of this connection
	Uploaded         int64   `json:"uploaded"`
	RateDown         int64   `json:"rate_down"` // payload bytes per second
	RateUp           int64   `json:"rate_up"`
	Choking          bool    `json:"choking"`     // we choke them
	Choked           bool    `json:"choked"`      // they choke us
	Interested       bool    `json:"interested"`  // they in us
	Interesting      bool    `json:"interesting"` // we in them
	Optimistic       bool    `json:"optimistic"`
	Snubbed          bool    `json:"snubbed"`
	Requests         int     `json:"requests"`       // ours, outstanding
	RequestsToUs     int     `json:"requests_to_us"` // theirs, outstanding
	ConnectedSeconds int64   `json:"connected_seconds"`
	Fast             bool    `json:"fast"`        // BEP 6
	Extended         bool    `json:"extended"`    // BEP 10
	UploadOnly       bool    `json:"upload_only"` // BEP 21
}

// PeerList is the answer to a list of peers.
type PeerList struct {
	Peers []Peer `json:"peers"`
}

// PeersRequest adds addresses to try.
type PeersRequest struct {
	Peers []string `json:"peers"` // IP:port
}

// Tracker is a picture of one announce URL of one torrent.
type Tracker struct {
	URL       string    `json:"url"`
	Tier      int       `json:"tier"`
	Status    string    `json:"status"`  // "idle", "announcing", "working", "failed" or "disabled"
	Error     string    `json:"error"`   // the last failure
	Warning   string    `json:"warning"` // the tracker's last warning message
	Announces int       `json:"announces"`
	Failures  int       `json:"failures"` // in a row
	Peers     int       `json:"peers"`    // addresses in the last answer
	Swarm     Swarm     `json:"swarm"`
	Last      time.Time `json:"last,omitzero"` // last answer
	Next      time.Time `json:"next,omitzero"` // next announce
}

// TrackerList is the answer to a list of trackers.
type TrackerList struct {
	Trackers []Tracker `json:"trackers"`
}

// TrackersRequest adds announce URLs.
type TrackersRequest struct {
	URLs []string `json:"urls"`
	Tier *int     `json:"tier,omitempty"` // absent is a new tier behind the others
}

// Pieces is which pieces are here and how common each one is.
type Pieces struct {
	Count        int      `json:"count"`
	PieceLength  int64    `json:"piece_length"` // bytes
	Have         []byte   `json:"have"`         // bitfield as in BEP 3: the high bit of the first byte is piece 0
	HaveCount    int      `json:"have_count"`
	Availability []uint16 `json:"availability"` // connected peers that have each piece; empty for a torrent that is not active
}

// Stats is a picture of the whole session.
type Stats struct {
	Torrents       map[string]int   `json:"torrents"` // how many are in each state
	Peers          int              `json:"peers"`
	RateUp         int64            `json:"rate_up"` // payload bytes per second
	RateDown       int64            `json:"rate_down"`
	Uploaded       int64            `json:"uploaded"` // payload bytes, ever
	Downloaded     int64            `json:"downloaded"`
	Corrupt        int64            `json:"corrupt"`
	ListenPort     int              `json:"listen_port"`
	DHTNodes       int              `json:"dht_nodes"` // known ones
	DHT            string           `json:"dht"`       // how it stands with the DHT, in words; "" is off
	LSD            string           `json:"lsd"`       // how it stands with local discovery, in words; "" is off
	UptimeSeconds  int64            `json:"uptime_seconds"`
	MemoryLeased   int64            `json:"memory_leased"` // bytes of block buffers in use or promised
	OpenFiles      int              `json:"open_files"`
	Counters       map[string]int64 `json:"counters"`        // misbehaviour and other rare things, by name
	ResumeFailures int64            `json:"resume_failures"` // commits of the resume database that failed
}

// Version says what is running.
type Version struct {
	Version string `json:"version"`
	API     string `json:"api"` // "v1"
	Go      string `json:"go"`  // the Go release it was built with
}

// The kinds of events. EventLost is made by the stream itself.
const (
	EventAdded     = "added"
	EventRemoved   = "removed"
	EventState     = "state"
	EventProgress  = "progress" // at most once a second per active torrent
	EventCompleted = "completed"
	EventError     = "error"
	EventWarning   = "warning"
	EventVersion   = "version" // a key that is followed has a new version, or it is in use now
	EventLost      = "lost"    // events are missing before this point: list again
)

// Event is one line of the event stream. Seq grows by one from event to event
// while the daemon runs, and never goes back over a restart.
type Event struct {
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	ID      string    `json:"id,omitempty"`      // the torrent; absent for events of the session
	Torrent *Torrent  `json:"torrent,omitempty"` // with added, state, progress and completed
	Message string    `json:"message,omitempty"` // with error, warning and version
}
