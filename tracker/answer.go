package tracker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// decodeAnnounce reads the body of an HTTP announce. At most maxPeers
// addresses are taken from it.
func decodeAnnounce(body []byte, maxPeers int) (Response, error) {
	r := Response{Interval: defaultInterval, Seeds: -1, Leechers: -1, Downloads: -1}
	var (
		refusal      refusal
		peers, peer6 []byte
		known        bool
	)
	err := dict(body, 0, func(key, value []byte) bool {
		n, isNumber := number(value)
		s, isText := str(value)
		switch k := string(key); {
		case refusal.take(k, value):
		case k == "interval" && isNumber:
			r.Interval, known = clampInterval(n), true
		case k == "min interval" && isNumber:
			r.MinInterval = clampMin(n)
		case k == "complete" && isNumber:
			r.Seeds = count(n)
		case k == "incomplete" && isNumber:
			r.Leechers = count(n)
		case k == "downloaded" && isNumber:
			r.Downloads = count(n)
		case k == "tracker id" && isText && len(s) <= maxText:
			r.TrackerID = string(s)
		case k == "warning message" && isText:
			r.Warning = clean(s)
		case k == "external ip" && isText:
			if a, ok := netip.AddrFromSlice(s); ok {
				r.External = a.Unmap()
			}
		case k == "peers":
			peers, known = value, true
		case k == "peers6":
			peer6, known = value, true
		}
		return true
	})
	if err != nil {
		return Response{}, notBencode(body, err)
	}
	if err := refusal.err(); err != nil {
		return Response{}, err
	}
	if !known {
		return Response{}, fmt.Errorf("%w: it has neither peers nor an interval", ErrMalformed)
	}
	r.Interval = max(r.Interval, r.MinInterval)
	r.Peers = appendPeers(r.Peers, peers, 4, maxPeers)
	r.Peers = appendPeers(r.Peers, peer6, 16, maxPeers)
	return r, nil
}

// notBencode says what arrived instead.
func notBencode(body []byte, err error) error {
	if head := bytes.TrimSpace(body); len(head) == 0 {
		return fmt.Errorf("%w: it is empty", ErrMalformed)
	} else if head[0] == '<' {
		return fmt.Errorf("%w: it is a web page", ErrMalformed)
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

// refusal gathers the keys of a failure (BEP 3, BEP 31).
type refusal struct {
	failed bool
	e      FailureError
}

// take tells whether key belongs to a failure.
func (f *refusal) take(key string, value []byte) bool {
	switch key {
	case "failure reason", "failure_reason": // BEP 48 spells it the second way
		s, ok := str(value)
		if ok {
			f.failed, f.e.Reason = true, clean(s)
		}
		return ok
	case "retry in":
		if s, ok := str(value); ok && string(s) == "never" {
			f.e.Never = true
		} else if n, ok := number(value); ok && n > 0 {
			f.e.RetryIn = time.Duration(min(n, int64(maxInterval/time.Minute))) * time.Minute
		}
		return true
	}
	return false
}

func (f *refusal) err() error {
	if !f.failed {
		return nil
	}
	return &f.e
}

// appendPeers reads a list of peers in compact (BEP 23, BEP 7) or dictionary
// form (BEP 3). size is the length of an address in the compact form.
func appendPeers(dst []netip.AddrPort, v []byte, size, limit int) []netip.AddrPort {
	if s, ok := str(v); ok {
		return appendCompact(dst, s, size, limit)
	}
	eachOf(v, func(peer []byte) bool {
		if a, ok := dictPeer(peer); ok {
			dst = append(dst, a)
		}
		return len(dst) < limit
	})
	return dst
}

// appendCompact reads addresses of size bytes, each followed by a port.
func appendCompact(dst []netip.AddrPort, b []byte, size, limit int) []netip.AddrPort {
	stride := size + 2
	if room := min(len(b)/stride, limit-len(dst)); room > 0 && dst == nil {
		dst = make([]netip.AddrPort, 0, room)
	}
	for ; len(b) >= stride && len(dst) < limit; b = b[stride:] {
		ip, _ := netip.AddrFromSlice(b[:size])
		if a := netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(b[size:])); dialable(a) {
			dst = append(dst, a)
		}
	}
	return dst
}

// dictPeer reads a peer in dictionary form. Host names are not resolved.
func dictPeer(v []byte) (netip.AddrPort, bool) {
	var (
		ip   netip.Addr
		port int64
	)
	err := dict(v, 0, func(key, value []byte) bool {
		switch string(key) {
		case "ip":
			if s, ok := str(value); ok && len(s) <= 45 {
				if a, err := netip.ParseAddr(string(s)); err == nil {
					ip = a.Unmap().WithZone("")
				}
			}
		case "port":
			port, _ = number(value)
		}
		return true
	})
	if err != nil || port <= 0 || port > 65535 {
		return netip.AddrPort{}, false
	}
	a := netip.AddrPortFrom(ip, uint16(port))
	return a, dialable(a)
}

// decodeScrape reads the body of an HTTP scrape; out[i] is for hashes[i].
func decodeScrape(body []byte, hashes [][20]byte) ([]ScrapeResult, error) {
	var (
		refusal refusal
		files   []byte
	)
	err := dict(body, 0, func(key, value []byte) bool {
		if !refusal.take(string(key), value) && string(key) == "files" {
			files = value
		}
		return true
	})
	if err != nil {
		return nil, notBencode(body, err)
	}
	if err := refusal.err(); err != nil {
		return nil, err
	}
	if files == nil {
		return nil, fmt.Errorf("%w: it has no files", ErrMalformed)
	}
	at := make(map[[20]byte]int, len(hashes))
	out := make([]ScrapeResult, len(hashes))
	for i, h := range hashes {
		at[h], out[i] = i, unknownScrape
	}
	err = dict(files, 1, func(key, value []byte) bool {
		if len(key) != 20 {
			return true
		}
		if i, ok := at[[20]byte(key)]; ok {
			out[i] = scrapeFile(value)
		}
		return true
	})
	if err != nil {
		return nil, notBencode(body, err)
	}
	for i, h := range hashes { // a hash asked for twice
		out[i] = out[at[h]]
	}
	return out, nil
}

func scrapeFile(v []byte) ScrapeResult {
	r := unknownScrape
	if dict(v, 2, func(key, value []byte) bool {
		n, ok := number(value)
		if !ok {
			return true
		}
		switch string(key) {
		case "complete":
			r.Seeds = count(n)
		case "incomplete":
			r.Leechers = count(n)
		case "downloaded":
			r.Downloads = count(n)
		}
		return true
	}) != nil {
		return unknownScrape
	}
	return r
}
