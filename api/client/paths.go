package client

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// tokenName is the file below the state directory that holds the API's token.
const tokenName = "api-token"

// DefaultSocket is where the daemon listens and its clients look unless they
// are told otherwise:
//
//	$XDG_RUNTIME_DIR/btd/btd.sock, else
//	$RUNTIME_DIRECTORY/btd.sock (set by systemd), else
//	btd.sock in StateDir.
//
// It is empty where StateDir is and is needed.
func DefaultSocket() string { return defaultSocket(runtime.GOOS, os.Getenv) }

// StateDir is the directory of the daemon's state unless it is told
// otherwise:
//
//	$STATE_DIRECTORY (set by systemd), else
//	$XDG_STATE_HOME/btd, else
//	~/.local/state/btd; on macOS ~/Library/Application Support/btd; on
//	Windows %LocalAppData%\btd.
//
// It is empty if the environment does not even name a home directory.
func StateDir() string { return stateDir(runtime.GOOS, os.Getenv) }

func defaultSocket(goos string, getenv func(string) string) string {
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "btd", "btd.sock")
	}
	if dir := first(getenv("RUNTIME_DIRECTORY"), goos); dir != "" {
		return filepath.Join(dir, "btd.sock")
	}
	dir := stateDir(goos, getenv)
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "btd.sock")
}

func stateDir(goos string, getenv func(string) string) string {
	if dir := first(getenv("STATE_DIRECTORY"), goos); dir != "" {
		return dir
	}
	// The XDG specification: a relative path is to be ignored.
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "btd")
	}
	below := func(env string, elem ...string) string {
		dir := getenv(env)
		if dir == "" {
			return ""
		}
		return filepath.Join(append([]string{dir}, elem...)...)
	}
	switch goos {
	case "windows":
		if dir := below("LocalAppData", "btd"); dir != "" {
			return dir
		}
		return below("USERPROFILE", "AppData", "Local", "btd")
	case "darwin":
		return below("HOME", "Library", "Application Support", "btd")
	}
	return below("HOME", ".local", "state", "btd")
}

// first is the first of the directories that systemd joins with colons.
func first(list, goos string) string {
	if goos == "windows" {
		return list
	}
	dir, _, _ := strings.Cut(list, ":")
	return dir
}

// TokenFile is where a daemon with the given state directory keeps the token
// of its TCP address.
func TokenFile(stateDir string) string { return filepath.Join(stateDir, tokenName) }

// ReadToken reads a token file.
func ReadToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the API token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", fmt.Errorf("read the API token: %s is empty", path)
	}
	return token, nil
}
