// Command btd is a BitTorrent daemon: it downloads and seeds torrents and is
// controlled through a local JSON API, usually with btctl.
//
// This package reads flags, environment and configuration file, wires the
// session to the API and handles signals. It contains no torrent logic.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// version is set at build time with -ldflags "-X main.version=…".
var version = "0.1.0"

func main() {
	signal.Ignore(syscall.SIGPIPE) // whoever read the log has gone: a write fails, and that is all
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	stopOnHangup(stop)
	cmd := newCommand(os.LookupEnv)
	cmd.SetArgs(os.Args[1:])
	if err := cmd.ExecuteContext(ctx); err != nil {
		complain(os.Stderr, err)
		os.Exit(exitCode(err))
	}
}

// stopOnHangup has the daemon stop when its terminal is closed, unless it was
// told from the start to outlive that, as by nohup. Such a signal may come from
// the system and from the shell, so the second one does nothing.
func stopOnHangup(stop func()) {
	if signal.Ignored(syscall.SIGHUP) {
		return
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		<-hangup
		stop()
	}()
}

// complain says why the process ends. It ends even if nobody takes that.
func complain(w io.Writer, err error) {
	said := make(chan struct{})
	go func() {
		defer close(said)
		fmt.Fprintln(w, "btd:", err)
	}()
	select {
	case <-said:
	case <-time.After(flushWithin):
	}
}

// usageError marks wrong flags, arguments or settings.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func exitCode(err error) int {
	var u usageError
	if errors.As(err, &u) {
		return 2
	}
	return 1
}

func newCommand(env func(string) (string, bool)) *cobra.Command {
	s := defaults()
	root := &cobra.Command{
		Use:   "btd [flags] [FILE.torrent | MAGNET ...]",
		Short: "BitTorrent daemon",
		Long: `btd downloads and seeds torrents in the background. Control it with btctl.

Every flag can also be set in the environment (--limit-up is BTD_LIMIT_UP) and
in a TOML file given with --config (limit-up = "5MiB"). Flags win over the
environment, the environment over the file.

Torrents and magnet links named on the command line are added at the start.`,
		Args:          cobra.ArbitraryArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.load(cmd.Flags(), env); err != nil {
				return usageError{err}
			}
			return run(cmd.Context(), s, args)
		},
	}
	s.register(root.Flags())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newDemo(), &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "btd", version) },
	})
	return root
}
