package session

import "time"

// meter measures a rate in bytes per second: what came in the last second,
// smoothed over a few seconds.
type meter struct {
	total int64 // bytes ever
	mark  int64 // total at the last tick
	at    time.Time
	rate  float64
	last  float64 // rate of the last interval alone
	still int     // intervals without a byte
}

func (m *meter) add(n int) { m.total += int64(n) }

// tick closes an interval. It is called about once a second.
func (m *meter) tick(now time.Time) {
	if m.at.IsZero() {
		m.at, m.mark = now, m.total
		return
	}
	d := now.Sub(m.at).Seconds()
	if d < 0.2 {
		return
	}
	m.last = float64(m.total-m.mark) / d
	m.at, m.mark = now, m.total
	// A share that forgets half within about two seconds.
	share := min(1, 0.3*d)
	m.rate += (m.last - m.rate) * share
	if m.last > 0 {
		m.still = 0
	} else if m.still++; m.still >= 4 {
		m.rate = 0
	}
}

func (m *meter) perSecond() int64 { return int64(m.rate) }
