package metainfo

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Limits on what a torrent brings along. The rest is ignored.
const (
	maxTrackers = 128
	maxWebSeeds = 128
	maxNodes    = 128
	maxURL      = 2048 // bytes
	maxLooked   = 4096 // elements looked at in a list, good or bad
)

// TrackerURL checks an announce URL and trims the space around it: http,
// https or udp, with a host, and for udp with a port (BEP 3, 15).
func TrackerURL(s string) (string, error) {
	s, u, err := parseURL(s, "http", "https", "udp")
	if err == nil && u.Scheme == "udp" && u.Port() == "" {
		err = fmt.Errorf("metainfo: URL %s has no port", quote(s))
	}
	return s, err
}

// WebSeedURL checks the URL of a web seed and trims the space around it
// (BEP 19).
func WebSeedURL(s string) (string, error) {
	s, _, err := parseURL(s, "http", "https", "ftp")
	return s, err
}

func parseURL(s string, schemes ...string) (string, *url.URL, error) {
	s = strings.ToValidUTF8(strings.TrimSpace(s), "%EF%BF%BD")
	if len(s) > maxURL {
		return "", nil, fmt.Errorf("metainfo: URL of %d bytes, at most %d are kept", len(s), maxURL)
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", nil, fmt.Errorf("metainfo: %w", err)
	}
	if !slices.Contains(schemes, u.Scheme) {
		return "", nil, fmt.Errorf("metainfo: URL %s does not begin with %s", quote(s), strings.Join(schemes, ", "))
	}
	if u.Hostname() == "" {
		return "", nil, fmt.Errorf("metainfo: URL %s has no host", quote(s))
	}
	if p := u.Port(); p != "" && !validPort(p) {
		return "", nil, fmt.Errorf("metainfo: URL %s has a port that is not 1 to 65535", quote(s))
	}
	return s, u, nil
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// readTrackers reads the tiers of announce-list, or announce where that
// yields nothing (BEP 12). What is not the URL of a tracker is skipped.
func readTrackers(list, single value) [][]string {
	var tiers [][]string
	looked := 0
	for tier := range list.elements() {
		urls := tier.elements()
		if tier.kind() == 's' { // a plain list of URLs, seen in the wild
			urls = func(yield func(value) bool) { yield(tier) }
		}
		var t []string
		for e := range urls {
			var s string
			if e.decode("", 's', &s) == nil {
				t = append(t, s)
			}
			if looked++; looked > maxLooked {
				break
			}
		}
		tiers = append(tiers, t)
		if looked++; looked > maxLooked {
			break
		}
	}
	if got := MergeTrackers(nil, tiers); got != nil {
		return got
	}
	var s string
	if single.decode("", 's', &s) != nil {
		return nil
	}
	return MergeTrackers(nil, [][]string{{s}})
}

// MergeTrackers is old followed by the tiers of add, without the URLs that
// old has already, without what TrackerURL refuses, and without tiers that
// this leaves empty. The result has at most 128 URLs and shares no memory
// with its arguments.
func MergeTrackers(old, add [][]string) [][]string {
	var (
		merged [][]string
		known  = make(map[string]bool)
	)
	for _, tiers := range [][][]string{old, add} {
		for _, tier := range tiers {
			var t []string
			for _, s := range tier {
				s, err := TrackerURL(s)
				if err != nil || known[s] || len(known) == maxTrackers {
					continue
				}
				known[s] = true
				t = append(t, s)
			}
			if t != nil {
				merged = append(merged, t)
			}
		}
	}
	return merged
}

// readWebSeeds reads url-list, a string or a list of strings (BEP 19).
func readWebSeeds(v value) []string {
	all := v.elements()
	if v.kind() == 's' {
		all = func(yield func(value) bool) { yield(v) }
	}
	var urls []string
	looked := 0
	for e := range all {
		var s string
		if e.decode("", 's', &s) == nil {
			if s, err := WebSeedURL(s); err == nil && !slices.Contains(urls, s) {
				urls = append(urls, s)
			}
		}
		if looked++; looked > maxLooked || len(urls) == maxWebSeeds {
			break
		}
	}
	return urls
}

// readNodes reads nodes, a list of lists of host and port, as host:port (BEP
// 5, "torrent file extensions").
func readNodes(v value) []string {
	var nodes []string
	looked := 0
	for e := range v.elements() {
		if s := readNode(e); s != "" && !slices.Contains(nodes, s) {
			nodes = append(nodes, s)
		}
		if looked++; looked > maxLooked || len(nodes) == maxNodes {
			break
		}
	}
	return nodes
}

func readNode(v value) string {
	var pair []value
	for e := range v.elements() {
		if pair = append(pair, e); len(pair) > 2 {
			return ""
		}
	}
	var (
		host string
		port uint16
	)
	if len(pair) != 2 || pair[0].decode("", 's', &host) != nil || pair[1].decode("", 'i', &port) != nil {
		return ""
	}
	s := net.JoinHostPort(host, strconv.Itoa(int(port)))
	if h, p, ok := splitNode(s); !ok || h != host || p != port {
		return ""
	}
	return s
}

// splitNode takes apart what readNode made.
func splitNode(s string) (host string, port uint16, ok bool) {
	host, p, err := net.SplitHostPort(s)
	n, perr := strconv.ParseUint(p, 10, 16)
	if err != nil || perr != nil || n == 0 || host == "" || len(host) > maxName {
		return "", 0, false
	}
	for _, c := range []byte(host) {
		if c <= ' ' || c >= 0x7f {
			return "", 0, false
		}
	}
	return host, uint16(n), true
}
