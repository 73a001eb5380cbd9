package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// jiffy is the unit of /proc/stat: a hundredth of a second on all systems that
// Go runs on (proc(5), USER_HZ).
const jiffy = time.Second / 100

// usageReader reads /proc/stat and getrusage(2).
func usageReader() func() (usage, error) {
	return func() (u usage, err error) {
		u.at = time.Now()
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			return u, fmt.Errorf("reading the time that was used: %w", err)
		}
		u.own = time.Duration(r.Utime.Nano() + r.Stime.Nano())
		f, err := os.Open("/proc/stat")
		if err != nil {
			return u, err
		}
		defer f.Close()
		buf := make([]byte, 256)
		n, err := f.Read(buf)
		if err != nil {
			return u, fmt.Errorf("reading /proc/stat: %w", err)
		}
		u.free, u.total, err = parseStat(buf[:n])
		return u, err
	}
}

// parseStat reads the first line of /proc/stat: user, nice, system, idle, waiting
// for disks, two kinds of interrupts and what the host took, of all processors
// together. What follows on the line is part of user.
func parseStat(b []byte) (free, total time.Duration, err error) {
	line, _, ok := bytes.Cut(b, []byte("\n"))
	f := bytes.Fields(line)
	if !ok || len(f) < 9 || string(f[0]) != "cpu" {
		return 0, 0, errors.New("/proc/stat does not begin with the times of all processors")
	}
	for i, v := range f[1:9] {
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("reading /proc/stat: %w", err)
		}
		total += time.Duration(n) * jiffy
		if i == 3 || i == 4 {
			free += time.Duration(n) * jiffy
		}
	}
	return free, total, nil
}
