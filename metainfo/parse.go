package metainfo

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits on what a torrent may ask of us. They bound the memory of
// everything that grows with the content. Package piece has the same.
const (
	MaxPieceLength = 512 << 20 // bytes
	MaxPieces      = 1 << 20
)

const (
	maxComment  = 64 << 10 // bytes; what is longer is cut
	maxLabel    = 4 << 10  // bytes of created by and source
	maxUnixTime = 253402300799
)

// The keys that are looked at, in a file and in its info dictionary.
var (
	fileKeys = [...]string{
		"announce", "announce-list", "comment", "comment.utf-8", "created by", "creation date", "info", "nodes", "private", "url-list",
	}
	infoKeys = [...]string{
		"attr", "file tree", "files", "length", "meta version", "name", "name.utf-8", "piece length", "pieces", "private", "source",
	}
)

// Parse reads a .torrent file (BEP 3). The result shares no memory with b.
// Errors wrap ErrMalformed or ErrUnsupported, and say which path is refused
// with a *PathError.
func Parse(b []byte) (*Metainfo, error) {
	if err := scan(b, MaxFileSize, maxDepth); err != nil {
		return nil, err
	}
	top := value(b).pick(fileKeys[:]...)
	raw := top["info"]
	if err := raw.want("info", 'd'); err != nil {
		return nil, err
	}
	if len(raw) > MaxInfoSize {
		return nil, malformed("info has %d bytes, at most %d are read", len(raw), MaxInfoSize)
	}
	info, err := readInfo(raw)
	if err != nil {
		return nil, err
	}
	m := &Metainfo{
		Info:      *info,
		Raw:       bytes.Clone(raw),
		Trackers:  readTrackers(top["announce-list"], top["announce"]),
		WebSeeds:  readWebSeeds(top["url-list"]),
		Nodes:     readNodes(top["nodes"]),
		Comment:   firstText(maxComment, top["comment.utf-8"], top["comment"]),
		CreatedBy: firstText(maxLabel, top["created by"]),
	}
	// BEP 27 puts the flag into info. Where it was put outside, staying
	// among the trackers' peers is what whoever did that wants.
	m.Private = m.Private || isSet(top["private"])
	var created int64
	if top["creation date"].decode("creation date", 'i', &created) == nil && created > 0 && created <= maxUnixTime {
		m.Created = time.Unix(created, 0).UTC()
	}
	return m, nil
}

// ParseInfo reads an info dictionary alone, as BEP 9 delivers it. The result
// shares no memory with raw.
func ParseInfo(raw []byte) (*Info, error) {
	if err := scan(raw, MaxInfoSize, maxDepth-1); err != nil {
		return nil, err
	}
	return readInfo(raw)
}

// readInfo reads an info dictionary that was scanned.
func readInfo(raw value) (*Info, error) {
	keys := raw.pick(infoKeys[:]...)
	v2, err := checkVersion(keys)
	if err != nil {
		return nil, err
	}
	info := &Info{
		Hash:    V1(sha1.Sum(raw)),
		Private: isSet(keys["private"]),
		Source:  firstText(maxLabel, keys["source"]),
	}
	if v2 {
		info.Hash = info.Hash.WithV2(sha256.Sum256(raw))
	}
	if err := keys["piece length"].decode("piece length", 'i', &info.PieceLength); err != nil {
		return nil, err
	}
	if err := keys["pieces"].decode("pieces", 's', &info.Sums); err != nil {
		return nil, err
	}
	if info.Name, err = readName(keys["name.utf-8"], keys["name"]); err != nil {
		return nil, err
	}
	if err := readContent(info, keys); err != nil {
		return nil, err
	}
	return info, checkPieces(info)
}

// checkVersion refuses torrents that have no v1 part, and tells whether there
// is a v2 part (BEP 52, "meta version" and "upgrade path").
func checkVersion(keys map[string]value) (v2 bool, err error) {
	if keys["meta version"] == nil {
		return false, nil
	}
	var version int64
	if err := keys["meta version"].decode("meta version", 'i', &version); err != nil {
		return false, err
	}
	switch {
	case version > 2:
		return false, fmt.Errorf("%w: meta version %d, newer than this program knows", ErrUnsupported, version)
	case version == 2 && keys["pieces"] == nil:
		return false, fmt.Errorf("%w: it is v2 only (BEP 52), and v2-only torrents are not supported yet", ErrUnsupported)
	}
	return version == 2 && keys["file tree"].kind() == 'd', nil
}

// readName reads the name of the torrent, preferring the one that says it is
// UTF-8 if that is true.
func readName(name8, name value) (string, error) {
	if utf8.Valid(name8.text()) && len(name8.text()) > 0 {
		name = name8
	}
	var s string
	if err := name.decode("name", 's', &s); err != nil {
		return "", err
	}
	s = toUTF8(s)
	if why := checkName(s); why != "" {
		return "", &PathError{string(name.text()), why}
	}
	return s, nil
}

// readContent reads what the torrent holds: length or files (BEP 3, "info
// dictionary").
func readContent(info *Info, keys map[string]value) (err error) {
	switch list := keys["files"]; {
	case list != nil && keys["length"] != nil:
		return malformed("info has both length and files")
	case list != nil:
		if err := list.want("files", 'l'); err != nil {
			return err
		}
		info.Files, info.Total, err = readFiles(list, info.Name)
		return err
	}
	info.Single = true
	f := File{Path: info.Name}
	if err := keys["length"].decode("length", 'i', &f.Length); err != nil {
		return err
	}
	if f.Length < 0 {
		return &PathError{f.Path, fmt.Sprintf("has the length %d", f.Length)}
	}
	f.setAttributes(keys["attr"].text())
	f.Pad, f.Symlink = false, false // make no sense for the only file
	info.Files, info.Total = []File{f}, f.Length
	return nil
}

// checkPieces holds the sums against the lengths.
func checkPieces(info *Info) error {
	if info.PieceLength < 1 || info.PieceLength > MaxPieceLength {
		return malformed("piece length %d, want 1 to %d bytes", info.PieceLength, MaxPieceLength)
	}
	if len(info.Sums)%20 != 0 {
		return malformed("pieces has %d bytes, not a multiple of 20", len(info.Sums))
	}
	data := int64(0)
	for i := range info.Files {
		if !info.Files[i].Pad {
			data += info.Files[i].Length
		}
	}
	if data == 0 {
		return malformed("the torrent holds no data")
	}
	want := (info.Total-1)/info.PieceLength + 1
	switch {
	case want > MaxPieces:
		return malformed("%d pieces, at most %d are supported", want, MaxPieces)
	case want != int64(info.Pieces()):
		return malformed("%d piece hashes, but %d bytes in pieces of %d bytes make %d",
			info.Pieces(), info.Total, info.PieceLength, want)
	}
	return nil
}

// isSet tells whether an integer used as a flag is there and not 0.
func isSet(v value) bool {
	n := int64(0)
	return v.decode("", 'i', &n) == nil && n != 0
}

// firstText is the first of the values that is a string with something in
// it, as UTF-8 of at most limit bytes.
func firstText(limit int, from ...value) string {
	for _, v := range from {
		var s string
		if v.decode("", 's', &s) != nil || s == "" {
			continue
		}
		s = strings.ToValidUTF8(s[:min(len(s), 2*limit)], "\uFFFD")
		if len(s) > limit {
			s = strings.ToValidUTF8(s[:limit], "")
		}
		return s
	}
	return ""
}
