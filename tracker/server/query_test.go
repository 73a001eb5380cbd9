package server

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anacrolix/torrent/bencode"
)

// FuzzAnnounceQuery compares what is read of a query with what net/url reads.
func FuzzAnnounceQuery(f *testing.F) {
	good := "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=%00%fFbbbbbbbbbbbbbbbb+%2B&port=6881&left=0"
	for _, q := range []string{
		good, good + "&event=stopped&numwant=-9&compact=0&no_peer_id=1", "port=0&" + good, good + "&port=7", good + "&x=%zz", good + ";", "&&=&" + good,
		"info_hash=%", "info_hash=a&info_hash=b", "", good + "&left=99999999999999999999", good + "&event=dance", good + "&event=paused",
		good + "&numwant=50x",
	} {
		f.Add(q)
	}
	s := New(Config{Rate: 1 << 30, Burst: 1 << 30, MaxPeers: 1000})
	h := newHandler().(*handler)
	from := source{addr: netip.AddrFrom4([4]byte{1, 2, 3, 4})}
	f.Fuzz(func(t *testing.T, query string) {
		var a announce
		form, err := parseAnnounce(query, &a)
		for _, path := range []string{"/announce", "/scrape"} {
			body, ok := h.answer(s, path, query, from, time.Now())
			var any map[string]any
			if !ok || bencode.Unmarshal(body, &any) != nil {
				t.Fatalf("answer %q", body)
			}
			if _, failed := any["failure reason"]; path == "/announce" && err != nil && !failed {
				t.Fatalf("error %v, answer %q", err, body)
			}
		}
		values, uerr := url.ParseQuery(query)
		if uerr != nil || strings.Contains(query, "%") && !sameKeys(query, values) {
			return // keys with escapes are not known here
		}
		if want := plainly(values, &announce{}); (err == nil) != want {
			t.Fatalf("%q: %v, want %v", query, err, want)
		}
		if err != nil {
			return
		}
		var b announce
		plainly(values, &b)
		if a != b {
			t.Fatalf("%q: read as\n%+v, want\n%+v", query, a, b)
		}
		if dicts := values.Get("compact") == "0"; dicts != (form != compact) || (form == withoutIDs) != (dicts && values.Get("no_peer_id") == "1") {
			t.Fatalf("%q: form %d", query, form)
		}
	})
}

// sameKeys tells whether the keys are as they were sent.
func sameKeys(query string, values url.Values) bool {
	for part := range strings.SplitSeq(query, "&") {
		key, _, _ := strings.Cut(part, "=")
		if _, ok := values[key]; part != "" && !ok {
			return false
		}
	}
	return true
}

// plainly reads an announce out of values.
func plainly(v url.Values, a *announce) bool {
	port, err := strconv.ParseUint(v.Get("port"), 10, 16)
	if err != nil || port == 0 || len(v.Get("info_hash")) != 20 || len(v.Get("peer_id")) != 20 {
		return false
	}
	a.hash, a.peerID, a.port = [20]byte([]byte(v.Get("info_hash"))), [20]byte([]byte(v.Get("peer_id"))), uint16(port)
	if v.Get("left") != "" {
		left, err := strconv.ParseUint(v.Get("left"), 10, 64)
		if err != nil {
			return false
		}
		a.seed = left == 0
	}
	a.want = -1
	if n, err := strconv.Atoi(v.Get("numwant")); err == nil {
		a.want = n
	}
	events := []string{"", "started", "completed", "stopped"}
	if e := v.Get("event"); e != "empty" && e != "paused" {
		if !slices.Contains(events, e) {
			return false
		}
		a.event = event(slices.Index(events, e))
	}
	return true
}
