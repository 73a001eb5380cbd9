//go:build interop && linux

package interop

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/anacrolix/torrent/bencode"

	"btd/test/netns"
	"btd/tracker/server"
)

const trackerPort = 6969

// The announce URLs of the trackers in a lab: they run on its hub, whose
// addresses are the same in every lab.
var (
	httpTracker  = fmt.Sprintf("http://%s/announce", netip.AddrPortFrom(netns.Addr4(1), trackerPort))
	udpTracker   = fmt.Sprintf("udp://%s/announce", netip.AddrPortFrom(netns.Addr4(1), trackerPort))
	udpTracker6  = fmt.Sprintf("udp://%s/announce", netip.AddrPortFrom(netns.Addr6(1), trackerPort))
	httpTracker6 = fmt.Sprintf("http://%s/announce", netip.AddrPortFrom(netns.Addr6(1), trackerPort))
)

// trackerName is a short word for a tracker, for the names of tests.
func trackerName(announce string) string {
	switch announce {
	case udpTracker:
		return "udp"
	case httpTracker6:
		return "http6"
	case udpTracker6:
		return "udp6"
	}
	return "http"
}

func isIPv6(announce string) bool { return announce == httpTracker6 || announce == udpTracker6 }

// startOpentracker starts opentracker on the hub, for HTTP and UDP over
// IPv4. Debian's build serves only torrents on a whitelist.
func (l *lab) startOpentracker(ctx context.Context, torrents ...*torrent) {
	l.T.Helper()
	var list strings.Builder
	for _, t := range torrents {
		fmt.Fprintln(&list, strings.ToUpper(t.hex()))
	}
	_, err := l.Hub.Write("whitelist", list.String())
	l.Must(err)
	// Were it started as root it would give up root itself, and the kernel would forget the death signal.
	p, err := l.Hub.Start("opentracker", netns.Command{Nobody: true, Argv: []string{
		"opentracker", "-i", l.Hub.IP4.String(), "-p", strconv.Itoa(trackerPort), "-P", strconv.Itoa(trackerPort),
		"-w", filepath.Join(l.Hub.Dir, "whitelist"), "-d", l.Hub.Dir,
	}})
	l.Must(err)
	l.Must(netns.Up(ctx, p, func() error {
		_, _, err := l.scrape(ctx, httpTracker, torrents[0])
		return err
	}))
}

// startServer starts btd's own tracker on the hub, for HTTP and UDP over IPv6.
func (l *lab) startServer() {
	l.T.Helper()
	needIPv6(l.T)
	at := netip.AddrPortFrom(l.Hub.IP6, trackerPort)
	ln, err := l.Hub.Listen(at)
	l.Must(err)
	var packets net.PacketConn
	l.Must(l.Hub.NS.Do(func() (err error) {
		packets, err = net.ListenPacket("udp", at.String())
		return err
	}))
	ctx, cancel := context.WithCancel(context.Background())
	s := server.New(server.Config{})
	var running sync.WaitGroup
	running.Go(func() { _ = s.Serve(ctx, ln) })
	running.Go(func() { _ = s.ServeUDP(ctx, packets) })
	l.T.Cleanup(func() {
		cancel()
		packets.Close()
		running.Wait()
	})
}

// startTracker starts what serves the announce URL.
func (l *lab) startTracker(ctx context.Context, announce string, torrents ...*torrent) {
	l.T.Helper()
	if isIPv6(announce) {
		l.startServer()
		return
	}
	l.startOpentracker(ctx, torrents...)
}

// scrape asks an HTTP tracker how many seeds and leechers it knows.
func (l *lab) scrape(ctx context.Context, announce string, t *torrent) (seeds, leechers int, err error) {
	u := strings.Replace(announce, "/announce", "/scrape", 1) + "?info_hash=" + spaced(url.QueryEscape(string(t.hash[:])))
	req, err := http.NewRequestWithContext(ctx, "GET", u, nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := l.Hub.HTTP().Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, 0, err
	}
	var answer struct {
		Files map[string]struct {
			Complete   int `bencode:"complete"`
			Incomplete int `bencode:"incomplete"`
		} `bencode:"files"`
	}
	if err := bencode.Unmarshal(raw, &answer); err != nil {
		return 0, 0, fmt.Errorf("scrape: %w: %.100q", err, raw)
	}
	f := answer.Files[string(t.hash[:])]
	return f.Complete, f.Incomplete, nil
}

// spaced writes spaces as trackers read them: opentracker takes a plus for a
// plus.
func spaced(query string) string { return strings.ReplaceAll(query, "+", "%20") }

// waitSwarm waits until the tracker knows so many seeds and leechers.
func (l *lab) waitSwarm(ctx context.Context, announce string, t *torrent, seeds, leechers int) {
	l.T.Helper()
	announce = strings.Replace(announce, "udp://", "http://", 1) // the same tracker, and easier to ask
	var s, n int
	err := netns.Poll(ctx, 50*time.Millisecond, "the tracker hears of everybody", func() (ok bool, err error) {
		s, n, err = l.scrape(ctx, announce, t)
		return s >= seeds && n >= leechers, err
	})
	if err != nil {
		l.T.Fatalf("%v (torrent %s: it knows %d seeds and %d leechers, want %d and %d)",
			err, hex.EncodeToString(t.hash[:]), s, n, seeds, leechers)
	}
}
