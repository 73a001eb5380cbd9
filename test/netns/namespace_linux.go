package netns

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace without a name: it is gone when it is
// closed and no process lives in it.
type Namespace struct{ file *os.File }

// New makes a namespace with its loopback up.
func New() (Namespace, error) {
	var made Namespace
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare a network namespace: %w", err)
		}
		f, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		if err != nil {
			return err
		}
		made = Namespace{f}
		allowIPv6()
		return IP("link set lo up")
	})
	if err != nil && made.file != nil {
		made.file.Close()
	}
	return made, err
}

// Close gives the namespace up.
func (n Namespace) Close() error { return n.file.Close() }

// Path is where other processes of ours find the namespace.
func (n Namespace) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// Do calls fn on a thread that is in the namespace. Sockets made and
// processes started by fn belong to the namespace for good.
func (n Namespace) Do(fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return fn()
	})
}

// onThread runs fn on a thread of its own and puts the thread back into the
// namespace that it came from. The thread stays alive: a child whose parent
// thread ends would get its death signal.
func onThread(fn func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	defer func() {
		// A thread that can't be put back stays locked and ends with its goroutine.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return fn()
}

// IP runs lines of ip(8) commands in the namespace of the current thread.
func IP(lines ...string) error { return batch("ip", lines) }

// batch runs lines of commands of a program that reads them with -batch.
func batch(program string, lines []string) error {
	cmd := exec.Command(program, "-batch", "-")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(string(out)))
	}
	return nil
}
