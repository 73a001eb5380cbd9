package api

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	tokenBytes = 32 // of randomness
	tokenMin   = 20 // characters of a token that the user chose
	tokenMax   = 4096
)

// loadToken reads the token from a file that only its owner may read, and
// makes it where there is none.
func loadToken(path string) (token string, made bool, err error) {
	token, err = readToken(path)
	if errors.Is(err, fs.ErrNotExist) {
		token, err = makeToken(path)
		made = true
	}
	if err != nil {
		return "", false, fmt.Errorf("api token: %w", err)
	}
	return token, made, nil
}

func readToken(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	switch {
	case !st.Mode().IsRegular() || st.Size() > tokenMax:
		return "", fmt.Errorf("%s is not a file with a token: delete it and a new one is made", path)
	case !privateMode(st):
		return "", fmt.Errorf("others may read %s (mode %04o): delete it and a new one is made, or set mode 0600", path, st.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if len(token) < tokenMin || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s holds no token of at least %d printable characters: delete it and a new one is made", path, tokenMin)
	}
	return token, nil
}

// makeToken writes a new token. A crash leaves either no file or a whole one.
func makeToken(path string) (string, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	raw := make([]byte, tokenBytes)
	rand.Read(raw)
	token := hex.EncodeToString(raw)
	f, err := os.CreateTemp(dir, ".api-token-*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(token + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return token, nil
}
