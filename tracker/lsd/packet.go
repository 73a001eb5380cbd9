package lsd

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// Hash is the info-hash of a torrent, or what stands for it.
type Hash = [20]byte

// MaxPacket is the longest packet that is sent, bytes (BEP 14).
const MaxPacket = 1400

// MaxHashes is how many hashes fit into one packet.
const MaxHashes = (MaxPacket - 128) / (len("Infohash: \r\n") + 40)

// Limits on what is read of others.
const (
	maxRead   = 2048 // bytes; longer packets are refused
	maxLines  = 64
	maxCookie = 64 // bytes
)

const startLine = "BT-SEARCH * HTTP/1.1"

// errPacket is wrapped by every error about a packet that is no announce.
var errPacket = errors.New("lsd: not an announce")

// Announce is what a packet says.
type Announce struct {
	Port   uint16 // where the sender accepts peers, TCP; never 0
	Hashes []Hash // at least one, none twice
	Cookie string // to tell one's own packets; may be empty
}

// Append appends the packet that is sent to group. a holds at most MaxHashes
// hashes and a cookie of at most 16 bytes.
func (a *Announce) Append(b []byte, group netip.AddrPort) []byte {
	b = append(b, startLine+"\r\nHost: "...)
	b = group.AppendTo(b)
	b = append(b, "\r\nPort: "...)
	b = strconv.AppendUint(b, uint64(a.Port), 10)
	for _, h := range a.Hashes {
		b = append(b, "\r\nInfohash: "...)
		b = hex.AppendEncode(b, h[:])
	}
	if a.Cookie != "" {
		b = append(append(b, "\r\ncookie: "...), a.Cookie...)
	}
	return append(b, "\r\n\r\n\r\n"...)
}

// Parse reads a packet. Header lines that it does not know, and hashes that are
// none, are passed over.
func (a *Announce) Parse(p []byte) error {
	*a = Announce{}
	if len(p) > maxRead {
		return fmt.Errorf("%w: %d bytes", errPacket, len(p))
	}
	first, rest, _ := bytes.Cut(p, []byte("\n"))
	if !bytes.HasPrefix(first, []byte("BT-SEARCH * HTTP/1.")) {
		return fmt.Errorf("%w: it begins with %.20q", errPacket, first)
	}
	for n := 0; len(rest) > 0; n++ {
		if n == maxLines {
			return fmt.Errorf("%w: more than %d lines", errPacket, maxLines)
		}
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		if err := a.header(bytes.TrimSpace(key), bytes.TrimSpace(value)); err != nil {
			return err
		}
	}
	switch {
	case a.Port == 0:
		return fmt.Errorf("%w: no port", errPacket)
	case len(a.Hashes) == 0:
		return fmt.Errorf("%w: no info-hash", errPacket)
	}
	return nil
}

func (a *Announce) header(key, value []byte) error {
	switch {
	case bytes.EqualFold(key, []byte("Port")):
		n, err := strconv.ParseUint(string(value), 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("%w: port %.10q", errPacket, value)
		}
		a.Port = uint16(n)
	case bytes.EqualFold(key, []byte("Infohash")):
		var h Hash
		if len(value) != hex.EncodedLen(len(h)) {
			break
		}
		if _, err := hex.Decode(h[:], value); err == nil && !slices.Contains(a.Hashes, h) {
			a.Hashes = append(a.Hashes, h)
		}
	case bytes.EqualFold(key, []byte("cookie")):
		a.Cookie = string(value[:min(len(value), maxCookie)])
	}
	return nil
}
