package tracker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var errDown = errors.New("connection refused")

// world runs schedules in virtual time against trackers that are functions.
type world struct {
	t     *testing.T
	now   time.Time
	s     *Schedule
	log   []string // what was announced: "12s http://a started"
	start time.Time
	delay time.Duration // of every answer
	reply func(a Announce) (Response, error)
}

func newWorld(t *testing.T, tiers [][]string, cfg ScheduleConfig) *world {
	t.Helper()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if cfg.Families == nil {
		cfg.Families = []Family{IPv4}
	}
	return &world{
		t: t, now: start, start: start,
		s:     NewSchedule(tiers, cfg, rand.New(rand.NewPCG(1, 2))),
		reply: func(Announce) (Response, error) { return Response{Interval: 30 * time.Minute}, nil },
	}
}

type answerAt struct {
	at time.Time
	a  Announce
}

// run lets virtual time pass.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	var flying []answerAt
	for range 100_000 {
		announces, next := w.s.Due(w.now)
		for _, a := range announces {
			w.note(a)
			flying = append(flying, answerAt{w.now.Add(w.delay), a})
		}
		if !next.IsZero() && next.Before(w.now) {
			w.t.Fatalf("next deadline %v is %v ago", next, w.now.Sub(next))
		}
		if next.Equal(w.now) {
			w.t.Fatal("Due wants to be called again at the same instant")
		}
		if w.delay == 0 && len(flying) > 0 {
			next = w.now
		}
		for _, f := range flying {
			if next.IsZero() || f.at.Before(next) {
				next = f.at
			}
		}
		if next.IsZero() || next.After(end) {
			w.now = end
			return
		}
		w.now = next
		flying = slices.DeleteFunc(flying, func(f answerAt) bool {
			if f.at.After(w.now) {
				return false
			}
			if r, err := w.reply(f.a); err != nil {
				w.s.Failed(w.now, f.a.ID, err)
			} else {
				w.s.Succeeded(w.now, f.a.ID, r)
			}
			return true
		})
	}
	w.t.Fatal("the schedule never rests")
}

func (w *world) note(a Announce) {
	line := fmt.Sprintf("%s %s %s", w.now.Sub(w.start).Round(time.Second), strings.TrimPrefix(a.URL, "http://"), a.Event)
	if len(w.s.cfg.Families) > 1 {
		line += " " + a.Family.String()
	}
	w.log = append(w.log, strings.TrimSpace(line))
}

func (w *world) want(lines ...string) {
	w.t.Helper()
	if !slices.Equal(w.log, lines) {
		w.t.Errorf("announced:\n\t%s\nwant:\n\t%s", strings.Join(w.log, "\n\t"), strings.Join(lines, "\n\t"))
	}
	w.log = nil
}

func tiers(urls ...string) [][]string {
	var out [][]string
	for _, u := range urls {
		out = append(out, []string{"http://" + u})
	}
	return out
}

func down(hosts ...string) func(Announce) (Response, error) {
	return func(a Announce) (Response, error) {
		if slices.Contains(hosts, strings.TrimPrefix(a.URL, "http://")) {
			return Response{}, errDown
		}
		return Response{Interval: 30 * time.Minute}, nil
	}
}

func TestOneTracker(t *testing.T) {
	w := newWorld(t, tiers("a"), ScheduleConfig{})
	if as, next := w.s.Due(w.now); len(as) != 0 || !next.IsZero() {
		t.Fatalf("before Start: %v, %v", as, next)
	}
	w.s.Start(w.now)
	w.run(29 * time.Minute)
	w.want("0s a started")
	w.s.Completed(w.now)
	w.run(time.Minute)
	w.want("29m0s a completed")
	w.s.Completed(w.now)
	w.run(29*time.Minute + time.Second)
	w.want()
	w.run(time.Minute)
	if len(w.log) != 1 || !strings.HasSuffix(w.log[0], " a") {
		t.Errorf("after the interval: %q, want one plain announce", w.log)
	}
	out := w.s.Stop(w.now)
	if len(out) != 1 || out[0].Event != Stopped || out[0].URL != "http://a" {
		t.Errorf("Stop = %+v, want one stopped event for a", out)
	}
	if out := w.s.Stop(w.now); len(out) != 0 {
		t.Errorf("second Stop = %+v, want nothing", out)
	}
	w.log = nil
	w.run(24 * time.Hour)
	w.want()
}

