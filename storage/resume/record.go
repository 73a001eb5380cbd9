package resume

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"btd/metainfo"
)

// Versions of the sealed payloads.
const (
	recordVersion   = 1
	metainfoVersion = 1
	statsVersion    = 1
	bitsVersion     = 1
	filesVersion    = 1
	kvVersion       = 1
)

// Limits on one record. Encoding refuses what decoding would not accept.
const (
	maxRecord   = 4 << 20  // bytes, encoded
	maxFiles    = 1 << 21  // files of a torrent
	maxMetainfo = 64 << 20 // bytes
	maxKV       = 16 << 20 // bytes
)

// Record is what is remembered of one torrent beside its metainfo, its claims
// and its files.
type Record struct {
	Hash  metainfo.Hash
	Name  string
	Dir   string // download directory
	Size  int64  // bytes, for display
	Queue int64  // order among the torrents

	Added     time.Time
	Completed time.Time // zero until the download was complete once

	Stopped    bool
	Sequential bool
	Private    bool
	Scope      metainfo.Scope
	Secret     metainfo.Secret // of its closed swarm; zero if it has none
	Complete   bool            // every wanted piece was stored when the record was written

	LimitUp    int64         // bytes per second, 0 is unlimited
	LimitDown  int64         // bytes per second, 0 is unlimited
	RatioLimit float64       // uploaded/size, as session.Options has it
	SeedTime   time.Duration // as session.Options has it

	Priorities []uint8    // per file; nil means that all are normal
	Trackers   [][]string // tiers
	Pieces     int        // number of pieces of the torrent
	Magnet     string     // the link, until the metainfo is here; "" after that

	Single      bool  // the torrent is one file
	PieceLength int64 // bytes
	Wanted      int64 // bytes of files that are not skipped, for display
	Have        int64 // bytes that were there, for display
	HaveWanted  int64 // the part of Have in Wanted, for display
	PiecesHave  int   // for display

	Uploaded       int64 // payload bytes
	Downloaded     int64 // payload bytes
	Corrupt        int64 // bytes of pieces that failed their hash
	SecondsActive  int64
	SecondsSeeding int64
}

// Counters are the parts of a Record that change all the time.
type Counters struct {
	Uploaded       int64 // payload bytes
	Downloaded     int64 // payload bytes
	Corrupt        int64 // bytes of pieces that failed their hash
	SecondsActive  int64
	SecondsSeeding int64
}

// Counters are the record's counters.
func (r *Record) Counters() Counters {
	return Counters{r.Uploaded, r.Downloaded, r.Corrupt, r.SecondsActive, r.SecondsSeeding}
}

// SetCounters replaces the record's counters.
func (r *Record) SetCounters(c Counters) {
	r.Uploaded, r.Downloaded, r.Corrupt = c.Uploaded, c.Downloaded, c.Corrupt
	r.SecondsActive, r.SecondsSeeding = c.SecondsActive, c.SecondsSeeding
}

// Flag bits of an encoded record.
const (
	flagStopped = 1 << iota
	flagSequential
	flagPrivate
	flagComplete
	flagSingle
	flagMagnet
	flagLAN
	flagSecret
	flagsKnown = 1<<iota - 1
)

// appendRecord appends the payload of a record: flags, numbers, then strings
// and lists with their counts. Hash and counters are stored elsewhere.
func appendRecord(b []byte, r *Record) ([]byte, error) {
	var flags byte
	for i, on := range [...]bool{r.Stopped, r.Sequential, r.Private, r.Complete, r.Single, r.Magnet != "", r.Scope == metainfo.ScopeLAN, !r.Secret.IsZero()} {
		if on {
			flags |= 1 << i
		}
	}
	if r.Pieces < 0 || len(r.Priorities) > maxFiles || !r.Scope.Valid() {
		return nil, fmt.Errorf("resume: record of %v: %d pieces, %d files, %v", r.Hash, r.Pieces, len(r.Priorities), r.Scope)
	}
	start := len(b)
	b = append(b, flags)
	b = appendVarint(b, r.Size)
	b = appendVarint(b, r.Queue)
	b = appendVarint(b, nanos(r.Added))
	b = appendVarint(b, nanos(r.Completed))
	b = appendVarint(b, r.LimitUp)
	b = appendVarint(b, r.LimitDown)
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(r.RatioLimit))
	b = appendVarint(b, int64(r.SeedTime))
	b = binary.AppendUvarint(b, uint64(r.Pieces))
	b = appendVarint(b, r.PieceLength)
	b = appendVarint(b, r.Wanted)
	b = appendVarint(b, r.Have)
	b = appendVarint(b, r.HaveWanted)
	b = appendVarint(b, int64(r.PiecesHave))
	b = appendString(b, r.Name)
	b = appendString(b, r.Dir)
	b = appendRuns(b, r.Priorities)
	b = binary.AppendUvarint(b, uint64(len(r.Trackers)))
	for _, tier := range r.Trackers {
		b = binary.AppendUvarint(b, uint64(len(tier)))
		for _, url := range tier {
			b = appendString(b, url)
		}
	}
	if r.Magnet != "" {
		b = appendString(b, r.Magnet)
	}
	if !r.Secret.IsZero() {
		b = append(b, r.Secret[:]...)
	}
	if len(b)-start > maxRecord {
		return nil, fmt.Errorf("resume: record of %v: %d bytes, at most %d", r.Hash, len(b)-start, maxRecord)
	}
	return b, nil
}

