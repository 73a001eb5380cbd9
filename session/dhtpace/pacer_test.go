package dhtpace

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var t0 = time.Unix(1_700_000_000, 0)

func pacer(cfg Config) *Pacer[string] { return New[string](cfg, rand.New(rand.NewPCG(1, 2))) }

// sim searches as the pacer says, each search taking 1 s.
type sim struct {
	p       *Pacer[string]
	now     time.Time
	flying  []*Item[string]
	ends    []time.Time
	cost    int
	others  func(name string) int
	started map[string][]time.Duration
	queries int
	most    int // searches at once
}

func newSim(p *Pacer[string]) *sim {
	return &sim{p: p, now: t0, cost: 20, others: func(string) int { return 0 }, started: map[string][]time.Duration{}}
}

func (s *sim) run(d time.Duration) {
	for end := s.now.Add(d); ; {
		it, wait := s.p.Next(s.now)
		if it != nil {
			s.started[it.Value] = append(s.started[it.Value], s.now.Sub(t0))
			s.flying, s.ends = append(s.flying, it), append(s.ends, s.now.Add(time.Second))
			s.most = max(s.most, len(s.flying))
			continue
		}
		next := end
		if !wait.IsZero() && wait.Before(next) {
			next = wait
		}
		if len(s.ends) > 0 && s.ends[0].Before(next) {
			next = s.ends[0]
		}
		if !next.Before(end) {
			s.now = end
			return
		}
		s.now = next
		for len(s.ends) > 0 && !s.ends[0].After(s.now) {
			it := s.flying[0]
			s.flying, s.ends = s.flying[1:], s.ends[1:]
			s.queries += s.cost
			s.p.Done(it, Over, s.cost, s.others(it.Value), s.now)
		}
	}
}

func TestHungryTorrentsComeAtOnceAndLessOftenInVain(t *testing.T) {
	p := pacer(Config{})
	s := newSim(p)
	s.others = func(name string) int {
		if name == "found" {
			return 5
		}
		return 0
	}
	p.Add("vain", Hungry, t0)
	p.Add("found", Hungry, t0)
	s.run(2 * time.Hour)
	if v := s.started["vain"]; len(v) < 12 || len(v) > 18 || v[0] != 0 || v[1] > 10*time.Second || v[4]-v[3] < 60*time.Second {
		t.Errorf("searched for at %v", v)
	}
	if v := s.started["found"]; len(v) < 30 || len(v) > 36 {
		t.Errorf("one that has peers is searched for %d times: %v", len(v), v)
	}
}

func TestSeedsAreAnnouncedBeforeTheyAreForgotten(t *testing.T) {
	p := pacer(Config{})
	s := newSim(p)
	s.others = func(name string) int { return map[string]int{"swarm": 3}[name] }
	p.Add("swarm", Steady, t0)
	p.Add("lonely", Steady, t0)
	s.run(10 * time.Hour)
	for name, want := range map[string][2]int{"swarm": {30, 35}, "lonely": {21, 26}} {
		v := s.started[name]
		if len(v) < want[0] || len(v) > want[1] {
			t.Errorf("%s: announced %d times in 10 hours", name, len(v))
		}
		for i := 1; i < len(v); i++ {
			if d := v[i] - v[i-1]; d < 15*time.Minute || d > 30*time.Minute {
				t.Errorf("%s: a pause of %v", name, d)
			}
		}
	}
}

// TestSeedsGoTogether has a thousand seeds that became due at any time: they
// begin in as few moments as Gather allows.
func TestSeedsGoTogether(t *testing.T) {
	p := pacer(Config{})
	s := newSim(p)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 1000 {
		p.Add(fmt.Sprint(i), Lonely, t0)
		s.run(time.Duration(rng.IntN(2000)) * time.Millisecond)
	}
	s.run(30 * time.Minute)
	moments := map[time.Duration]bool{}
	begun := 0
	for _, v := range s.started {
		for _, at := range v {
			moments[at] = true
			begun++
		}
	}
	if begun < 2000 || begun > 2600 {
		t.Fatalf("%d searches began", begun)
	}
	if each := float64(begun) / float64(len(moments)); each < 1.5 {
		t.Errorf("%d searches began in %d moments", begun, len(moments))
	}
	for _, v := range s.started {
		for i := 1; i < len(v); i++ {
			if d := v[i] - v[i-1]; d > 28*time.Minute+10*time.Second {
				t.Fatalf("one waited for %v", d)
			}
		}
	}
}

// TestTheBudgetHolds has more torrents than can be announced in time.
func TestTheBudgetHolds(t *testing.T) {
	p := pacer(Config{})
	s := newSim(p)
	s.cost = 45
	s.others = func(name string) int {
		if name[0] == 's' {
			return 1
		}
		return 0
	}
	for i := range 20_000 {
		p.Add(fmt.Sprintf("s%d", i), Steady, t0)
		p.Add(fmt.Sprintf("l%d", i), Lonely, t0)
	}
	s.run(2 * time.Hour)
	if most := 400*7200 + 1600 + 50*16; s.queries > most || s.queries < most*9/10 {
		t.Errorf("%d queries in two hours, the budget is %d", s.queries, most)
	}
	var steady, lonely int
	for name, v := range s.started {
		if name[0] == 's' {
			steady += len(v)
		} else {
			lonely += len(v)
		}
	}
	if steady < 2*lonely || lonely < steady/5 {
		t.Errorf("%d announces of torrents with a swarm, %d of others", steady, lonely)
	}
	// A download does not wait behind them.
	before := s.now
	p.Add("h", Hungry, s.now)
	it, _ := p.Next(before)
	if it == nil || it.Value != "h" {
		t.Errorf("next is %+v", it)
	}
}