func TestCompleteAtStartSendsNoCompleted(t *testing.T) {
	w := newWorld(t, tiers("a"), ScheduleConfig{})
	w.s.Completed(w.now)
	w.s.Start(w.now)
	w.run(10 * time.Minute)
	w.s.Completed(w.now)
	w.run(10 * time.Minute)
	w.want("0s a started")
}

func TestCompletedIsRepeatedUntilAnswered(t *testing.T) {
	w := newWorld(t, tiers("a"), ScheduleConfig{})
	w.s.Start(w.now)
	w.run(time.Minute)
	w.reply = down("a")
	w.s.Completed(w.now)
	w.run(time.Second)
	w.want("0s a started", "1m0s a completed")
	w.reply = down()
	w.run(20 * time.Second)
	if len(w.log) != 1 || !strings.HasSuffix(w.log[0], "a completed") {
		t.Errorf("after a failure: %q, want completed again", w.log)
	}
	w.log = nil
	w.run(20 * time.Minute)
	w.want()
}

func TestCompletedWhileStartedIsUnderWay(t *testing.T) {
	w := newWorld(t, tiers("a"), ScheduleConfig{})
	w.s.Start(w.now)
	as, _ := w.s.Due(w.now)
	w.s.Completed(w.now)
	if more, _ := w.s.Due(w.now); len(more) != 0 {
		t.Fatalf("second announce while one is under way: %+v", more)
	}
	w.s.Succeeded(w.now, as[0].ID, Response{Interval: time.Hour})
	w.run(time.Minute)
	w.want("0s a completed")
}

func TestFailoverWithinTierAndPromotion(t *testing.T) {
	w := newWorld(t, [][]string{{"http://a", "http://b", "http://c"}}, ScheduleConfig{})
	order := func() (out []string) {
		for _, v := range w.s.View() {
			out = append(out, strings.TrimPrefix(v.URL, "http://"))
		}
		return out
	}
	was := order()
	first, second, third := was[0], was[1], was[2]
	w.reply = down(first)
	w.s.Start(w.now)
	w.run(10 * time.Minute)
	w.want("0s "+first+" started", "0s "+second+" started")
	if got := order(); !slices.Equal(got, []string{second, first, third}) {
		t.Errorf("order = %v, want %s in front", got, second)
	}
	w.reply = down(first, second)
	w.run(21 * time.Minute) // the interval of the second is over
	if got := order(); got[0] != third || len(w.log) < 3 {
		t.Errorf("order = %v after %q, want %s in front", got, w.log, third)
	}
}

func TestFailoverAcrossTiersAndReturn(t *testing.T) {
	w := newWorld(t, tiers("a", "b", "c"), ScheduleConfig{})
	w.reply = down("a")
	w.s.Start(w.now)
	w.run(5 * time.Second)
	w.want("0s a started", "0s b started")
	w.run(time.Hour)
	tries, regular := 0, 0
	for _, line := range w.log {
		switch {
		case strings.HasSuffix(line, " a started"):
			tries++
		case strings.HasSuffix(line, " b"):
			regular++
		default:
			t.Errorf("unexpected announce %q", line)
		}
	}
	if tries < 5 || tries > 9 || regular < 1 || regular > 2 {
		t.Errorf("in an hour: a tried %d times, b announced %d times", tries, regular)
	}
	w.reply = down()
	w.run(time.Hour)
	w.log = nil
	w.run(2 * time.Hour)
	for _, line := range w.log {
		if !strings.HasSuffix(line, " a") {
			t.Errorf("a works again, yet %q", line)
		}
	}
	stopped := w.s.Stop(w.now)
	if len(stopped) != 2 {
		t.Errorf("stopped events: %+v, want a and b, who both know us", stopped)
	}
}

func TestSlowTrackerDoesNotHoldUpTheNext(t *testing.T) {
	w := newWorld(t, tiers("a", "b"), ScheduleConfig{})
	w.delay = time.Minute
	w.s.Start(w.now)
	w.run(14 * time.Second)
	w.want("0s a started")
	w.run(2 * time.Second)
	w.want("15s b started")
	w.run(10 * time.Second)
	w.want()
}

func TestAllTiers(t *testing.T) {
	w := newWorld(t, [][]string{{"http://a", "http://b"}, {"http://c"}, {"http://d", "http://e"}}, ScheduleConfig{AllTiers: true})
	w.s.Start(w.now)
	w.run(time.Minute)
	if len(w.log) != 3 {
		t.Errorf("announced %q, want one for each tier", w.log)
	}
}