// decodeRecord reads what appendRecord wrote. str makes strings of bytes.
func decodeRecord(p []byte, str func([]byte) string) (Record, error) {
	r := reader{b: p}
	var rec Record
	flags := r.byte("flags")
	if flags&^flagsKnown != 0 {
		r.fail("flags %#x", flags)
	}
	rec.Stopped, rec.Sequential = flags&flagStopped != 0, flags&flagSequential != 0
	rec.Private, rec.Complete = flags&flagPrivate != 0, flags&flagComplete != 0
	rec.Single = flags&flagSingle != 0
	if flags&flagLAN != 0 {
		rec.Scope = metainfo.ScopeLAN
	}
	rec.Size = r.varint("size")
	rec.Queue = r.varint("queue")
	rec.Added = fromNanos(r.varint("added"))
	rec.Completed = fromNanos(r.varint("completed"))
	rec.LimitUp = r.varint("upload limit")
	rec.LimitDown = r.varint("download limit")
	rec.RatioLimit = r.float("ratio limit")
	rec.SeedTime = time.Duration(r.varint("seed time"))
	rec.Pieces = int(r.size("pieces", math.MaxInt32))
	rec.PieceLength = r.varint("piece length")
	rec.Wanted = r.varint("wanted")
	rec.Have = r.varint("have")
	rec.HaveWanted = r.varint("have of wanted")
	rec.PiecesHave = int(r.varint("pieces had"))
	rec.Name = str(r.bytes("name"))
	rec.Dir = str(r.bytes("directory"))
	rec.Priorities = r.runs("priorities")
	if tiers := r.count("tiers"); tiers > 0 {
		rec.Trackers = make([][]string, 0, tiers)
		for range tiers {
			urls := r.count("trackers")
			tier := make([]string, 0, urls)
			for range urls {
				tier = append(tier, str(r.bytes("tracker")))
			}
			rec.Trackers = append(rec.Trackers, tier)
			if r.err != nil {
				break
			}
		}
	}
	if flags&flagMagnet != 0 {
		if rec.Magnet = str(r.bytes("magnet link")); rec.Magnet == "" {
			r.fail("no magnet link")
		}
	}
	if flags&flagSecret != 0 {
		if copy(rec.Secret[:], r.take("secret", len(rec.Secret))); rec.Secret.IsZero() {
			r.fail("no secret")
		}
	}
	if err := r.end(); err != nil {
		return Record{}, err
	}
	return rec, nil
}

// appendRuns appends bytes as runs: the number of runs, then value and length
// of each.
func appendRuns(b, p []byte) []byte {
	runs := 0
	for i := range p {
		if i == 0 || p[i] != p[i-1] {
			runs++
		}
	}
	b = binary.AppendUvarint(b, uint64(runs))
	for i := 0; i < len(p); {
		j := i + 1
		for j < len(p) && p[j] == p[i] {
			j++
		}
		b = append(b, p[i])
		b = binary.AppendUvarint(b, uint64(j-i))
		i = j
	}
	return b
}

func (r *reader) runs(what string) []byte {
	n := r.count(what)
	var p []byte
	for i := range n {
		v, k := r.byte(what), r.size(what, int64(maxFiles-len(p)))
		if r.err != nil {
			return nil
		}
		if k == 0 || i > 0 && p[len(p)-1] == v {
			r.fail("%s: run %d", what, i)
			return nil
		}
		at := len(p)
		p = append(p, make([]byte, k)...)
		for ; at < len(p); at++ {
			p[at] = v
		}
	}
	return p
}

func appendCounters(b []byte, c Counters) []byte {
	for _, x := range [...]int64{c.Uploaded, c.Downloaded, c.Corrupt, c.SecondsActive, c.SecondsSeeding} {
		b = appendVarint(b, x)
	}
	return b
}

func decodeCounters(p []byte) (Counters, error) {
	r := reader{b: p}
	c := Counters{
		Uploaded:       r.varint("uploaded"),
		Downloaded:     r.varint("downloaded"),
		Corrupt:        r.varint("corrupt"),
		SecondsActive:  r.varint("seconds active"),
		SecondsSeeding: r.varint("seconds seeding"),
	}
	if err := r.end(); err != nil {
		return Counters{}, err
	}
	return c, nil
}

// nanos is a time as nanoseconds since 1970. The zero time and times that
// int64 cannot hold (before 1678 and after 2262) become 0.
func nanos(t time.Time) int64 {
	if y := t.Year(); y < 1678 || y > 2261 {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
