//go:build lan && linux

package lan

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"btd/api/client"
	"btd/test/netns"
)

// joiners is how many machines join what the first one shares.
const joiners = 8

// swarm is one test's network: the machine that shares, and those that join.
type swarm struct {
	*netns.Lab
	first  *machine
	others []*machine
	root   string // of the content
	size   int64  // of the content, bytes
	line   string // that share printed
	id     string
	link   netns.Link // of each host to the others
}

// newLink is a link as people have them, apart from its speed.
func newLink(mbit int) netns.Link { return netns.Link{Mbit: mbit, Delay: time.Millisecond} }

// bytesPerSecond is a link's speed.
func bytesPerSecond(l netns.Link) float64 { return float64(l.Mbit) * 1e6 / 8 }

// newSwarm makes a network whose links are shaped, starts a daemon on each
// host, and shares content on the first: as much as size says for links of full
// speed.
func newSwarm(ctx context.Context, t *testing.T, mbit int, size int64, share ...string) *swarm {
	t.Helper()
	s := &swarm{Lab: newLab(t), size: scaled(size, mbit), link: newLink(mbit)}
	for i := range 1 + joiners {
		m := s.machine(ctx, fmt.Sprintf("host%d", i))
		if i == 0 {
			s.first = m
		} else {
			s.others = append(s.others, m)
		}
	}
	var err error
	s.root, err = content(filepath.Join(s.first.Dir, "images"), "desktop image", s.size, 1)
	s.Must(err)
	out, err := s.first.btctl(ctx, append([]string{"share", s.root}, share...)...)
	s.Must(err)
	s.line = strings.TrimSuffix(out, "\n")
	if strings.ContainsAny(s.line, "\n ") || s.line == "" {
		t.Fatalf("share printed %q, want one line", out)
	}
	list, err := s.first.api.Torrents(ctx)
	s.Must(err)
	if len(list) != 1 || list[0].State != client.StateSeeding {
		t.Fatalf("the first host has %+v", list)
	}
	s.id = list[0].ID
	if again, err := s.first.says("msg=verified"); again || err != nil {
		t.Errorf("the daemon has hashed what btctl had hashed (%v)", err)
	}
	return s
}

// machine adds a host to the network and starts its daemon.
func (s *swarm) machine(ctx context.Context, name string) *machine {
	s.T.Helper()
	h := s.Host(name)
	s.Must(h.Shape(s.link))
	m, err := start(ctx, h)
	s.Must(err)
	return m
}

// join has machines join, and returns when the last of them is through, with
// what went wrong on each.
func (s *swarm) join(ctx context.Context, on []*machine) (took time.Duration, failed []error) {
	began := time.Now()
	failed = make([]error, len(on))
	var wg sync.WaitGroup
	for i, m := range on {
		wg.Go(func() { _, failed[i] = m.btctl(ctx, "join", s.line, "--wait") })
	}
	wg.Wait()
	return time.Since(began), failed
}

// check compares what arrived with what is shared.
func (s *swarm) check(on []*machine) {
	s.T.Helper()
	for _, m := range on {
		if err := same(s.root, filepath.Join(m.downloads(), filepath.Base(s.root))); err != nil {
			s.T.Errorf("%s: %v", m.Name, err)
		}
	}
}

// sent is the payload that the first host has sent, as a multiple of the
// content, once it sends no more. (Pictures of a torrent are up to a second old.)
func (s *swarm) sent(ctx context.Context) float64 {
	s.T.Helper()
	var n int64 = -1
	s.Must(netns.Poll(ctx, 1500*time.Millisecond, "the first host has nothing to send", func() (bool, error) {
		t, err := s.first.api.Torrent(ctx, s.id)
		last := n
		n = t.Uploaded
		return n == last && t.RateUp == 0, err
	}))
	return float64(n) / float64(s.size)
}

// cpu is the processor time that all daemons have used, in seconds.
func (s *swarm) cpu() float64 {
	sum := s.first.cpu()
	for _, m := range s.others {
		sum += m.cpu()
	}
	return sum
}

// hosts are all that are in the swarm.
func (s *swarm) hosts() []*netns.Host {
	all := []*netns.Host{s.first.Host}
	for _, m := range s.others {
		all = append(all, m.Host)
	}
	return all
}