func TestManyHungryTorrentsHaveABudget(t *testing.T) {
	p := pacer(Config{})
	s := newSim(p)
	s.cost = 45
	for i := range 10_000 {
		p.Add(fmt.Sprint(i), Hungry, t0)
	}
	s.run(time.Hour)
	if most := 300*3600 + 6000 + 50*32; s.queries > most {
		t.Errorf("%d queries in an hour, the budget is %d", s.queries, most)
	}
	if s.most > 32 {
		t.Errorf("%d searches at once", s.most)
	}
}

func TestBusyAndAwayAreTriedAgain(t *testing.T) {
	p := pacer(Config{})
	p.Add("a", Hungry, t0)
	p.Add("b", Hungry, t0)
	it, _ := p.Next(t0)
	p.Done(it, Busy, 0, 0, t0)
	if next, wait := p.Next(t0); next != nil || !wait.Equal(t0.Add(2*time.Second)) {
		t.Fatalf("%+v, %v", next, wait)
	}
	now := t0.Add(2 * time.Second)
	seen := map[string]bool{}
	for range 2 {
		it, wait := p.Next(now)
		if it == nil {
			t.Fatalf("nothing until %v", wait)
		}
		seen[it.Value] = true
		p.Done(it, Over, 1, 1, now)
	}
	if !seen["a"] || !seen["b"] {
		t.Errorf("tried again: %v", seen)
	}
	it = p.Add("c", Lonely, now)
	it2, _ := p.Next(now)
	if it2 != it {
		t.Fatalf("%+v", it2)
	}
	p.Done(it, Away, 0, 0, now)
	if next, wait := p.Next(now); next != nil || !wait.Equal(now.Add(15*time.Second)) {
		t.Errorf("%+v, %v", next, wait)
	}
}

// TestUnheardIsTriedAgainSoon: an announce that nobody acknowledged is made again
// after 15 s, then 30, up to the usual time, and holds up no other item.
func TestUnheardIsTriedAgainSoon(t *testing.T) {
	p := pacer(Config{})
	it, now := p.Add("a", Lonely, t0), t0
	var waits []time.Duration
	for range 10 {
		got, due := p.Next(now)
		if got == nil {
			waits = append(waits, due.Sub(now))
			now = due
			got, _ = p.Next(now)
		}
		if got != it {
			t.Fatalf("%+v at %v", got, now.Sub(t0))
		}
		p.Done(it, Unheard, 10, 0, now)
		if len(waits) == 2 {
			p.Add("b", Lonely, now)
			if b, _ := p.Next(now); b == nil || b.Value != "b" {
				t.Fatalf("another item is held up: %+v", b)
			}
		}
	}
	for i, w := range waits {
		if want := 15 * time.Second << i; i < 6 && w != want || w > 30*time.Minute || i > 6 && w < 10*time.Minute {
			t.Errorf("wait %d is %v", i, w)
		}
	}
	p.Done(it, Unheard, 10, 0, now)
	if p.Next(now.Add(time.Hour)); it.unheard == 0 {
		t.Fatal("nothing was counted")
	}
	p.Done(it, Over, 10, 0, now.Add(time.Hour))
	if it.unheard != 0 {
		t.Error("it is still held to be unheard")
	}
}

func TestClassesChange(t *testing.T) {
	p := pacer(Config{})
	it := p.Add("a", Steady, t0)
	if got, _ := p.Next(t0); got != it {
		t.Fatal("not due")
	}
	p.Set(it, Hungry, t0) // while it flies
	p.Done(it, Over, 10, 0, t0.Add(time.Second))
	if got, wait := p.Next(t0.Add(time.Second)); got != nil || wait.After(t0.Add(again)) {
		t.Errorf("%+v, %v", got, wait)
	}
	if got, _ := p.Next(t0.Add(again)); got != it {
		t.Error("it is hungry and not due")
	}
	p.Now(it, t0.Add(again))
	p.Done(it, Over, 10, 5, t0.Add(again))
	if got, _ := p.Next(t0.Add(again)); got != it {
		t.Error("Now was forgotten")
	}
	p.Done(it, Over, 10, 5, t0.Add(again))
	p.Set(it, Lonely, t0.Add(again))
	if got, wait := p.Next(t0.Add(again)); got != nil || wait.Before(t0.Add(20*time.Minute)) {
		t.Errorf("%+v, %v", got, wait)
	}
	p.Now(it, t0.Add(again))
	if got, _ := p.Next(t0.Add(again)); got != it {
		t.Error("Now did nothing")
	}
	p.Remove(it)
	p.Done(it, Over, 1, 1, t0)
	p.Now(it, t0)
	p.Set(it, Hungry, t0)
	if got, wait := p.Next(t0.Add(10 * time.Hour)); got != nil || !wait.IsZero() || p.Len() != 0 {
		t.Errorf("a removed one comes: %+v, %v", got, wait)
	}
}
