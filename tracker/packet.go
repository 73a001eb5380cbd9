package tracker

import (
	"encoding/binary"
	"fmt"
	"time"
)

// The packets of BEP 15, big endian.
//
//	connect request    u64 magic          u32 action  u32 transaction
//	announce request   u64 connection     u32 action  u32 transaction  82 bytes, then options of BEP 41
//	scrape request     u64 connection     u32 action  u32 transaction  20 bytes per hash
//	any answer         u32 action         u32 transaction  ...
const (
	udpMagic = 0x41727101980

	actionConnect  = 0
	actionAnnounce = 1
	actionScrape   = 2
	actionError    = 3

	maxScrapeUDP = 74   // hashes in one packet
	maxURLData   = 1020 // bytes of path and query that are sent (BEP 41)
	optURLData   = 2
)

func appendHeader(b []byte, connection uint64, action, transaction uint32) []byte {
	b = binary.BigEndian.AppendUint64(b, connection)
	b = binary.BigEndian.AppendUint32(b, action)
	return binary.BigEndian.AppendUint32(b, transaction)
}

// appendAnnounce adds the body of an announce request. urlData is the path
// and query of the tracker's URL.
func appendAnnounce(b []byte, r Request, urlData string) []byte {
	b = append(b, r.InfoHash[:]...)
	b = append(b, r.PeerID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(max(r.Downloaded, 0)))
	b = binary.BigEndian.AppendUint64(b, uint64(max(r.Left, 0)))
	b = binary.BigEndian.AppendUint64(b, uint64(max(r.Uploaded, 0)))
	b = binary.BigEndian.AppendUint32(b, udpEvent(r.Event))
	b = binary.BigEndian.AppendUint32(b, 0) // our address: the source of the packet
	b = binary.BigEndian.AppendUint32(b, r.Key)
	want := int32(-1)
	switch {
	case r.Event == Stopped || r.NumWant < 0:
		want = 0
	case r.NumWant > 0:
		want = int32(min(r.NumWant, 1<<31-1))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(want))
	b = binary.BigEndian.AppendUint16(b, r.Port)
	if len(urlData) > maxURLData {
		return b // half a query is worse than none
	}
	for len(urlData) > 0 {
		n := min(len(urlData), 255)
		b = append(b, optURLData, byte(n))
		b = append(b, urlData[:n]...)
		urlData = urlData[n:]
	}
	return b
}

func udpEvent(e Event) uint32 {
	switch e {
	case Completed:
		return 1
	case Started:
		return 2
	case Stopped:
		return 3
	}
	return 0
}

// answerHeader reads the start of an answer.
func answerHeader(p []byte) (action, transaction uint32, ok bool) {
	if len(p) < 8 {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:]), true
}

// plausible tells whether a packet can be the answer to an action. What is
// not is dropped as if it had not come: the answer may still follow.
func plausible(p []byte, want uint32) bool {
	action, _, ok := answerHeader(p)
	if !ok {
		return false
	}
	if action == actionError {
		return true
	}
	least := map[uint32]int{actionConnect: 16, actionAnnounce: 20, actionScrape: 8}[want]
	return action == want && len(p) >= least
}

// decodeUDPError reads an error packet, if p is one.
func decodeUDPError(p []byte) error {
	if action, _, ok := answerHeader(p); !ok || action != actionError {
		return nil
	}
	return &FailureError{Reason: clean(p[8:])}
}

// decodeUDPConnect reads the connection id.
func decodeUDPConnect(p []byte) (uint64, error) {
	if len(p) < 16 {
		return 0, fmt.Errorf("%w: connect answer of %d bytes, want 16", ErrMalformed, len(p))
	}
	return binary.BigEndian.Uint64(p[8:]), nil
}

// decodeUDPAnnounce reads the answer to an announce. The family of the socket
// says how long an address is.
func decodeUDPAnnounce(p []byte, v6 bool, maxPeers int) (Response, error) {
	if len(p) < 20 {
		return Response{}, fmt.Errorf("%w: announce answer of %d bytes, want 20 or more", ErrMalformed, len(p))
	}
	size := 4
	if v6 {
		size = 16
	}
	return Response{
		Interval:  clampInterval(int64(int32(binary.BigEndian.Uint32(p[8:])))),
		Leechers:  count(int64(int32(binary.BigEndian.Uint32(p[12:])))),
		Seeds:     count(int64(int32(binary.BigEndian.Uint32(p[16:])))),
		Downloads: -1,
		Peers:     appendCompact(nil, p[20:], size, maxPeers),
	}, nil
}

// decodeUDPScrape reads the answer to a scrape of n torrents; torrents that
// it does not cover are unknown.
func decodeUDPScrape(p []byte, n int) ([]ScrapeResult, error) {
	if len(p) < 8 {
		return nil, fmt.Errorf("%w: scrape answer of %d bytes, want 8 or more", ErrMalformed, len(p))
	}
	out := make([]ScrapeResult, n)
	p = p[8:]
	for i := range out {
		if len(p) < 12 {
			out[i] = unknownScrape
			continue
		}
		out[i] = ScrapeResult{
			Seeds:     count(int64(int32(binary.BigEndian.Uint32(p)))),
			Downloads: count(int64(int32(binary.BigEndian.Uint32(p[4:])))),
			Leechers:  count(int64(int32(binary.BigEndian.Uint32(p[8:])))),
		}
		p = p[12:]
	}
	return out, nil
}

// connectionLife is how long a client may use a connection id.
const connectionLife = time.Minute
