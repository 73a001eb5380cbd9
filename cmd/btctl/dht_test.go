package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"btd/api/client"
)

func TestDHTStats(t *testing.T) {
	d := newDaemon(t)
	d.answers["GET /v1/dht/stats"] = client.DHTStats{
		On: true, Status: "IPv4: 7 nodes known", Port: 6881, Torrents: 3,
		IPv4: &client.DHTNode{ID: "abcd", Status: "7 nodes known", QueriesOut: map[string]int64{"ping": 2, "get_peers": 9}, HeldPeers: 5, HeldTorrents: 4},
	}
	r := d.run("dht", "stats")
	for _, want := range []string{"UDP port 6881", "3 announced", "9 get_peers, 2 ping; 0 answered", "5 peers of 4 torrents", "not known"} {
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("%q is missing: %v", want, r)
		}
	}
}

func TestDHTTraceInWords(t *testing.T) {
	for _, x := range []struct {
		e    client.DHTEvent
		want string
	}{
		{client.DHTEvent{AfterMS: 36.4, Kind: "answered", Hop: 1, Bits: 152, Addr: "1.2.3.4:5", RTTMS: 36.4, Named: 8, New: 8}, "     36 ms  answered  hop 1  152 bits  1.2.3.4:5              after 36 ms, names 8, 8 of them new\n"},
		{client.DHTEvent{AfterMS: 400, Kind: "timed out", Hop: 2, Bits: 150, Addr: "1.2.3.4:5"}, "dead\n"},
		{client.DHTEvent{Kind: "peers", Peers: []string{"192.0.2.1:5", "192.0.2.2:5"}}, "peers     192.0.2.1:5 192.0.2.2:5\n"},
		{client.DHTEvent{Kind: "found", Found: &client.DHTFound{Peers: 2, Queries: 37, FirstMS: 194}}, "first     after 194 ms\n"},
	} {
		if got := traceText(x.e); !strings.HasSuffix(got, x.want) {
			t.Errorf("%q, want %q", got, x.want)
		}
	}
}

func TestDHTGet(t *testing.T) {
	d := newDaemon(t)
	target := strings.Repeat("0a", 20)
	if r := d.run("dht", "get", target); r.code != exitNotFound || strings.Contains(r.err, "btctl ls") {
		t.Errorf("nothing there: %v", r)
	}
	d.answers["GET /v1/dht/items"] = client.DHTItem{Target: target, V: []byte("5:hello"), K: "ff", Seq: 4}
	if r := d.run("dht", "get", target); r.code != 0 || r.out != "hello\n" || !strings.Contains(r.err, "version 4") {
		t.Errorf("%v", r)
	}
	for _, args := range [][]string{{"get"}, {"get", "x"}, {"get", "--key", "1"}, {"get", target, "--salt", "x"}, {"lookup", "x"}, {"put"}, {"put", "x", "--seq", "1"}, {"put", strings.Repeat("x", 1000)}} {
		if r := d.run(append([]string{"dht"}, args...)...); r.code != exitUsage {
			t.Errorf("%v: %v", args, r)
		}
	}
}

func TestDHTSample(t *testing.T) {
	d := newDaemon(t)
	one := strings.Repeat("0a", 20)
	d.answers["GET /v1/dht/samples"] = client.DHTSamples{Hashes: []string{one, strings.Repeat("0b", 20)}, Nodes: 1, Kept: 9}
	for _, args := range [][]string{{"dht", "sample"}, {"dht", "sample", one}} {
		if r := d.run(args...); r.code != 0 || r.out != one+"\n"+strings.Repeat("0b", 20)+"\n" || !strings.Contains(r.err, "2 torrents of 1 node that know 9") {
			t.Errorf("%v: %v", args, r)
		}
	}
	if r := d.run("dht", "sample", "--json"); r.code != 0 || !strings.Contains(r.out, `"kept":9`) && !strings.Contains(r.out, `"kept": 9`) {
		t.Errorf("%v", r)
	}
	if r := d.run("dht", "sample", "x"); r.code != exitUsage {
		t.Errorf("%v", r)
	}
}

func TestDHTPutSigns(t *testing.T) {
	d := newDaemon(t)
	d.answers["GET /v1/dht/items"] = client.DHTItem{V: []byte("1:x"), K: "ff", Seq: 4}
	d.answers["POST /v1/dht/items"] = client.DHTPutResponse{Target: "abcd", Stored: 8}
	file := filepath.Join(t.TempDir(), "key")
	r := d.run("dht", "put", "--key", file, "--salt", "news", "hello")
	if r.code != 0 || r.out != "abcd\n" || !strings.Contains(r.err, "made the key") || !strings.Contains(r.err, "stored at 8 nodes") || !strings.Contains(r.err, "version 5") {
		t.Errorf("%v", r)
	}
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v, %v", st, err)
	}
	private, err := (&app{err: t.Output()}).readKey(file)
	if err != nil {
		t.Fatal(err)
	}
	req := client.DHTPutRequest{V: []byte("5:hello"), Seq: 5}
	sign(&req, private, "news")
	if !strings.Contains(d.asked(), req.Sig) || !strings.Contains(d.asked(), req.K) || !strings.Contains(d.asked(), `"seq":5`) {
		t.Errorf("asked: %s", d.asked())
	}
}

// TestWhatIsSigned has the bytes of the test vectors of BEP 44 signed, without
// a salt and with one.
func TestWhatIsSigned(t *testing.T) {
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	for salt, signed := range map[string]string{
		"":       "3:seqi1e1:v12:Hello World!",
		"foobar": "4:salt6:foobar3:seqi1e1:v12:Hello World!",
	} {
		req := client.DHTPutRequest{V: []byte("12:Hello World!"), Seq: 1}
		sign(&req, private, salt)
		sig, err := hex.DecodeString(req.Sig)
		if err != nil || !ed25519.Verify(private.Public().(ed25519.PublicKey), []byte(signed), sig) {
			t.Errorf("salt %q: the signature is of something else", salt)
		}
	}
}
