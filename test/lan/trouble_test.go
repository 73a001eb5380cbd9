//go:build lan && linux

package lan

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"btd/test/netns"
)

// joining is a join that goes on in the background.
type joining struct {
	done chan struct{}
	errs []error // after done
	took time.Duration
}

func (s *swarm) begin(ctx context.Context, on []*machine) *joining {
	j := &joining{done: make(chan struct{})}
	go func() {
		defer close(j.done)
		j.took, j.errs = s.join(ctx, on)
	}()
	return j
}

// copies is how many of the machines have each piece.
func (s *swarm) copies(ctx context.Context, on []*machine) ([]int, error) {
	var out []int
	for _, m := range on {
		p, err := m.api.Pieces(ctx, s.id)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = make([]int, p.Count)
		}
		for i := range min(p.Count, len(out)) {
			if p.Have[i/8]&(0x80>>(i%8)) != 0 {
				out[i]++
			}
		}
	}
	return out, nil
}

// TestFirstHostDies kills the host that shares as soon as the others have one
// copy among them. Until then they send so slowly that they are far from done.
func TestFirstHostDies(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := newSwarm(ctx, t, speed, 96<<20)
	for _, m := range s.others {
		s.Must(m.ShapeUp(newLink(speed / 10)))
	}
	j := s.begin(ctx, s.others)
	s.Must(netns.Poll(ctx, 20*time.Millisecond, "the others have every piece among them", func() (bool, error) {
		select {
		case <-j.done:
			return false, errors.Join(append(j.errs, errors.New("all were through before"))...)
		default:
		}
		n := 0
		have, err := s.copies(ctx, s.others)
		for _, c := range have {
			if c > 0 {
				n++
			}
		}
		// Machines that wait for the metadata know of no pieces yet.
		return err == nil && n > 0 && n == len(have), nil
	}))
	s.Must(s.first.Cut(true)) // as a machine that loses power: nobody is told
	s.first.daemon.Kill()
	missing := 0
	for _, m := range s.others {
		if x, err := m.api.Torrent(ctx, s.id); err == nil {
			missing += x.Pieces - x.PiecesHave
		}
	}
	if missing == 0 {
		t.Error("all were through before the first host died")
	}
	for _, m := range s.others {
		s.Must(m.ShapeUp(s.link))
	}
	<-j.done
	s.Must(errors.Join(j.errs...))
	s.check(s.others)
	t.Logf("when the first host died %d pieces were still missing on the others; they were through %.1f s after they began", missing, j.took.Seconds())
}

// TestCutOff takes one host's link away for 20 s. Until then the link is so slow
// that there is still much to get after it.
func TestCutOff(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := newSwarm(ctx, t, speed, 96<<20)
	lost := s.others[3]
	s.Must(lost.Shape(newLink(max(1, speed/10))))
	j := s.begin(ctx, s.others)
	s.Must(netns.Poll(ctx, 20*time.Millisecond, "the host has begun", func() (bool, error) {
		x, err := lost.api.Torrent(ctx, s.id)
		return err == nil && x.PiecesHave > x.Pieces/20, nil
	}))
	s.Must(lost.Cut(true))
	cut, watch := time.Now(), netns.StartWatch()
	at, err := lost.api.Torrent(ctx, s.id)
	s.Must(err)
	if at.PiecesHave == at.Pieces {
		t.Fatal("the host was through before it was cut off")
	}
	s.Must(lost.Shape(s.link))
	s.Must(netns.Poll(ctx, 100*time.Millisecond, "the others are through", func() (bool, error) {
		n := 0
		for _, m := range s.others {
			if x, err := m.api.Torrent(ctx, s.id); err == nil && m != lost && x.Pieces > 0 && x.PiecesHave == x.Pieces {
				n++
			}
		}
		return n == joiners-1, nil
	}))
	idle, lostTime := watch.End()
	// That is four times what they need.
	if took := time.Since(cut); took > 20*time.Second {
		if busy(idle, lostTime, took) == "" {
			t.Errorf("the others were through only after %.1f s: they are held up by the one that is cut off", took.Seconds())
		}
	}
	select {
	case <-time.After(20*time.Second - time.Since(cut)):
	case <-j.done:
		t.Fatalf("all were through with one host cut off: %v", j.errs)
	}
	s.Must(lost.Cut(false))
	back := time.Now()
	<-j.done
	s.Must(errors.Join(j.errs...))
	s.check(s.others)
	t.Logf("cut off for %.0f s with %d of %d pieces, the host was through %.1f s after it was back", back.Sub(cut).Seconds(), at.PiecesHave, at.Pieces, time.Since(back).Seconds())
}