func TestBackoffIsBounded(t *testing.T) {
	w := newWorld(t, tiers("a"), ScheduleConfig{})
	w.reply = down("a")
	w.s.Start(w.now)
	var at []time.Duration
	for range 20 {
		as, _ := w.s.Due(w.now)
		if len(as) != 1 {
			t.Fatalf("at its deadline the schedule announces %v", as)
		}
		at = append(at, w.now.Sub(w.start))
		w.s.Failed(w.now, as[0].ID, errDown)
		_, w.now = w.s.Due(w.now)
	}
	want, early := 15*time.Second, 0
	for i := 1; i < len(at); i++ {
		gap := at[i] - at[i-1]
		if gap < want {
			early++
		}
		if gap > want || gap < want*3/4 {
			t.Errorf("wait %d = %v, want %v less up to a quarter", i, gap, want)
		}
		want = min(want*2, time.Hour)
	}
	if early < 15 {
		t.Errorf("%d of 19 waits have something random taken off", early)
	}
}

func TestRefusalDoesNotShortenTheMinimum(t *testing.T) {
	w := newWorld(t, tiers("a"), ScheduleConfig{})
	w.reply = func(a Announce) (Response, error) {
		if a.Event == Completed {
			return Response{}, &FailureError{Reason: "too often"}
		}
		return Response{Interval: time.Hour, MinInterval: 20 * time.Minute}, nil
	}
	w.s.Start(w.now)
	w.run(time.Minute)
	w.s.Completed(w.now)
	w.run(18 * time.Minute)
	w.want("0s a started", "1m0s a completed")
	w.run(2 * time.Minute)
	w.want("20m0s a completed")
}

func TestSpreadDelaysTheFirstAnnounceOnly(t *testing.T) {
	w := newWorld(t, tiers("a"), ScheduleConfig{Spread: time.Hour})
	w.s.Start(w.now)
	_, next := w.s.Due(w.now)
	if wait := next.Sub(w.now); wait <= time.Second || wait > time.Hour {
		t.Fatalf("first announce after %v", wait)
	}
	if v := w.s.View()[0]; !v.Next.Equal(next) || v.Status != StatusIdle {
		t.Errorf("view before the first announce: %+v", v)
	}
	w.run(next.Sub(w.now) - 1)
	w.want()
	w.run(time.Second)
	if len(w.log) != 1 {
		t.Errorf("at the deadline: %q", w.log)
	}
	w.s.Stop(w.now)
	w.log = nil
	w.s.Start(w.now) // again: spread again
	as, again := w.s.Due(w.now)
	if len(as) != 0 || !again.After(w.now) {
		t.Errorf("second start: %v at once", as)
	}
	w.s.Reannounce(w.now)
	w.run(time.Second)
	if len(w.log) != 1 {
		t.Errorf("a user does not wait for the spread: %q", w.log)
	}
}

func TestDelayOfTheFirstAnnounce(t *testing.T) {
	w := newWorld(t, tiers("a"), ScheduleConfig{Delay: time.Minute})
	w.s.Start(w.now)
	if as, next := w.s.Due(w.now); len(as) != 0 || next.Sub(w.now) != time.Minute {
		t.Errorf("%v at once, the next after %v", as, next.Sub(w.now))
	}
	w.run(2 * time.Minute)
	w.want("1m0s a started")
}

func TestMinIntervalAndNeedPeers(t *testing.T) {
	w := newWorld(t, tiers("a"), ScheduleConfig{})
	w.reply = func(Announce) (Response, error) {
		return Response{Interval: time.Hour, MinInterval: 10 * time.Minute}, nil
	}
	w.s.Start(w.now)
	w.run(time.Minute)
	w.want("0s a started")
	w.s.NeedPeers(w.now, true)
	w.run(9*time.Minute - time.Second)
	w.want()
	w.run(2 * time.Second)
	w.want("10m0s a")
	w.run(20*time.Minute - 2*time.Second)
	w.want() // less and less early
	w.run(2 * time.Second)
	w.want("30m0s a")
	w.s.NeedPeers(w.now, false)
	w.run(50 * time.Minute)
	w.want()
}

