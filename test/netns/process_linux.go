package netns

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

// Process is a program running on a host, in a process group of its own.
type Process struct {
	Log  string        // path of what it printed
	Gone chan struct{} // closed when the process was waited for
	name string
	cmd  *exec.Cmd
	err  error // of Wait; read after Gone
}

// Command says what to run and how.
type Command struct {
	Argv   []string
	Env    []string // beside a minimal environment
	Dir    string   // "" means the host's directory
	Stdin  io.Reader
	Stdout io.Writer // nil means the log
	Nobody bool      // run without root's rights
}

// Start runs a program on the host. Its output goes to a log that is shown
// when the test fails. It is killed when the lab is taken down, and by the
// kernel should this process die first.
func (h *Host) Start(name string, c Command) (*Process, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &Process{
		name: name, Gone: make(chan struct{}),
		Log: filepath.Join(h.Dir, fmt.Sprintf("%s-%d.log", name, len(h.processes))),
	}
	out, err := os.Create(p.Log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command(c.Argv[0], c.Argv[1:]...)
	p.cmd.Dir = c.Dir
	if p.cmd.Dir == "" {
		p.cmd.Dir = h.Dir
	}
	p.cmd.Env = append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + h.Dir, "LANG=C.UTF-8", "TERM=dumb", "TMPDIR=" + h.Dir,
	}, c.Env...)
	if mark, ok := os.LookupEnv("BTD_CI_RUN"); ok { // .ci/run looks for processes that were left over
		p.cmd.Env = append(p.cmd.Env, "BTD_CI_RUN="+mark)
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = c.Stdin, c.Stdout, out
	if c.Stdout == nil {
		p.cmd.Stdout = out
	}
	p.cmd.WaitDelay = 2 * time.Second
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if c.Nobody {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	if err := h.NS.Do(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.Gone)
	}()
	h.processes = append(h.processes, p)
	return p, nil
}

// Pid is the process's number.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process group.
func (p *Process) Signal(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) }

// Exited tells whether the process has ended.
func (p *Process) Exited() bool {
	select {
	case <-p.Gone:
		return true
	default:
		return false
	}
}

// Alive is nil while the process runs.
func (p *Process) Alive() error {
	if p == nil {
		return errors.New("not started")
	}
	if !p.Exited() {
		return nil
	}
	return fmt.Errorf("%s ended: %v\n%s", p.name, p.err, p.Tail(2000))
}

// Wait waits for the end of the process and returns how it ended. If ctx ends
// first the process is killed.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.Gone:
		return p.err
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("%s: %w", p.name, context.Cause(ctx))
	}
}

// Kill ends the process group at once and waits.
func (p *Process) Kill() {
	if p == nil {
		return
	}
	if !p.Exited() {
		p.Signal(syscall.SIGKILL)
		<-p.Gone
	}
}

// Terminate asks the process to end, and says how long that took. It is
// killed if it takes longer than the limit.
func (p *Process) Terminate(limit time.Duration) (time.Duration, error) {
	began := time.Now()
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.Gone:
		return time.Since(began), p.err
	case <-time.After(limit):
		p.Kill()
		return limit, fmt.Errorf("%s did not end within %v of SIGTERM", p.name, limit)
	}
}

// Tail is the end of the log.
func (p *Process) Tail(n int) string {
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return ""
	}
	if len(b) > n {
		b = append([]byte("…"), b[len(b)-n:]...)
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(b), "?"))
}

func (h *Host) killAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.processes {
		p.Kill()
	}
}

// dumpLogs shows the ends of the logs of everything that ran on the host.
func (h *Host) dumpLogs() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.processes {
		if s := p.Tail(4000); s != "" {
			h.Lab.T.Logf("---- log of %s (%s)\n%s", p.name, filepath.Base(h.Dir), s)
		}
	}
}

// Poll calls fn every step until it returns true. An error of fn ends it.
func Poll(ctx context.Context, step time.Duration, what string, fn func() (bool, error)) error {
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

// Up polls until the API of a freshly started program answers.
func Up(ctx context.Context, p *Process, probe func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var last error
	err := Poll(ctx, 30*time.Millisecond, p.name+" answers", func() (bool, error) {
		if err := p.Alive(); err != nil {
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
