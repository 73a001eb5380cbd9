package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"btd/api/client"
)

// display shows torrents that change: bars on a terminal, else lines, of
// which a torrent gets one at most every interval, and one when its state
// changes or it is complete; or the events themselves.
type display struct {
	out      io.Writer
	app      *app
	interval time.Duration
	busy     bool          // leave out torrents that do nothing
	json     bool          // the events, and nothing else
	bars     *mpb.Progress // nil without a terminal
	drawn    map[string]*barOf
	lines    map[string]lineOf
	failed   error // to write
}

type barOf struct {
	bar *mpb.Bar
	now atomic.Pointer[client.Torrent] // the drawing goroutine reads it
}

type lineOf struct {
	text, state string
	complete    bool
	at          time.Time
}

const barSteps = 1 << 20

func (a *app) newDisplay(out io.Writer, tty bool, interval time.Duration) *display {
	d := &display{out: out, app: a, interval: interval, drawn: map[string]*barOf{}, lines: map[string]lineOf{}}
	if tty {
		d.bars = mpb.New(mpb.WithOutput(out), mpb.WithWidth(64), mpb.WithAutoRefresh())
	}
	return d
}

// close ends the drawing; what was drawn last stays.
func (d *display) close() {
	if d.bars == nil {
		return
	}
	for _, b := range d.drawn {
		b.bar.Abort(false)
	}
	d.bars.Wait()
}

// note says something between the bars.
func (d *display) note(s string) {
	if d.bars == nil {
		d.app.say("%s", s)
		return
	}
	fmt.Fprintf(d.bars, "%s\n", clean(s))
}

// event shows what comes before a change of the picture.
func (d *display) event(e client.Event, p *picture) {
	switch {
	case d.json && (p.follows(e) || e.Kind == client.EventLost):
		b, err := json.Marshal(e)
		if err == nil {
			_, err = fmt.Fprintf(d.out, "%s\n", b)
		}
		d.failed = errors.Join(d.failed, err)
	case !d.json && e.Message != "" && p.follows(e):
		name := p.torrents[e.ID].Name
		if name == "" {
			name = "btd"
		}
		d.note(name + ": " + e.Message)
	}
}

func (d *display) show(list []client.Torrent) {
	if d.json {
		return
	}
	if d.busy {
		list = slices.DeleteFunc(slices.Clone(list), func(t client.Torrent) bool { return !isBusy(t) && !d.known(t.ID) })
	}
	if d.bars == nil {
		for _, t := range list {
			d.line(t)
		}
		return
	}
	_, height := d.app.size()
	shown := map[string]bool{}
	for _, t := range list {
		if height > 2 && len(shown) >= height-2 {
			break
		}
		shown[t.ID] = true
		d.bar(t)
	}
	for id, b := range d.drawn {
		if !shown[id] {
			b.bar.Abort(true)
			delete(d.drawn, id)
		}
	}
}

// known tells whether a torrent was shown when it still did something: then
// its end is shown too.
func (d *display) known(id string) bool {
	_, ok := d.lines[id]
	return ok
}

func (d *display) line(t client.Torrent) {
	last, next := d.lines[t.ID], lineOf{text: lineText(t), state: t.State, complete: isComplete(t), at: time.Now()}
	same := next.state == last.state && next.complete == last.complete
	if next.text == last.text || (same && next.at.Sub(last.at) < d.interval) {
		return
	}
	d.lines[t.ID] = next
	_, err := fmt.Fprintln(d.out, next.text)
	d.failed = errors.Join(d.failed, err)
}

func (d *display) bar(t client.Torrent) {
	b := d.drawn[t.ID]
	if b == nil {
		b = &barOf{}
		b.now.Store(&t)
		left := decor.Any(func(decor.Statistics) string { return cut(clean(b.now.Load().Name), 32) }, decor.WCSyncSpaceR)
		state := decor.Any(func(decor.Statistics) string { return clean(b.now.Load().State) }, decor.WCSyncSpaceR)
		right := decor.Any(func(decor.Statistics) string { return barText(*b.now.Load()) }, decor.WCSyncSpace)
		// A total of 0 at first keeps the bar alive when it is full.
		b.bar = d.bars.New(0, mpb.BarStyle(), mpb.PrependDecorators(left, state), mpb.AppendDecorators(right))
		b.bar.SetTotal(barSteps, false)
		d.drawn[t.ID] = b
	}
	b.now.Store(&t)
	done := t.Progress
	switch {
	case t.State == client.StateChecking:
		done = t.Checked
	case t.Metadata != nil:
		done = metadataShare(*t.Metadata)
	}
	b.bar.SetCurrent(int64(done * barSteps))
}

// barText is what stands behind a bar.
func barText(t client.Torrent) string {
	if t.Metadata != nil {
		return waitingText(*t.Metadata)
	}
	return fmt.Sprintf("%6s  ↓ %-12s ↑ %-12s %3d peers  %s",
		doneText(t), rateText(t.RateDown), rateText(t.RateUp), t.Peers, etaText(t))
}

// lineText is one line for a log.
func lineText(t client.Torrent) string {
	if t.Metadata != nil {
		return clean(t.Name) + ": " + clean(t.State) + ", " + waitingText(*t.Metadata)
	}
	words := []string{
		clean(t.Name) + ":", clean(t.State), doneText(t), "of", bytesText(t.Wanted) + ",",
		"down", rateText(t.RateDown) + ",", "up", rateText(t.RateUp) + ",", plural(t.Peers, "peer"),
	}
	if eta := etaText(t); eta != nothing {
		words[len(words)-1] += ","
		words = append(words, "ready in", eta)
	}
	if t.Error != "" {
		words = append(words, "("+clean(t.Error)+")")
	}
	return strings.Join(words, " ")
}
