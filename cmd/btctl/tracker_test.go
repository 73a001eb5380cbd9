package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"btd/api/client"
)

func TestTrackerCommands(t *testing.T) {
	d := newDaemon(t)
	on := client.TrackerServer{
		On: true, Listen: "[::]:6969", URLs: []string{"http://192.0.2.1:6969/announce", "http://[2001:db8::1]:6969/announce"}, Token: "tok",
		Registered: 1, Torrents: 1, Peers: 3, Seeds: 1, Announces: map[string]int64{"udp": 7, "http": 2},
		PerSecond: map[string]float64{"udp": 1.6}, Refused: map[string]int64{"rate": 4}, Memory: 2048,
	}
	d.answers["GET /v1/tracker"] = on
	d.answers["GET /v1/tracker/torrents"] = client.RegistrationList{Torrents: []client.Registration{
		{ID: idA, Name: "evil \x1b[31m", Seeds: 1, Leechers: 2}, {ID: idB, Name: "image", Shared: true},
	}}
	r := d.run("tracker", "stats")
	for _, want := range []string{"on, for registered torrents", "[::]:6969", "Announce to  http://192.0.2.1:6969/announce\n", "tok", "3 peers of 1 torrent, 1 seed", "7 udp, 2 http; a second now: 2 udp", "4 rate", "2.0 KiB"} {
		if r.code != 0 || !strings.Contains(r.out, want) {
			t.Errorf("%q is missing: %v", want, r)
		}
	}
	if r := d.run("tracker", "ls"); r.code != 0 || strings.Contains(r.out, "\x1b") ||
		!strings.Contains(r.out, idA+"      1         2          0  hand   evil") || !strings.Contains(r.out, idB+"      0         0          0  share  image\n") {
		t.Errorf("ls: %v", r)
	}
	if r := d.run("tracker", "start"); r.code != 0 || r.out != strings.Join(on.URLs, "\n")+"\n" {
		t.Errorf("start: %v", r)
	}
	var answer client.TrackerServer
	if r := d.run("tracker", "start", "--json"); r.code != 0 || json.Unmarshal([]byte(r.out), &answer) != nil || !reflect.DeepEqual(answer, on) || r.err != "" {
		t.Errorf("start as JSON: %v", r)
	}
	if r := d.run("tracker", "register", "debian-handbook", strings.Repeat("0B", 20), "--name", "other"); r.code != 0 {
		t.Errorf("register: %v", r)
	}
	if r := d.run("tracker", "unregister", idB); r.code != 0 {
		t.Errorf("unregister: %v", r)
	}
	want := "POST /v1/tracker/start\nPOST /v1/tracker/start\nPUT /v1/tracker/torrents/" + idB + ` {"name":"debian-handbook"}` + "\nPUT /v1/tracker/torrents/" +
		strings.Repeat("0b", 20) + ` {"name":"other"}` + "\nDELETE /v1/tracker/torrents/" + idB
	if got := d.asked(); got != want {
		t.Errorf("asked:\n%s\nwant:\n%s", got, want)
	}
	for code, args := range map[int][]string{exitNotFound: {"tracker", "register", "nobody"}, exitUsage: {"tracker", "register"}} {
		if r := d.run(args...); r.code != code {
			t.Errorf("%v: %v", args, r)
		}
	}
	d.answers["DELETE /v1/tracker/torrents/"+idB] = &client.Error{Status: 404, Code: client.CodeNotFound, Message: "not registered"}
	if r := d.run("tracker", "unregister", idB); r.code != exitNotFound || strings.Contains(r.err, "btctl ls") {
		t.Errorf("what is not registered: %v", r)
	}
	d.answers["POST /v1/tracker/start"] = &client.Error{Status: 409, Code: client.CodeConflict, Message: "the port is taken"}
	if r := d.run("tracker", "start"); r.code != exitFailed || !strings.Contains(r.err, "taken") {
		t.Errorf("start on a port that is taken: %v", r)
	}
	d.answers["GET /v1/tracker"] = client.TrackerServer{Problem: "broken", Registered: 2}
	if r := d.run("tracker", "stats"); r.out != "Tracker      off: broken\nRegistered   2 torrents\n" {
		t.Errorf("stats while it is off: %v", r)
	}
	at := time.Date(2025, 1, 2, 3, 4, 5, 0, time.Local)
	d.answers["GET /v1/tracker"] = client.TrackerServer{Problem: "the port is taken", Retry: at}
	if r := d.run("tracker", "stats"); !strings.HasPrefix(r.out, "Tracker      off: the port is taken; tried again at 2025-01-02 03:04:05\n") {
		t.Errorf("stats while it waits for its port: %v", r)
	}
}
