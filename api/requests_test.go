package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"btd/api/client"
	"btd/metainfo"
	"btd/session"
)

const jsonType = "application/json"

func TestRequests(t *testing.T) {
	one := "/v1/torrents/" + hashOf(1).String()
	nobody := "/v1/torrents/" + strings.Repeat("ab", 20)
	b64 := base64.StdEncoding.EncodeToString([]byte("d4:infoe"))
	tests := []struct {
		name                     string
		method, path, kind, body string
		status                   int
		says                     string // part of the answer
		does                     string // what the engine was asked, "" nothing
	}{
		{"start", "POST", one + "/start", "", "", 204, "", "start"},
		{"stop", "POST", one + "/stop", "", "", 204, "", "stop"},
		{"verify", "POST", one + "/verify", "", "", 204, "", "verify"},
		{"reannounce", "POST", one + "/reannounce", "", "", 204, "", "reannounce"},
		{"remove keeps data", "DELETE", one, "", "", 204, "", "remove data=false"},
		{"remove with data", "DELETE", one + "?data=true", "", "", 204, "", "remove data=true"},
		{"remove with nonsense", "DELETE", one + "?data=perhaps", "", "", 400, `"data\" is \"perhaps`, ""},
		{"remove nobody", "DELETE", nobody, "", "", 404, `"code":"not_found"`, ""},
		{"short id", "GET", "/v1/torrents/abcd", "", "", 400, "40 hex digits", ""},

		{"upload", "POST", "/v1/torrents", torrentType, "d4:infoe", 201, `"existed":false`, "add 8 bytes {Dir: Stopped:false Sequential:false Only:[] Limits:{Up:0 Down:0} Scope:internet Secret:none Peers:[] Seen:0000000000000000000000000000000000000000000000000000000000000000}"},
		{"upload again", "POST", "/v1/torrents", torrentType, "again", 200, `"existed":true`, "add 5 bytes"},
		{"upload with options", "POST", "/v1/torrents?dir=/x&stopped=true&sequential=1&scope=lan&only=3,1,3&up=5&down=6&peer=127.0.0.1:1&peer=[::1]:2", torrentType, "d4:infoe", 201, "", "{Dir:/x Stopped:true Sequential:true Only:[1 3] Limits:{Up:5 Down:6} Scope:lan Secret:none Peers:[127.0.0.1:1 [::1]:2] Seen:0000000000000000000000000000000000000000000000000000000000000000}"},
		{"upload of nothing", "POST", "/v1/torrents", torrentType, "", 400, "no .torrent file", ""},
		{"upload with a bad list", "POST", "/v1/torrents?only=1,x", torrentType, "d", 400, "only", ""},
		{"upload with an unknown option", "POST", "/v1/torrents?colour=red", torrentType, "d", 400, `unknown parameter \"colour\"`, ""},
		{"upload with a scope that there is not", "POST", "/v1/torrents?scope=house", torrentType, "d", 400, "house", ""},
		{"upload with an option twice", "POST", "/v1/torrents?dir=/a&dir=/b", torrentType, "d", 400, "given 2 times", ""},
		{"upload as a form", "POST", "/v1/torrents", "text/plain", "d", 415, "unsupported_media_type", ""},
		{"upload too large", "POST", "/v1/torrents", torrentType, strings.Repeat("x", maxTorrent+1), 413, "too_large", ""},
		{"json with a secret", "POST", "/v1/torrents", jsonType, `{"torrent":"` + b64 + `","secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}`, 201, "", "Secret:[secret]"},
		{"json with a pass-phrase", "POST", "/v1/torrents", jsonType, `{"torrent":"` + b64 + `","secret":"hunter2"}`, 400, "can be guessed", ""},
		{"upload with a secret in the URL", "POST", "/v1/torrents?secret=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", torrentType, "d4:infoe", 400, "secret", ""},
		{"json", "POST", "/v1/torrents", jsonType, `{"torrent":"` + b64 + `","dir":"/x","only":[2],"peers":["1.2.3.4:5"],"limits":{"up":1},"stopped":true,"sequential":true,"scope":"lan"}`, 201, "", "add 8 bytes {Dir:/x Stopped:true Sequential:true Only:[2] Limits:{Up:1 Down:0} Scope:lan Secret:none Peers:[1.2.3.4:5] Seen:0000000000000000000000000000000000000000000000000000000000000000}"},
		{"json with a charset", "POST", "/v1/torrents", jsonType + "; charset=utf-8", `{"torrent":"` + b64 + `"}`, 201, "", "add 8 bytes"},
		{"json and query", "POST", "/v1/torrents?stopped=true", jsonType, `{"torrent":"` + b64 + `"}`, 400, "belong into its body", ""},
		{"upload of what was hashed", "POST", "/v1/torrents?seen=" + strings.Repeat("0a", 32), torrentType, "d4:infoe", 201, "", "Seen:" + strings.Repeat("0a", 32)},
		{"upload of what was hashed badly", "POST", "/v1/torrents?seen=0a", torrentType, "d4:infoe", 400, `field \"seen\": a fingerprint has 64`, ""},
		{"magnet", "POST", "/v1/torrents", jsonType, `{"magnet":"magnet:?xt=urn:btih:` + strings.Repeat("0a", 20) + `","dir":"/x","only":[2],"peers":["1.2.3.4:5"]}`, 201, `"metadata":{"nodes":0,"tried":3,"sources":1,"have":2,"pieces":5,"size":70000}`, "magnet magnet:?xt=urn:btih:" + strings.Repeat("0a", 20) + " {Dir:/x Stopped:false Sequential:false Only:[2]"},
		{"magnet with a bad hash", "POST", "/v1/torrents", jsonType, `{"magnet":"magnet:?xt=urn:btih:0"}`, 400, "1 digits", ""},
		{"magnet of v2", "POST", "/v1/torrents", jsonType, `{"magnet":"magnet:?xt=urn:btmh:1220` + strings.Repeat("0a", 32) + `"}`, 501, `"code":"not_supported"`, ""},
		{"magnet of a key", "POST", "/v1/torrents", jsonType, `{"magnet":"magnet:?xs=urn:btpk:` + strings.Repeat("0a", 32) + `","dir":"/x"}`, 202, `"follow":{"id":"05`, "follow magnet:?xs=urn:btpk:" + strings.Repeat("0a", 32) + " dir=/x keep=false"},
		{"magnet of a key, stopped", "POST", "/v1/torrents", jsonType, `{"magnet":"magnet:?xs=urn:btpk:` + strings.Repeat("0a", 32) + `","stopped":true}`, 400, "not known yet", ""},
		{"magnet of a key, relative dir", "POST", "/v1/torrents", jsonType, `{"magnet":"magnet:?xs=urn:btpk:` + strings.Repeat("0a", 32) + `","dir":"x"}`, 400, "absolute", ""},
		{"magnet of a key, of scope lan", "POST", "/v1/torrents", jsonType, `{"magnet":"magnet:?xs=urn:btpk:` + strings.Repeat("0a", 32) + `","scope":"lan"}`, 400, "looked for in public", ""},
		{"magnet of a key, of a scope that there is not", "POST", "/v1/torrents", jsonType, `{"magnet":"magnet:?xs=urn:btpk:` + strings.Repeat("0a", 32) + `","scope":"moon"}`, 400, "no scope", ""},
		{"magnet of a key, with a secret", "POST", "/v1/torrents", jsonType, `{"magnet":"magnet:?xs=urn:btpk:` + strings.Repeat("0a", 32) + `","secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}`, 400, "looked for in public", ""},
		{"follow a key", "POST", "/v1/follows", jsonType, `{"key":"` + strings.Repeat("0a", 32) + `","salt":"bmV3cw==","dir":"/x","keep_old":true}`, 201, `"keep_old":true`, "follow magnet:?xs=urn:btpk:" + strings.Repeat("0a", 32) + "&s=6e657773 dir=/x keep=true"},
		{"follow a link again", "POST", "/v1/follows", jsonType, `{"magnet":"magnet:?xs=urn:btpk:` + strings.Repeat("0a", 32) + `","dir":"/again"}`, 200, `"current":{"torrent":"`, "follow magnet:?xs=urn:btpk:" + strings.Repeat("0a", 32) + " dir=/again keep=false"},
		{"follow nothing", "POST", "/v1/follows", jsonType, `{}`, 400, "either magnet or key", ""},
		{"follow a short key", "POST", "/v1/follows", jsonType, `{"key":"0a"}`, 400, "64 hex digits", ""},
		{"follow with two salts", "POST", "/v1/follows", jsonType, `{"magnet":"magnet:?x","salt":"bmV3cw=="}`, 400, "salt goes with key", ""},
		{"follow into a relative dir", "POST", "/v1/follows", jsonType, `{"key":"` + strings.Repeat("0a", 32) + `","dir":"x"}`, 400, "absolute", ""},
		{"look", "POST", "/v1/follows/" + strings.Repeat("0b", 20) + "/look", "", "", 200, `"problem":"rain"`, "look " + strings.Repeat("0b", 20)},
		{"look at nonsense", "POST", "/v1/follows/xy/look", "", "", 400, "40 hex digits", ""},
		{"unfollow", "DELETE", "/v1/follows/" + strings.Repeat("0b", 20), "", "", 204, "", "unfollow " + strings.Repeat("0b", 20)},
		{"publish", "POST", "/v1/publications", jsonType, `{"v":"ZGU=","k":"` + strings.Repeat("0a", 32) + `","sig":"` + strings.Repeat("0c", 64) + `","seq":7}`, 200, `"stored":8`, "publish de " + strings.Repeat("0a", 32) + "  7"},
		{"publish without a key", "POST", "/v1/publications", jsonType, `{"v":"ZGU="}`, 400, "k is empty", ""},
		{"publish without a value", "POST", "/v1/publications", jsonType, `{"k":"` + strings.Repeat("0a", 32) + `","sig":"` + strings.Repeat("0c", 64) + `"}`, 400, "v is empty", ""},
		{"unpublish", "DELETE", "/v1/publications/" + strings.Repeat("0b", 20), "", "", 204, "", "unpublish " + strings.Repeat("0b", 20)},
		{"unpublish nonsense", "DELETE", "/v1/publications/xy", "", "", 400, "40 hex digits", ""},
		{"magnet that is none", "POST", "/v1/torrents", jsonType, `{"magnet":"http://x"}`, 400, "magnet", ""},
		{"magnet and torrent", "POST", "/v1/torrents", jsonType, `{"magnet":"magnet:?","torrent":"` + b64 + `"}`, 400, "both", ""},
		{"relative dir", "POST", "/v1/torrents", jsonType, `{"torrent":"` + b64 + `","dir":"x/y"}`, 400, "absolute", ""},
		{"no file wanted", "POST", "/v1/torrents", jsonType, `{"torrent":"` + b64 + `","only":[]}`, 400, "only", ""},
		{"negative file", "POST", "/v1/torrents", jsonType, `{"torrent":"` + b64 + `","only":[-1]}`, 400, "file -1", ""},
		{"bad base64", "POST", "/v1/torrents", jsonType, `{"torrent":"***"}`, 400, "base64", ""},
		{"unknown field", "POST", "/v1/torrents", jsonType, `{"torrents":"x"}`, 400, `unknown field \"torrents\"`, ""},
		{"unknown inner field", "PATCH", one, jsonType, `{"limits":{"upp":1}}`, 400, `\"upp\"`, ""},

		{"patch all", "PATCH", one, jsonType, `{"sequential":true,"limits":{"down":7},"ratio_limit":-1,"seed_time_seconds":3600}`, 204, "", "limits {Up:0 Down:7}\noptions sequential=true ratio=-1 seed=1h0m0s"},
		{"patch nothing", "PATCH", one, jsonType, `{}`, 204, "", ""},
		{"patch is all or nothing", "PATCH", one, jsonType, `{"sequential":true,"limits":{"down":-7}}`, 400, "limits.down", ""},
		{"patch a wrong type", "PATCH", one, jsonType, `{"sequential":"yes"}`, 400, `field \"sequential\" is a JSON string, want true or false`, ""},
		{"patch a fraction", "PATCH", one, jsonType, `{"limits":{"up":1.5}}`, 400, "a whole number", ""},
		{"patch a huge number", "PATCH", one, jsonType, `{"seed_time_seconds":9223372036854775807}`, 400, "seed_time_seconds", ""},
		{"patch a list", "PATCH", one, jsonType, `[]`, 400, "want an object", ""},
		{"patch with more behind", "PATCH", one, jsonType, `{} {}`, 400, "something follows", ""},
		{"patch cut short", "PATCH", one, jsonType, `{"sequential":`, 400, "ends early", ""},
		{"patch malformed", "PATCH", one, jsonType, `{sequential}`, 400, "malformed JSON at byte 2", ""},
		{"patch in latin-1", "PATCH", one, jsonType, "{\"\xe9\":1}", 400, "not UTF-8", ""},
		{"patch empty", "PATCH", one, jsonType, ``, 400, "empty", ""},
		{"patch without a type", "PATCH", one, "", `{}`, 415, "application/json", ""},
		{"patch too large", "PATCH", one, jsonType, `{"x":"` + strings.Repeat("x", maxBody) + `"}`, 413, "too_large", ""},
		{"patch nobody", "PATCH", nobody, jsonType, `{"sequential":true}`, 404, "not_found", ""},

		{"priorities", "PUT", one + "/priorities", jsonType, `{"files":{"0":"skip","1":"high"}}`, 204, "", "priorities map[0:0 1:7]"},
		{"priorities of none", "PUT", one + "/priorities", jsonType, `{"files":{}}`, 400, "no file", ""},
		{"priority unknown", "PUT", one + "/priorities", jsonType, `{"files":{"0":"urgent"}}`, 400, "none of skip, low, normal, high", ""},
		{"priority of a negative file", "PUT", one + "/priorities", jsonType, `{"files":{"-4":"low"}}`, 400, "file -4", ""},
		{"priority of a name", "PUT", one + "/priorities", jsonType, `{"files":{"a":"low"}}`, 400, `"code":"invalid"`, ""},

		{"peers", "POST", one + "/peers", jsonType, `{"peers":["[::ffff:1.2.3.4]:5"]}`, 204, "", "peers [1.2.3.4:5]"},
		{"peer by name", "POST", one + "/peers", jsonType, `{"peers":["example.org:5"]}`, 400, "is not an address", ""},
		{"peer at port 0", "POST", one + "/peers", jsonType, `{"peers":["1.2.3.4:0"]}`, 400, "no peer", ""},
		{"peer everywhere", "POST", one + "/peers", jsonType, `{"peers":["0.0.0.0:6881"]}`, 400, "no peer", ""},
		{"no peers", "POST", one + "/peers", jsonType, `{"peers":[]}`, 400, "no address", ""},
		{"too many peers", "POST", one + "/peers", jsonType, `{"peers":[` + strings.Repeat(`"1.2.3.4:5",`, maxPeers) + `"1.2.3.4:5"]}`, 400, "at most 1000", ""},

		{"tracker to a tier", "POST", one + "/trackers", jsonType, `{"urls":["http://x/a"],"tier":1}`, 204, "", "trackers + 1 [http://x/a]"},
		{"tracker to a new tier", "POST", one + "/trackers", jsonType, `{"urls":["udp://x:1"]}`, 204, "", "trackers + 4 [udp://x:1]"},
		{"tracker to a negative tier", "POST", one + "/trackers", jsonType, `{"urls":["http://x/a"],"tier":-1}`, 400, "tier", ""},
		{"tracker that is a file", "POST", one + "/trackers", jsonType, `{"urls":["file:///etc/passwd"]}`, 400, "not the URL of a tracker", ""},
		{"tracker by gopher", "POST", one + "/trackers", jsonType, `{"urls":["gopher://x/"]}`, 400, "neither http", ""},
		{"udp tracker without a port", "POST", one + "/trackers", jsonType, `{"urls":["udp://x"]}`, 400, "port", ""},
		{"no trackers", "POST", one + "/trackers", jsonType, `{}`, 400, "no announce URL", ""},
		{"trackers removed", "DELETE", one + "/trackers?url=http://a/x&url=udp://b:1", "", "", 204, "", "trackers - [http://a/x udp://b:1]"},
		{"no trackers removed", "DELETE", one + "/trackers", "", "", 400, "url", ""},

		{"session limits", "PATCH", "/v1/session/limits", jsonType, `{"up":5}`, 200, `{"up":5,"down":9}`, "session limits {Up:5 Down:9}"},
		{"session limits below 0", "PATCH", "/v1/session/limits", jsonType, `{"up":-5}`, 400, "limits.up", ""},

		{"nothing there", "GET", "/v2/torrents", "", "", 404, `"code":"not_found"`, ""},
		{"wrong method", "PUT", "/v1/torrents", jsonType, `{}`, 405, "GET, HEAD, POST", ""},
		{"preflight", "OPTIONS", "/v1/torrents", "", "", 405, "method_not_allowed", ""},
		{"body where none belongs", "POST", one + "/start", jsonType, `{}`, 400, "takes no body", ""},
		{"unknown parameter", "POST", one + "/start?now=1", "", "", 400, "now", ""},
		{"broken query", "GET", "/v1/torrents?%zz", "", "", 400, "malformed", ""},
		{"list with a bad id", "GET", "/v1/torrents?ids=1,2", "", "", 400, "40 hex digits", ""},
	}
	p := serve(t, newFake(2), func(c *Config) { c.TCP = "" })
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p.mu.Lock()
			p.calls, p.limits = nil, session.Limits{Up: 4, Down: 9}
			p.torrents[1].Options.Limits = session.Limits{}
			p.mu.Unlock()
			code, body := p.do(t, tt.method, tt.path, tt.kind, tt.body)
			if code != tt.status || !strings.Contains(body, tt.says) {
				t.Errorf("got %d %.300s\nwant %d with %q", code, body, tt.status, tt.says)
			}
			if code >= 400 {
				var e client.ErrorResponse
				if err := json.Unmarshal([]byte(body), &e); err != nil || status(e.Error.Code) != code || e.Error.Message == "" {
					t.Errorf("not an error as described: %.300s", body)
				}
			}
			switch did := p.noted(); {
			case tt.does == "" && did != "":
				t.Errorf("the engine was asked %q", did)
			case !strings.Contains(did, tt.does):
				t.Errorf("the engine was asked %q, want %q", did, tt.does)
			}
		})
	}
}

