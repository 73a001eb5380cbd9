package main

import (
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	free, total, err := parseStat([]byte("cpu  100 20 30 4000 500 6 7 80 90 0\ncpu0 1 2"))
	if err != nil || free != 45*time.Second || total != 4743*time.Second/100 {
		t.Errorf("free %s of %s, %v", free, total, err)
	}
	for _, s := range []string{"", "cpu  1 2 3", "cpu0 1 2 3 4 5 6 7 8 9\n", "cpu  1 2 3 4 x 6 7 8 9\n", "cpu  1 2 3 4\ncpu0 5 6 7 8 9\n"} {
		if _, _, err := parseStat([]byte(s)); err == nil {
			t.Errorf("%q was read", s)
		}
	}
}

// TestUsageOfThisMachine: what is used is counted, and no more than there is.
func TestUsageOfThisMachine(t *testing.T) {
	read := usageReader()
	u, err := read()
	if err != nil {
		t.Fatal(err)
	}
	v := u
	for deadline := time.Now().Add(time.Minute); v.own-u.own < 100*time.Millisecond || v.total == u.total; {
		if time.Now().After(deadline) {
			t.Fatalf("used %s of %s", v.own-u.own, v.total-u.total)
		}
		if v, err = read(); err != nil {
			t.Fatal(err)
		}
	}
	own, free := u.until(v)
	if own <= 0 || free < 0 || free > 1 {
		t.Errorf("used %.2f processors, %.2f of the machine free", own, free)
	}
}

func BenchmarkUsage(b *testing.B) {
	read := usageReader()
	for b.Loop() {
		if _, err := read(); err != nil {
			b.Fatal(err)
		}
	}
}
