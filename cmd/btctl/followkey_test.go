package main

import (
	"strings"
	"testing"

	"btd/api/client"
)

var (
	someKey    = strings.Repeat("0a", 32)
	someFollow = client.Follow{
		ID: strings.Repeat("0b", 20), Key: someKey, Salt: []byte("news"), Name: "the feed", Dir: "/srv", KeepOld: true,
		Current: &client.FollowVersion{Torrent: idA, Seq: 4}, Next: &client.FollowVersion{Torrent: idB, Seq: 5},
	}
)

func TestFollow(t *testing.T) {
	d := newDaemon(t)
	fresh := client.Follow{ID: someFollow.ID, Key: someKey}
	d.answers["POST /v1/follows"] = fresh
	link := "magnet:?xs=urn:btpk:" + someKey + "&s=6e657773"
	for name, c := range map[string]struct {
		args []string
		body string
	}{
		"a key":                {[]string{someKey}, `{"key":"` + someKey + `"}`},
		"in capitals":          {[]string{strings.ToUpper(someKey)}, `{"key":"` + someKey + `"}`},
		"with everything":      {[]string{someKey, "--salt", "news", "--dir", "/srv", "--keep-old"}, `{"key":"` + someKey + `","salt":"bmV3cw==","dir":"/srv","keep_old":true}`},
		"the other way":        {[]string{someKey, "--path", "/srv", "--drop-old"}, `{"key":"` + someKey + `","dir":"/srv","keep_old":false}`},
		"a link":               {[]string{link}, `{"magnet":"` + link + `"}`},
		"a link, other salt":   {[]string{link, "--salt", "o"}, `{"magnet":"magnet:?xs=urn:btpk:` + someKey + `&s=6f"}`},
		"a link with trackers": {[]string{link + "&tr=http://x/a"}, `{"magnet":"` + link + `&tr=http%3A%2F%2Fx%2Fa"}`},
	} {
		r := d.run(append([]string{"follow"}, c.args...)...)
		asked := strings.ReplaceAll(d.asked(), `\u0026`, "&")
		if r.code != 0 || r.out != fresh.ID+"\n" || !strings.HasSuffix(asked, "POST /v1/follows "+c.body) || !strings.Contains(r.err, "asked for its newest version") {
			t.Errorf("%s: %v\n%s", name, r, asked)
		}
	}
	d.answers["POST /v1/follows"] = someFollow
	if r := d.run("follow", someKey); !strings.Contains(r.err, "following the feed: version 4 is "+idA) {
		t.Errorf("again: %v", r)
	}
	if r := d.run("follow", someKey, "--json"); r.code != 0 || !strings.Contains(r.out, `"keep_old":true`) {
		t.Errorf("as JSON: %v", r)
	}
}

func TestFollowRefuses(t *testing.T) {
	d := newDaemon(t)
	for _, args := range [][]string{
		{"xyz"},
		{"magnet:?x"},
		{someLink},
		{"--now"},
		{"--stop"},
		{"--dir", "/x"},
		{someKey, "--keep-old", "--drop-old"},
		{someKey, "--now", "--stop"},
		{someKey, "--stop", "--keep-old"},
		{someKey, "--salt", strings.Repeat("x", 65)},
		{someKey, someKey},
	} {
		if r := d.run(append([]string{"follow"}, args...)...); r.code != exitUsage {
			t.Errorf("%v: %v", args, r)
		}
	}
	if d.asked() != "" {
		t.Errorf("asked: %s", d.asked())
	}
}

// TestFollowWhereTheAPICannot: JSON would name another directory.
func TestFollowWhereTheAPICannot(t *testing.T) {
	d := newDaemon(t)
	if r := d.run("follow", someKey, "--dir", "/srv/\xff"); r.code != exitFailed || !strings.Contains(r.err, "not UTF-8") || d.asked() != "" {
		t.Errorf("asked %q, %v", d.asked(), r)
	}
}

func TestFollowNow(t *testing.T) {
	d := newDaemon(t)
	d.answers["GET /v1/follows"] = client.FollowList{Follows: []client.Follow{someFollow}}
	d.answers["POST /v1/follows"] = someFollow
	look := "POST /v1/follows/" + someFollow.ID + "/look"
	d.answers[look] = someFollow
	for _, word := range []string{someKey, someKey[:6], "the feed", someFollow.ID} {
		if r := d.run("follow", "--now", word); r.code != 0 || !strings.HasSuffix(d.asked(), look) || !strings.Contains(r.err, "version 5 is "+idB) {
			t.Errorf("%s: %v\n%s", word, r, d.asked())
		}
	}
	if n := strings.Count(d.asked(), "POST /v1/follows {"); n != 1 {
		t.Errorf("followed %d times, want once, for the whole key: %s", n, d.asked())
	}
	if r := d.run("follow", "--now", "nobody"); r.code != exitNotFound {
		t.Errorf("nobody: %v", r)
	}
	d.answers[look] = client.Follow{ID: someFollow.ID, Problem: "no node answered"}
	if r := d.run("follow", "--now", someKey); r.code != 0 || !strings.Contains(r.err, "problem: no node answered") {
		t.Errorf("a problem: %v", r)
	}
}

func TestFollowsAreListedAndEnded(t *testing.T) {
	d := newDaemon(t)
	d.answers["GET /v1/follows"] = client.FollowList{}
	if r := d.run("follow"); r.code != 0 || !strings.Contains(r.err, "Nothing is followed") {
		t.Errorf("none: %v", r)
	}
	sick := client.Follow{ID: strings.Repeat("0c", 20), Key: strings.Repeat("0d", 32), Dir: "/srv", Problem: "disk full \x1b"}
	d.answers["GET /v1/follows"] = client.FollowList{Follows: []client.Follow{someFollow, sick}}
	r := d.run("follow")
	for _, want := range []string{"0a0a0a0a0a0a0a0a  news", "  4  aa111111     5  keep", "drop", "the feed", "(disk full ·)"} {
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("%q is missing: %v", want, r)
		}
	}
	if r := d.run("follow", "--json"); r.code != 0 || !strings.Contains(r.out, `"follows":[`) {
		t.Errorf("as JSON: %v", r)
	}
	for _, word := range []string{someKey, someKey[:4], "the feed", "magnet:?xs=urn:btpk:" + sick.Key} {
		r := d.run("follow", "--stop", word)
		if strings.HasPrefix(word, "magnet:") { // its item is elsewhere than the fake one
			if r.code != exitNotFound {
				t.Errorf("%s: %v", word, r)
			}
			continue
		}
		if r.code != 0 || !strings.HasSuffix(d.asked(), "DELETE /v1/follows/"+someFollow.ID) {
			t.Errorf("%s: %v\n%s", word, r, d.asked())
		}
	}
}

func TestAddFollowsALinkWithAKey(t *testing.T) {
	d := newDaemon(t)
	d.answers["POST /v1/torrents"] = client.AddResponse{Follow: &client.Follow{ID: someFollow.ID, Key: someKey}}
	link := "magnet:?xs=urn:btpk:" + someKey
	if r := d.run("add", link); r.code != 0 || r.out != someFollow.ID+"\n" || !strings.Contains(r.err, "following "+someKey) {
		t.Errorf("%v", r)
	}
	if r := d.run("add", link, "--wait"); r.code != exitUsage {
		t.Errorf("--wait: %v", r)
	}
}
