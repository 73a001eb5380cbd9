//go:build interop && linux

package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a program running on a host, in a process group of its own.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	gone chan struct{} // closed when the process was waited for
	err  error         // of Wait; read after gone
}

// command says what to run and how.
type command struct {
	argv   []string
	env    []string // beside a minimal environment
	dir    string   // "" means the host's directory
	stdin  io.Reader
	stdout io.Writer // nil means the log
	nobody bool      // run without root's rights
}

// start runs a program on the host. Its output goes to a log that is shown
// when the test fails. It is killed when the lab is taken down, and by the
// kernel should this process die first.
func (h *host) start(name string, c command) (*process, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &process{
		name: name, gone: make(chan struct{}),
		log: filepath.Join(h.dir, fmt.Sprintf("%s-%d.log", name, len(h.processes))),
	}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command(c.argv[0], c.argv[1:]...)
	p.cmd.Dir = c.dir
	if p.cmd.Dir == "" {
		p.cmd.Dir = h.dir
	}
	p.cmd.Env = append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + h.dir, "LANG=C.UTF-8", "TERM=dumb", "TMPDIR=" + h.dir,
	}, c.env...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = c.stdin, c.stdout, out
	if c.stdout == nil {
		p.cmd.Stdout = out
	}
	p.cmd.WaitDelay = 2 * time.Second
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if c.nobody {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	if err := h.ns.do(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.gone)
	}()
	h.processes = append(h.processes, p)
	return p, nil
}

// signal sends a signal to the process group.
func (p *process) signal(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) }

// exited tells whether the process has ended.
func (p *process) exited() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// alive is nil while the process runs.
func (p *process) alive() error {
	if p == nil {
		return errors.New("not started")
	}
	if !p.exited() {
		return nil
	}
	return fmt.Errorf("%s ended: %v\n%s", p.name, p.err, p.tail(2000))
}

// kill ends the process group at once and waits.
func (p *process) kill() {
	if p == nil {
		return
	}
	if !p.exited() {
		p.signal(syscall.SIGKILL)
		<-p.gone
	}
}

// terminate asks the process to end, and says how long that took. It is
// killed if it takes longer than the limit.
func (p *process) terminate(limit time.Duration) (time.Duration, error) {
	began := time.Now()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.gone:
		return time.Since(began), p.err
	case <-time.After(limit):
		p.kill()
		return limit, fmt.Errorf("%s did not end within %v of SIGTERM", p.name, limit)
	}
}

// tail is the end of the log.
func (p *process) tail(n int) string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return ""
	}
	if len(b) > n {
		b = append([]byte("…"), b[len(b)-n:]...)
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(b), "?"))
}

func (h *host) killAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.processes {
		p.kill()
	}
}

// dumpLogs shows the ends of the logs of everything that ran on the host.
func (h *host) dumpLogs() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.processes {
		if s := p.tail(4000); s != "" {
			h.lab.t.Logf("---- log of %s (%s)\n%s", p.name, filepath.Base(h.dir), s)
		}
	}
}

// poll calls fn every step until it returns true. An error of fn ends it.
func poll(ctx context.Context, step time.Duration, what string, fn func() (bool, error)) error {
	tick := time.NewTicker(step)
	defer tick.Stop()
	began := time.Now()
	for {
		ok, err := fn()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v", what, time.Since(began).Round(time.Millisecond))
		case <-tick.C:
		}
	}
}

// up polls until the API of a freshly started program answers.
func up(ctx context.Context, p *process, probe func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	var last error
	err := poll(ctx, 30*time.Millisecond, p.name+" answers", func() (bool, error) {
		if err := p.alive(); err != nil {
			return false, err
		}
		last = probe()
		return last == nil, nil
	})
	if err != nil && last != nil {
		err = fmt.Errorf("%w (last: %v)", err, last)
	}
	return err
}
