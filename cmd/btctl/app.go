package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"btd/api/client"
)

// app is one run of the program: the world around it, the flags that all
// commands share, and the daemon.
type app struct {
	in                    io.Reader
	out, err              io.Writer
	getenv                func(string) string
	inTTY, outTTY, errTTY bool
	size                  func() (width, height int)              // of the terminal; 0 is unknown
	patience              int                                     // attempts to find a daemon again that has gone away
	lonely                time.Duration                           // how long a join waits for its first peer; 0 means 30 s
	after                 func(time.Duration, func()) *time.Timer // nil means time.AfterFunc

	api     string
	token   string
	json    bool
	timeout time.Duration

	patient bool // the daemon may take its time
	started bool // the command line was understood
	daemon  *client.Client
}

// defaultTimeout is for one answer of the daemon.
const defaultTimeout = 30 * time.Second

const rootHelp = `Btctl controls a running btd.

TARGET names a torrent: its id, the beginning of its id, its name, or a part
of its name (in any case) that no other torrent has.

Data goes to stdout and words to stderr. With --json the answer of the daemon
is printed as it is: sizes in bytes, rates in bytes per second, times in
RFC 3339. Where several torrents are asked about one by one, each has its own
line.

Address of the daemon: --api, else $BTD_API, else the socket where btd listens
unless told otherwise: $XDG_RUNTIME_DIR/btd/btd.sock, $RUNTIME_DIRECTORY/btd.sock,
or btd.sock in its state directory ($STATE_DIRECTORY, $XDG_STATE_HOME/btd,
~/.local/state/btd). An http:// address needs a token: --token, else $BTD_TOKEN,
else the file api-token in the state directory.

Exit codes:
  0  done
  1  failed
  2  the command line is wrong
  3  no daemon answers
  4  not authorised
  5  not found: no torrent, file or tracker fits
  7  timed out`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "btctl",
		Short:         "control the BitTorrent daemon btd",
		Long:          rootHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(a.err)
			_ = cmd.Help()
			return usageError{"say what to do: one of the commands above"}
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if a.timeout < 0 {
				return usageError{"--timeout is negative"}
			}
			a.started = true
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&a.api, "api", "", "address of the daemon: unix:///path or http://host:port")
	f.StringVar(&a.token, "token", "", "token for an http:// address (others can see it: better $BTD_TOKEN)")
	f.BoolVar(&a.json, "json", false, "print the daemon's JSON")
	f.DurationVar(&a.timeout, "timeout", 0, "give up after this time (default 30s for an answer, none for waiting and watching)")
	root.AddGroup(
		&cobra.Group{ID: "lan", Title: "The local network:"},
		&cobra.Group{ID: "torrents", Title: "Torrents:"},
		&cobra.Group{ID: "files", Title: "Torrent files and links:"},
		&cobra.Group{ID: "settings", Title: "Settings:"},
		&cobra.Group{ID: "daemon", Title: "Daemon:"},
	)
	group := func(id string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	group("lan", a.shareCmd(), a.joinCmd())
	group("torrents", a.addCmd(), a.lsCmd(), a.showCmd(), a.filesCmd(), a.peersCmd(), a.trackersCmd(),
		a.startCmd(), a.stopCmd(), a.rmCmd(), a.verifyCmd(), a.reannounceCmd(), a.watchCmd(),
		a.followCmd(), a.publishCmd())
	group("files", a.createCmd(), a.inspectCmd(), a.magnetCmd())
	group("settings", a.limitCmd(), a.priorityCmd())
	group("daemon", a.statsCmd(), a.trackerCmd(), a.dhtCmd(), a.versionCmd())
	root.SetHelpCommandGroupID("daemon")
	root.SetCompletionCommandGroupID("daemon")
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	return root
}

// run does what the command line says and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	cmd, err := root.ExecuteContextC(ctx)
	if a.daemon != nil {
		a.daemon.Close()
	}
	if err == nil {
		return exitOK
	}
	if !a.started {
		err = usageError{err.Error()}
	}
	code, text := explain(err)
	fmt.Fprintf(a.err, "btctl: %s\n", cleanLines(text))
	if errors.As(err, new(usageError)) {
		fmt.Fprintf(a.err, "Try '%s --help'.\n", cmd.CommandPath())
	}
	return code
}

// connect makes the client. No byte is sent yet.
func (a *app) connect() (*client.Client, error) {
	if a.daemon != nil {
		return a.daemon, nil
	}
	cfg := client.Config{Address: a.api, Token: a.token, Timeout: a.timeout}
	switch {
	case cfg.Timeout == 0 && a.patient:
		cfg.Timeout = -1
	case cfg.Timeout == 0:
		cfg.Timeout = defaultTimeout
	}
	if cfg.Address == "" {
		cfg.Address = a.getenv("BTD_API")
	}
	if cfg.Address == "" {
		cfg.Address = client.DefaultSocket()
	}
	if cfg.Address == "" {
		return nil, usagef("no home directory to look for btd's socket in: say where btd listens with --api")
	}
	network, address, err := client.ParseAddress(cfg.Address)
	if err != nil {
		return nil, usageError{err.Error()}
	}
	if network == "tcp" && cfg.Token == "" {
		cfg.Token = a.findToken(address)
	}
	a.daemon, err = client.New(cfg)
	return a.daemon, err
}

// findToken looks for a token where the daemon of this machine leaves it. It
// is not sent to other machines.
func (a *app) findToken(address string) string {
	if token := a.getenv("BTD_TOKEN"); token != "" {
		return token
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); !strings.EqualFold(host, "localhost") && !ip.IsLoopback() {
		return ""
	}
	token, err := client.ReadToken(client.TokenFile(client.StateDir()))
	if err != nil {
		return "" // the daemon's answer will say that one is needed
	}
	return token
}

// say writes words for people.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.err, "%s\n", cleanLines(fmt.Sprintf(format, args...)))
}

// print writes data.
func (a *app) print(s string) error {
	if _, err := io.WriteString(a.out, s); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	return nil
}

// printJSON writes v on one line.
func (a *app) printJSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return a.print(escape(string(b)) + "\n")
}

// printRaw writes what the daemon answers at path.
func (a *app) printRaw(ctx context.Context, path string) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	b, err := c.Get(ctx, path)
	if err != nil {
		return err
	}
	return a.print(strings.TrimRight(string(b), "\n") + "\n")
}

// deadline applies --timeout to a whole command that waits or watches.
func (a *app) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.timeout > 0 {
		return context.WithTimeout(ctx, a.timeout)
	}
	return context.WithCancel(ctx)
}

// targets finds the torrents that the words name: all of them, or nothing is
// done.
func (a *app) targets(ctx context.Context, words []string) ([]client.Torrent, error) {
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	return c.Resolve(ctx, words...)
}

// completeTargets offers the ids of torrents to a shell.
func (a *app) completeTargets(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	c, err := a.connect()
	if err != nil {
		return nil, none
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	list, err := c.Torrents(ctx)
	if err != nil {
		return nil, none
	}
	ids := shortIDs(list)
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = ids[i] + "\t" + clean(t.Name)
	}
	return out, none
}