func TestReannounceByUser(t *testing.T) {
	w := newWorld(t, tiers("a"), ScheduleConfig{})
	w.reply = func(Announce) (Response, error) {
		return Response{Interval: time.Hour, MinInterval: 20 * time.Minute}, nil
	}
	w.s.Start(w.now)
	w.run(10 * time.Second)
	w.s.Reannounce(w.now)
	w.run(49 * time.Second)
	w.want("0s a started")
	w.run(2 * time.Second)
	w.want("1m0s a")
	for range 30 {
		w.s.Reannounce(w.now)
		w.run(time.Second)
	}
	w.want()

	// A tracker that fails is tried at once, one that said never as well.
	w = newWorld(t, tiers("a"), ScheduleConfig{})
	w.reply = func(Announce) (Response, error) { return Response{}, &FailureError{Reason: "no", Never: true} }
	w.s.Start(w.now)
	w.run(48 * time.Hour)
	w.want("0s a started")
	if v := w.s.View()[0]; v.Status != StatusDisabled || !strings.Contains(v.Error, "no") || !v.Next.IsZero() {
		t.Errorf("view = %+v", v)
	}
	w.s.Reannounce(w.now)
	w.run(time.Minute)
	w.want("48h0m0s a started")
}

func TestRetryIn(t *testing.T) {
	w := newWorld(t, tiers("a"), ScheduleConfig{})
	w.reply = func(Announce) (Response, error) {
		return Response{}, &FailureError{Reason: "later", RetryIn: 3 * time.Hour}
	}
	w.s.Start(w.now)
	w.run(3*time.Hour - time.Second)
	w.want("0s a started")
	w.run(2 * time.Minute)
	if len(w.log) != 1 {
		t.Errorf("after three hours: %q", w.log)
	}
}

func TestFamilies(t *testing.T) {
	both := []Family{IPv4, IPv6}
	t.Run("both announce", func(t *testing.T) {
		w := newWorld(t, tiers("a"), ScheduleConfig{Families: both})
		w.s.Start(w.now)
		w.run(time.Minute)
		w.want("0s a started IPv4", "0s a started IPv6")
		w.s.Completed(w.now)
		w.run(time.Minute)
		w.want("1m0s a completed IPv4", "1m0s a completed IPv6")
		if got := len(w.s.Stop(w.now)); got != 2 {
			t.Errorf("%d stopped events, want 2", got)
		}
	})
	t.Run("one without address is dropped quietly", func(t *testing.T) {
		w := newWorld(t, tiers("a", "b"), ScheduleConfig{Families: both})
		w.reply = func(a Announce) (Response, error) {
			if a.Family == IPv6 {
				return Response{}, fmt.Errorf("%w: a", ErrNoFamily)
			}
			return Response{Interval: time.Hour}, nil
		}
		w.s.Start(w.now)
		w.run(7 * time.Minute)
		w.want("0s a started IPv4", "0s a started IPv6")
		w.run(24 * time.Hour)
		tries := 0
		for _, line := range w.log {
			if strings.HasSuffix(line, "IPv6") {
				tries++
			}
		}
		if tries < 6 || tries > 11 {
			t.Errorf("IPv6 was tried %d times in a day", tries)
		}
		if v := w.s.View()[0]; v.Status != StatusWorking || v.Error != "" {
			t.Errorf("view = %+v", v)
		}
		if out := w.s.Stop(w.now); len(out) != 1 || out[0].Family != IPv4 {
			t.Errorf("stopped: %+v, want IPv4 alone", out)
		}
	})
	t.Run("one that works is enough", func(t *testing.T) {
		w := newWorld(t, tiers("a", "b"), ScheduleConfig{Families: both})
		w.reply = func(a Announce) (Response, error) {
			if a.Family == IPv4 {
				return Response{}, errDown
			}
			return Response{Interval: time.Hour}, nil
		}
		w.s.Start(w.now)
		w.run(50 * time.Minute)
		for _, line := range w.log {
			if strings.Contains(line, " b ") {
				t.Errorf("a works over IPv6, yet %q", line)
			}
		}
		if v := w.s.View()[0]; v.Status != StatusWorking || !strings.Contains(v.Error, "IPv4: connection refused") || v.Failures != 0 {
			t.Errorf("view = %+v", v)
		}
	})
	t.Run("no network is a failure that passes", func(t *testing.T) {
		w := newWorld(t, tiers("a"), ScheduleConfig{Families: both})
		w.reply = func(a Announce) (Response, error) { return Response{}, fmt.Errorf("%w: a", ErrNoFamily) }
		w.s.Start(w.now)
		w.run(20 * time.Minute)
		if v := w.s.View()[0]; v.Status != StatusFailed || v.Failures < 3 {
			t.Errorf("view = %+v", v)
		}
		w.reply = down()
		w.run(30 * time.Minute)
		if v := w.s.View()[0]; v.Status != StatusWorking {
			t.Errorf("view with the network back = %+v", v)
		}
	})
}

