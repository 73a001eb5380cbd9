package api

import (
	"strings"
	"testing"

	"btd/api/client"
)

// TestClientFollows calls every method of the client for what is followed and
// published.
func TestClientFollows(t *testing.T) {
	f := newFake(1)
	p := serve(t, f, nil)
	c := p.clients(t)["tcp"]
	ctx := t.Context()
	key, id := strings.Repeat("0a", 32), strings.Repeat("0b", 20)
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	one, err := c.Follow(ctx, client.FollowRequest{Key: key, Salt: []byte("s"), KeepOld: ptr(true)})
	check("follow", err)
	looked, err := c.Look(ctx, id)
	check("look", err)
	list, err := c.Follows(ctx)
	check("list", err)
	check("unfollow", c.Unfollow(ctx, id))
	pub, err := c.Publish(ctx, client.PublishRequest{V: []byte("de"), K: key, Seq: 7, Sig: strings.Repeat("0c", 64)})
	check("publish", err)
	pubs, err := c.Publications(ctx)
	check("publications", err)
	check("unpublish", c.Unpublish(ctx, id))
	want := "follow magnet:?xs=urn:btpk:" + key + "&s=73 dir= keep=true\nlook " + id + "\nunfollow " + id + "\npublish de " + key + "  7\nunpublish " + id
	if got := f.noted(); got != want {
		t.Errorf("the engine was asked\n%s\nwant\n%s", got, want)
	}
	for _, v := range append(list, one, looked) {
		if v.ID != "05"+strings.Repeat("00", 19) || v.Current == nil || v.Current.Torrent != hashOf(1).String() || v.Current.Seq != 4 ||
			v.Next != nil || string(v.Salt) != "s" || !v.KeepOld || v.Problem != "rain" || v.Bad != 1 || v.Looks != 2 || !v.Looked.IsZero() {
			t.Errorf("%+v", v)
		}
	}
	for _, v := range append(pubs, pub) {
		if v.ID != "06"+strings.Repeat("00", 19) || v.Torrent != hashOf(1).String() || v.Seq != 4 || v.Stored != 8 || v.Stopped {
			t.Errorf("%+v", v)
		}
	}
	if len(list) != 1 || len(pubs) != 1 {
		t.Errorf("%d follows, %d publications", len(list), len(pubs))
	}
}
