package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"btd/test/bench/gauge"
)

// options are the flags; each row reads those that concern it.
type options struct {
	btd     string // binary
	refpeer string // binary of the harness's reference peer
	into    string // JSON file to append to
	scratch string // on tmpfs: content
	work    string // the daemon's state

	n        int           // idle: torrents
	workers  int           // idle: connections that add
	idle     time.Duration // idle: observed; api: with the load
	settle   time.Duration
	wait     time.Duration // idle: at most, for every torrent's first announce
	interval time.Duration // the tracker's
	lists    int           // idle: how many times ls
	probes   int           // idle: torrents that serve a block
	reps     int           // firstbyte
	files    int           // firstbyte
	rate     int           // api: requests a second
	mib      int64         // api: size of the torrents
	nodes    int           // of a private DHT
	boot     string        // one of these
	nice     int           // added to the daemon's and the reference peer's
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: load idle|firstbyte|api [flags]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "load %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// row measures once and returns what it found, by name.
type row func(ctx context.Context, o *options) (result, error)

// result is one run as report.py reads it. A run that failed has "error".
type result = gauge.Run

func run(name string, args []string) error {
	rows := map[string]row{"idle": idleRow, "firstbyte": firstByteRow, "api": apiRow, "nodes": nodesRow}
	measure, ok := rows[name]
	if !ok {
		return errors.New("there is no such row")
	}
	var o options
	fs := flag.NewFlagSet(name, flag.ExitOnError)
	fs.StringVar(&o.btd, "btd", "btd", "the daemon's `binary`")
	fs.StringVar(&o.refpeer, "refpeer", "refpeer", "the reference peer's `binary`")
	fs.StringVar(&o.into, "into", "", "append the result to this JSON `file`")
	fs.StringVar(&o.scratch, "scratch", "/dev/shm", "`directory` for content, on tmpfs")
	fs.StringVar(&o.work, "work", os.TempDir(), "`directory` for the daemon's state")
	fs.IntVar(&o.n, "n", 2000, "torrents")
	fs.IntVar(&o.workers, "workers", 8, "connections that add torrents")
	fs.DurationVar(&o.idle, "time", time.Minute, "how long to observe")
	fs.DurationVar(&o.settle, "settle", 10*time.Second, "pause before observing")
	fs.DurationVar(&o.wait, "wait", 4*time.Minute, "how long to wait for every first announce")
	fs.DurationVar(&o.interval, "interval", 30*time.Minute, "the tracker's interval between announces")
	fs.IntVar(&o.lists, "lists", 200, "how many times to list all torrents")
	fs.IntVar(&o.probes, "probes", 100, "torrents that have to serve a block")
	fs.IntVar(&o.reps, "reps", 20, "repetitions")
	fs.IntVar(&o.files, "files", 10_000, "files of the torrent with many")
	fs.IntVar(&o.rate, "rate", 500, "requests a second")
	fs.Int64Var(&o.mib, "mib", 1024, "size of the torrents that are moved, MiB")
	fs.IntVar(&o.nodes, "nodes", 0, "idle: start a private DHT of so many nodes in another process; 0: the daemon's shipped bootstrap hosts")
	fs.IntVar(&o.nice, "nice", 0, "start the daemon and the reference peer this much nicer than load itself, whose own waits are not to be measured")
	fs.Parse(args)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	for _, dir := range []*string{&o.scratch, &o.work} {
		if *dir, err = os.MkdirTemp(*dir, "load"); err != nil {
			return err
		}
		defer os.RemoveAll(*dir)
	}
	began := time.Now()
	r, err := measure(ctx, &o)
	if name == "nodes" {
		return err
	}
	if r == nil {
		r = result{}
	}
	r["client"], r["at"], r["took_s"] = "btd", began.UTC().Format(time.RFC3339), time.Since(began).Seconds()
	if err != nil {
		r["error"] = err.Error()
	}
	text, _ := json.MarshalIndent(r, "", " ")
	fmt.Println(string(text))
	return errors.Join(err, gauge.Append(o.into, r))
}

// command is a program that is not more important than the measurement.
func (o *options) command(name string, args ...string) *exec.Cmd {
	if o.nice == 0 {
		return exec.Command(name, args...)
	}
	return exec.Command("nice", append([]string{"-n", strconv.Itoa(o.nice), name}, args...)...)
}

// say tells the person who waits what is going on.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "  "+format+"\n", args...) }