func TestTrackerIDIsSentBack(t *testing.T) {
	w := newWorld(t, tiers("a", "b"), ScheduleConfig{NumWant: 80})
	w.s.Start(w.now)
	as, _ := w.s.Due(w.now)
	if as[0].TrackerID != "" || as[0].NumWant != 80 {
		t.Errorf("first announce: %+v", as[0])
	}
	w.s.Succeeded(w.now, as[0].ID, Response{Interval: time.Hour, TrackerID: "xyz"})
	w.now = w.now.Add(2 * time.Hour)
	as, _ = w.s.Due(w.now)
	if len(as) != 1 || as[0].TrackerID != "xyz" {
		t.Fatalf("second announce: %+v", as)
	}
	w.s.Succeeded(w.now, as[0].ID, Response{Interval: time.Hour}) // not repeated: the old one stays
	if out := w.s.Stop(w.now); len(out) != 1 || out[0].TrackerID != "xyz" {
		t.Errorf("stopped: %+v", out)
	}
}

func TestAddAndRemove(t *testing.T) {
	w := newWorld(t, tiers("a"), ScheduleConfig{})
	w.reply = down("a")
	w.s.Start(w.now)
	w.run(time.Second)
	for _, bad := range []string{"wss://x", "udp://x", "nonsense", "http://", "http://x:0/"} {
		if err := w.s.Add(0, bad); !errors.Is(err, ErrURL) {
			t.Errorf("Add(%q) = %v, want ErrURL", bad, err)
		}
	}
	if err := errors.Join(w.s.Add(-1, "http://b"), w.s.Add(0, "http://c"), w.s.Add(0, "http://b")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range w.s.View() {
		got = append(got, fmt.Sprint(v.Tier, v.URL))
	}
	if want := []string{"0http://a", "0http://c", "1http://b"}; !slices.Equal(got, want) {
		t.Errorf("trackers = %v, want %v", got, want)
	}
	w.run(time.Second)
	w.want("0s a started", "1s c started")
	if !w.s.Remove("http://c") || w.s.Remove("http://c") {
		t.Error("Remove does not tell whether the tracker was there")
	}
	w.run(time.Second)
	w.want("2s c stopped", "2s b started")
	w.s.Remove("http://a")
	w.s.Remove("http://b")
	w.run(time.Hour)
	w.want("3s b stopped")
}

func TestResultsAfterStopAreIgnored(t *testing.T) {
	w := newWorld(t, tiers("a"), ScheduleConfig{})
	w.s.Start(w.now)
	as, _ := w.s.Due(w.now)
	if out := w.s.Stop(w.now); len(out) != 0 {
		t.Errorf("stopped events for a tracker that never answered: %+v", out)
	}
	w.s.Succeeded(w.now, as[0].ID, Response{Interval: time.Hour})
	w.s.Failed(w.now, as[0].ID, errDown)
	w.s.Succeeded(w.now, 12345, Response{})
	if v := w.s.View()[0]; v.Announces != 0 {
		t.Errorf("view = %+v", v)
	}
	w.s.Start(w.now)
	w.run(time.Minute)
	w.want("0s a started")
}

func TestHostileResponse(t *testing.T) {
	w := newWorld(t, tiers("a"), ScheduleConfig{})
	w.reply = func(Announce) (Response, error) { return Response{Interval: -5, MinInterval: 1 << 62}, nil }
	w.s.Start(w.now)
	w.run(24 * time.Hour)
	if len(w.log) < 2 || len(w.log) > 3 {
		t.Errorf("in a day: %q", w.log)
	}
}

func TestView(t *testing.T) {
	w := newWorld(t, [][]string{{"http://a"}, {"wss://x"}, {"http://b"}, {"http://c"}}, ScheduleConfig{})
	w.reply = func(a Announce) (Response, error) {
		if a.URL == "http://a" {
			return Response{}, &FailureError{Reason: "unregistered torrent"}
		}
		return Response{Interval: time.Hour, Seeds: 3, Leechers: 4, Downloads: -1, Warning: "slow down", Peers: make([]netip.AddrPort, 7)}, nil
	}
	w.s.Start(w.now)
	w.run(10 * time.Second)
	v := w.s.View()
	if v[0].Status != StatusFailed || v[0].Error != "refused by the tracker: unregistered torrent" || v[0].Failures != 1 || v[0].Next.IsZero() {
		t.Errorf("a: %+v", v[0])
	}
	if v[1].Status != StatusDisabled || v[1].Error == "" {
		t.Errorf("x: %+v", v[1])
	}
	if b := v[2]; b.Status != StatusWorking || b.Swarm != (ScrapeResult{3, 4, -1}) || b.Warning != "slow down" || b.Peers != 7 || !b.Last.Equal(w.start) || b.Next.Before(w.start.Add(time.Hour)) {
		t.Errorf("b: %+v", b)
	}
	if v[3].Status != StatusIdle || !v[3].Next.IsZero() {
		t.Errorf("c: %+v", v[3])
	}
}

func TestStormIsSpread(t *testing.T) {
	const torrents, spread = 1000, 100 * time.Second
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	rng := rand.New(rand.NewPCG(3, 4))
	perSecond := make(map[int]int)
	for range torrents {
		s := NewSchedule(tiers("a"), ScheduleConfig{Families: []Family{IPv4}, Spread: spread}, rng)
		s.Start(now)
		as, next := s.Due(now)
		if len(as) > 0 {
			next = now
		} else if as, _ = s.Due(next); len(as) != 1 {
			t.Fatalf("announces at the deadline: %v", as)
		}
		perSecond[int(next.Sub(now)/time.Second)]++
		// The next round is spread just as well.
		s.Succeeded(next, as[0].ID, Response{Interval: 30 * time.Minute})
		if _, again := s.Due(next); again.Sub(next) < 30*time.Minute || again.Sub(next) > 31*time.Minute {
			t.Fatalf("second announce after %v", again.Sub(next))
		}
	}
	for second, n := range perSecond {
		if n > 4*torrents/int(spread/time.Second) {
			t.Errorf("%d announces in second %d", n, second)
		}
	}
	if len(perSecond) < 90 {
		t.Errorf("announces in %d of 100 seconds", len(perSecond))
	}
}

// A schedule that is driven at random keeps its promises: no tracker is
// announced to twice at a time, none before its minimum interval except for
// an event, and every deadline leads to something.
func TestScheduleAtRandom(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 9))
		w := newWorld(t, [][]string{{"http://a", "http://b"}, {"http://c"}, {"udp://d:1", "http://e"}}, ScheduleConfig{Families: []Family{IPv4, IPv6}, AllTiers: seed%3 == 0})
		last := make(map[string]time.Time)
		w.delay = time.Duration(rng.IntN(3)) * 7 * time.Second
		w.reply = func(a Announce) (Response, error) {
			switch rng.IntN(5) {
			case 0:
				return Response{}, errDown
			case 1:
				return Response{}, ErrNoFamily
			case 2:
				return Response{}, &FailureError{RetryIn: time.Duration(rng.IntN(9000)) * time.Second}
			}
			key := a.URL + a.Family.String()
			if was, ok := last[key]; ok && a.Event == None && w.now.Sub(was) < 4*time.Minute-w.delay {
				t.Fatalf("seed %d: %s announced after %v", seed, key, w.now.Sub(was))
			}
			last[key] = w.now
			return Response{Interval: 20 * time.Minute, MinInterval: 4 * time.Minute}, nil
		}
		w.s.Start(w.now)
		for step := range 60 {
			switch rng.IntN(8) {
			case 0:
				w.s.NeedPeers(w.now, rng.IntN(2) == 0)
			case 1:
				w.s.Completed(w.now)
			case 2:
				w.s.Add(rng.IntN(4)-1, fmt.Sprintf("http://new%d", step))
			case 3:
				w.s.Remove(w.s.View()[0].URL)
			}
			w.run(time.Duration(rng.IntN(2000)) * time.Second)
			if len(w.s.order) == 0 {
				break
			}
		}
		for _, a := range w.s.Stop(w.now) {
			if a.Event != Stopped {
				t.Fatalf("Stop returned %+v", a)
			}
		}
	}
}

func BenchmarkDueIdle(b *testing.B) {
	s := NewSchedule(tiers("a", "b", "c"), ScheduleConfig{}, rand.New(rand.NewPCG(1, 2)))
	now := time.Now()
	s.Start(now)
	as, _ := s.Due(now)
	for _, a := range as {
		s.Succeeded(now, a.ID, Response{Interval: time.Hour})
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Due(now)
	}
}