func TestEngineErrorsBecomeCodes(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
		says string
	}{
		{fmt.Errorf("start: %w", session.ErrNotFound), 404, `"start: no such torrent"`},
		{fmt.Errorf("%w: file 9", session.ErrInvalid), 400, `"file 9"`},
		{fmt.Errorf("%w: %w", session.ErrInvalid, metainfo.ErrMalformed), 400, `"metainfo: malformed torrent"`},
		{fmt.Errorf("x: %w", metainfo.ErrMalformed), 400, ""},
		{fmt.Errorf("%w: %w", session.ErrInvalid, metainfo.ErrUnsupported), 501, `"metainfo: unsupported torrent"`},
		{session.ErrExists, 409, ""},
		{session.ErrClosed, 503, "stopping"},
		{context.DeadlineExceeded, 504, "given up"},
		{fmt.Errorf("disk on fire"), 500, "disk on fire"},
	} {
		f := newFake(1)
		f.err = tt.err
		p := serve(t, f, func(c *Config) { c.TCP = "" })
		code, body := p.do(t, "POST", "/v1/torrents/"+hashOf(0).String()+"/start", "", "")
		if code != tt.code || !strings.Contains(body, tt.says) {
			t.Errorf("%v: %d %s, want %d with %s", tt.err, code, body, tt.code, tt.says)
		}
		p.stop()
	}
}

func TestListSelects(t *testing.T) {
	p := serve(t, newFake(3), nil)
	for query, want := range map[string]int{
		"": 3, "?ids=" + hashOf(2).String(): 1,
		"?ids=" + hashOf(2).String() + "," + hashOf(99).String() + "," + hashOf(0).String(): 2,
		"?ids=" + hashOf(99).String(): 0,
	} {
		_, body := p.do(t, "GET", "/v1/torrents"+query, "", "")
		var got client.TorrentList
		if err := json.Unmarshal([]byte(body), &got); err != nil || got.Torrents == nil || len(got.Torrents) != want {
			t.Errorf("%s: %d torrents (%v), want %d", query, len(got.Torrents), err, want)
		}
	}
}

func TestHeadersOfAnswers(t *testing.T) {
	p := serve(t, newFake(1), nil)
	resp, err := p.unix.Head("http://btd/v1/torrents")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for name, want := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Access-Control-Allow-Origin": ""} {
		if got := resp.Header.Get(name); resp.StatusCode != http.StatusOK || got != want {
			t.Errorf("%s = %q, want %q (status %d)", name, got, want, resp.StatusCode)
		}
	}
}
