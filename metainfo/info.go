package metainfo

import "time"

// File is one file of a torrent, in the order of the info dictionary.
type File struct {
	Path   string // slash-separated, below the download directory, the torrent's name included
	Length int64  // bytes
	Offset int64  // where the file starts in the torrent's content, bytes

	Pad        bool // BEP 47: zeros that are never written and never requested
	Executable bool // BEP 47, attribute x
	Hidden     bool // BEP 47, attribute h
	Symlink    bool // BEP 47, attribute l: kept for display, never created
}

// Info is what the info dictionary says, checked.
type Info struct {
	Hash        Hash
	Name        string
	PieceLength int64  // bytes
	Total       int64  // bytes, pad files included
	Sums        []byte // SHA-1 of every piece, 20 bytes each
	Files       []File
	Single      bool // the torrent is one file (BEP 3, single-file case)
	Private     bool // BEP 27
	Source      string
}

// Pieces is the number of pieces.
func (i *Info) Pieces() int { return len(i.Sums) / 20 }

// Sum is the SHA-1 of piece n.
func (i *Info) Sum(n int) [20]byte { return [20]byte(i.Sums[n*20:]) }

// Metainfo is a .torrent file, checked.
type Metainfo struct {
	Info
	Raw       []byte     // the info dictionary, byte for byte as it stood in the file
	Trackers  [][]string // announce URLs in tiers (BEP 12)
	WebSeeds  []string   // url-list (BEP 19)
	Nodes     []string   // DHT nodes as host:port (BEP 5, "torrent file extensions")
	Comment   string
	CreatedBy string
	Created   time.Time // zero if the file does not say
}
