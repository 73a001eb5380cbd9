package main

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"btd/metainfo/create"
)

// hashBar is one bar for the hashing of a path. Without a terminal it shows
// nothing.
type hashBar struct {
	app   *app
	name  string
	bars  *mpb.Progress
	bar   *mpb.Bar
	start time.Time
	done  atomic.Int64
	total int64
}

func (a *app) newHashBar(name string) *hashBar { return &hashBar{app: a, name: name} }

// show takes what create tells, one call at a time.
func (h *hashBar) show(p create.Progress) {
	if !h.app.errTTY {
		return
	}
	h.done.Store(p.Done)
	if h.bar == nil {
		h.start, h.total = time.Now(), p.Total
		h.bars = mpb.New(mpb.WithOutput(h.app.err), mpb.WithWidth(64), mpb.WithAutoRefresh())
		name := cut(clean(h.name), 32)
		right := decor.Any(func(decor.Statistics) string { return hashText(h.done.Load(), h.total, time.Since(h.start)) })
		h.bar = h.bars.New(0, mpb.BarStyle(), mpb.PrependDecorators(decor.Name(name+" ")), mpb.AppendDecorators(right))
		// A total of 0 at first keeps the bar alive when it is full.
		h.bar.SetTotal(p.Total, false)
	}
	h.bar.SetCurrent(p.Done)
}

// close ends the drawing. The bar is taken away: what became of it is said
// after it.
func (h *hashBar) close() {
	if h.bar != nil {
		h.bar.Abort(true)
		h.bars.Wait()
	}
}

// hashText is what stands behind the bar.
func hashText(done, total int64, since time.Duration) string {
	text := fmt.Sprintf(" %6s of %s", percent(float64(done)/float64(max(total, 1))), bytesText(total))
	if since < time.Second || done == 0 {
		return text
	}
	rate := int64(float64(done) / since.Seconds())
	return fmt.Sprintf("%s, %s, ready in %s", text, rateText(rate), secondsText((total-done)/max(rate, 1)))
}
