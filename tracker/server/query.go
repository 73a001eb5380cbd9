package server

import (
	"errors"
	"strconv"
	"strings"
)

// What is wrong with a request over HTTP.
var (
	errQuery      = errors.New("the query cannot be parsed")
	errHash       = errors.New("info_hash must be 20 bytes")
	errPeerID     = errors.New("peer_id must be 20 bytes")
	errPort       = errors.New("port must be 1 to 65535")
	errLeft       = errors.New("left must be a number")
	errEvent      = errors.New("unknown event")
	errScrapeMany = errors.New("a scrape names 1 to 74 torrents")
)

// form is how an answer lists peers.
type form uint8

const (
	compact    form = iota // BEP 23
	full                   // dictionaries, BEP 3
	withoutIDs             // dictionaries without peer ids
)

// parameter splits the first parameter off a query. The value is as it was
// sent; malformed means that it has an escape that is none.
func parameter(query string) (key, value, rest string, malformed bool) {
	first, rest, _ := strings.Cut(query, "&")
	malformed = strings.Contains(first, ";")
	for i := 0; i < len(first); i++ {
		if first[i] == '%' {
			if i+2 >= len(first) || hexDigit(first[i+1]) < 0 || hexDigit(first[i+2]) < 0 {
				malformed = true
			}
			i += 2
		}
	}
	key, value, _ = strings.Cut(first, "=")
	return key, value, rest, malformed
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// twenty decodes a value that has 20 bytes.
func twenty(dst *[20]byte, value string) bool {
	n := 0
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			c = byte(hexDigit(value[i+1])<<4 | hexDigit(value[i+2]))
			i += 2
		}
		if n == len(dst) {
			return false
		}
		dst[n] = c
		n++
	}
	return n == len(dst)
}

// parseAnnounce reads the query of an announce (BEP 3, 23) into a. Of a
// parameter that is there twice the first counts.
func parseAnnounce(query string, a *announce) (form, error) {
	const (
		hash = 1 << iota
		id
		port
		left
		event
		numwant
		compactIs
		noIDs
	)
	a.want, a.seed, a.event = -1, false, eventNone // who does not say is a leecher
	seen, dictionaries, bare := 0, false, false
	var problem error
	note := func(flag int, ok bool, err error) {
		seen |= flag
		if !ok && problem == nil {
			problem = err
		}
	}
	for query != "" {
		key, v, rest, malformed := parameter(query)
		if query = rest; malformed {
			return 0, errQuery
		}
		switch {
		case key == "info_hash" && seen&hash == 0:
			note(hash, twenty(&a.hash, v), errHash)
		case key == "peer_id" && seen&id == 0:
			note(id, twenty(&a.peerID, v), errPeerID)
		case key == "port" && seen&port == 0:
			n, err := strconv.ParseUint(v, 10, 16)
			a.port = uint16(n)
			note(port, err == nil && n != 0, errPort)
		case key == "left" && seen&left == 0:
			var err error
			if v != "" {
				var n uint64
				n, err = strconv.ParseUint(v, 10, 64)
				a.seed = n == 0 && err == nil
			}
			note(left, err == nil, errLeft)
		case key == "event" && seen&event == 0:
			var ok bool
			a.event, ok = parseEvent(v)
			note(event, ok, errEvent)
		case key == "numwant" && seen&numwant == 0:
			if n, err := strconv.Atoi(v); err == nil {
				a.want = n
			}
			seen |= numwant
		case key == "compact" && seen&compactIs == 0:
			dictionaries = v == "0"
			seen |= compactIs
		case key == "no_peer_id" && seen&noIDs == 0:
			bare = v == "1"
			seen |= noIDs
		}
	}
	switch {
	case problem != nil:
		return 0, problem
	case seen&hash == 0:
		return 0, errHash
	case seen&id == 0:
		return 0, errPeerID
	case seen&port == 0:
		return 0, errPort
	case dictionaries && bare:
		return withoutIDs, nil
	case dictionaries:
		return full, nil
	}
	return compact, nil
}

// parseEvent reads an event. A partial seed says paused in every announce (BEP
// 21): to this tracker it is a peer with data missing, as any other.
func parseEvent(v string) (event, bool) {
	switch v {
	case "", "empty", "paused":
		return eventNone, true
	case "started":
		return eventStarted, true
	case "completed":
		return eventCompleted, true
	case "stopped":
		return eventStopped, true
	}
	return eventNone, false
}

const maxScrape = 74 // torrents in one request

// parseScrape reads the hashes of a scrape.
func parseScrape(query string) ([][20]byte, error) {
	var hashes [][20]byte
	for query != "" {
		key, v, rest, malformed := parameter(query)
		if query = rest; malformed {
			return nil, errQuery
		}
		if key != "info_hash" {
			continue
		}
		var h [20]byte
		if !twenty(&h, v) {
			return nil, errHash
		}
		if hashes = append(hashes, h); len(hashes) > maxScrape {
			break
		}
	}
	if len(hashes) == 0 || len(hashes) > maxScrape {
		return nil, errScrapeMany
	}
	return hashes, nil
}
