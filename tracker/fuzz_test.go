package tracker

import (
	"testing"
	"time"

	"github.com/anacrolix/torrent/bencode"
)

func checkResponse(t *testing.T, r Response, maxPeers int) {
	t.Helper()
	if r.Interval < 30*time.Second || r.Interval > 12*time.Hour || r.MinInterval < 0 || r.MinInterval > r.Interval {
		t.Fatalf("intervals %v, %v", r.Interval, r.MinInterval)
	}
	if r.Seeds < -1 || r.Leechers < -1 || r.Downloads < -1 || len(r.Warning) > maxText || len(r.TrackerID) > maxText {
		t.Fatalf("%+v", r)
	}
	if len(r.Peers) > maxPeers {
		t.Fatalf("%d peers", len(r.Peers))
	}
	for _, p := range r.Peers {
		if !dialable(p) || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			t.Fatalf("peer %v", p)
		}
	}
}

func FuzzDecodeAnnounce(f *testing.F) {
	for _, s := range []string{
		"d8:completei5e10:incompletei6e8:intervali60e5:peers6:\x01\x02\x03\x04\x1a\xe1e",
		"d8:intervali60e5:peersld2:ip7:1.2.3.44:porti6881eee6:peers618:aaaaaaaaaaaaaaaaaae",
		"d14:failure reason4:busy8:retry ini7ee", "d11:external ip4:abcd8:intervali-60ee", "d15:warning message2:hie", "<html>", "", "de", "le", "i5e",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if r, err := decodeAnnounce(body, 10); err == nil {
			checkResponse(t, r, 10)
		}
		// What the library accepts as a dictionary, we can walk as well.
		var oracle map[string]bencode.Bytes
		if bencode.Unmarshal(body, &oracle) == nil && len(oracle) > 0 {
			got := make(map[string]string)
			err := dict(body, 0, func(k, v []byte) bool {
				got[string(k)] = string(v)
				return true
			})
			if err != nil {
				return // nested deeper, or numbers longer, than we allow
			}
			for k, v := range oracle {
				if got[k] != string(v) {
					t.Fatalf("key %q: %q, the library has %q", k, got[k], v)
				}
			}
		}
	})
}

func FuzzDecodeScrape(f *testing.F) {
	hash := [20]byte([]byte("aaaaaaaaaaaaaaaaaaaa"))
	f.Add([]byte("d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei5e10:downloadedi50e10:incompletei10eeee"))
	f.Add([]byte("d5:filesde5:flagsdee"))
	f.Fuzz(func(t *testing.T, body []byte) {
		out, err := decodeScrape(body, [][20]byte{hash, {}, hash})
		if err == nil && (len(out) != 3 || out[0] != out[2] || out[0].Seeds < -1) {
			t.Fatalf("%v", out)
		}
	})
}

func FuzzUDPPacket(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 7, 8, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 0, 80}, uint8(1))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8}, uint8(0))
	f.Add([]byte{0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}, uint8(2))
	f.Add([]byte("\x00\x00\x00\x03\x00\x00\x00\x09nope"), uint8(1))
	f.Fuzz(func(t *testing.T, p []byte, kind uint8) {
		want := uint32(kind % 3)
		if !plausible(p, want) {
			return
		}
		if decodeUDPError(p) != nil {
			return
		}
		switch want {
		case actionConnect:
			if _, err := decodeUDPConnect(p); err != nil {
				t.Fatal(err)
			}
		case actionAnnounce:
			for _, v6 := range []bool{false, true} {
				r, err := decodeUDPAnnounce(p, v6, 10)
				if err != nil {
					t.Fatal(err)
				}
				checkResponse(t, r, 10)
			}
		case actionScrape:
			if out, err := decodeUDPScrape(p, 5); err != nil || len(out) != 5 {
				t.Fatal(out, err)
			}
		}
	})
}