// TestFullDisk has one joiner with too small a disk.
func TestFullDisk(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := newSwarm(ctx, t, speed, 64<<20)
	h := s.Host("small")
	s.Must(h.Shape(s.link))
	small, err := startSmall(ctx, h, s.size/4)
	s.Must(err)
	j := s.begin(ctx, append(s.others[:7:7], small))
	<-j.done
	s.Must(errors.Join(j.errs[:7]...))
	s.check(s.others[:7])
	if err := j.errs[7]; err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("join on the small disk says: %v", err)
	}
	s.Must(netns.Poll(ctx, 50*time.Millisecond, "the daemon's log says that the disk is full", func() (bool, error) {
		return small.says("level=ERROR", "disk full")
	}))
	if _, err := small.daemon.Terminate(time.Minute); err != nil {
		t.Errorf("the daemon with the full disk: %v", err)
	}
}

// TestMulticastAlone has the hosts find each other without a tracker.
func TestMulticastAlone(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := newSwarm(ctx, t, speed, 64<<20)
	again, err := s.first.btctl(ctx, "share", s.root)
	s.Must(err)
	if strings.TrimSpace(again) != s.line {
		t.Errorf("shared again it is %s, was %s", again, s.line)
	}
	_, err = s.first.btctl(ctx, "tracker", "stop")
	s.Must(err)
	var fields []string
	for f := range strings.SplitSeq(s.line, "&") {
		if !strings.HasPrefix(f, "tr=") {
			fields = append(fields, f)
		}
	}
	s.line = strings.Join(fields, "&")
	took, failed := s.join(ctx, s.others)
	s.Must(errors.Join(failed...))
	s.check(s.others)
	for _, m := range s.others {
		list, err := m.api.Trackers(ctx, s.id)
		s.Must(err)
		if len(list) != 0 {
			t.Errorf("%s has a tracker: %+v", m.Name, list)
		}
	}
	t.Logf("without a tracker the last was through after %.1f s", took.Seconds())
}

// TestChangedFile writes to a file while it is shared: none of that is sent,
// and all that did not change is.
func TestChangedFile(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := newSwarm(ctx, t, speed, 32<<20)
	on := s.others[:3]
	path := filepath.Join(s.root, "more", "second file.dat")
	before, err := os.ReadFile(path)
	s.Must(err)
	after := bytes.Clone(before)
	for i := 0; i < len(after); i += 16 << 10 {
		after[i] ^= 0xff
	}
	s.Must(os.WriteFile(path, after, 0o644))
	for _, m := range on {
		_, err := m.btctl(ctx, "join", s.line)
		s.Must(err)
	}
	left := 0
	s.Must(netns.Poll(ctx, 50*time.Millisecond, "the first host names the file", func() (bool, error) {
		x, err := s.first.api.Torrent(ctx, s.id)
		left = x.PiecesHave
		return strings.Contains(x.Error, "second file.dat") && strings.Contains(x.Error, "changed"), err
	}))
	said, err := s.first.says("level=ERROR", "changed while they are shared", "second file.dat")
	if err != nil || !said {
		t.Errorf("the log does not name the file (%v)", err)
	}
	for _, m := range on {
		s.Must(netns.Poll(ctx, 50*time.Millisecond, m.Name+" gets all that did not change", func() (bool, error) {
			x, err := m.api.Torrent(ctx, s.id)
			if x.Corrupt > 0 {
				t.Errorf("%s was sent %d bytes of the changed file", m.Name, x.Corrupt)
			}
			return x.PiecesHave == left && left > 0, err
		}))
	}
	// The file is as it was again.
	s.Must(os.WriteFile(path, before, 0o644))
	_, err = s.first.btctl(ctx, "verify", s.id)
	s.Must(err)
	_, failed := s.join(ctx, on)
	s.Must(errors.Join(failed...))
	s.check(on)
	x, err := on[0].api.Torrent(ctx, s.id)
	s.Must(err)
	t.Logf("%d of %d pieces were through while the file was another", left, x.Pieces)
}
