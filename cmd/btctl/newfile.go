package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// checkOutput tells what is in the way of a new file at out that is made of
// what is at from, an absolute path.
func checkOutput(out, from string, force bool) error {
	dir, err := os.Stat(filepath.Dir(out))
	if err != nil {
		return err
	}
	if !dir.IsDir() {
		return fmt.Errorf("%s is no directory", filepath.Dir(out))
	}
	there, err := os.Stat(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(out); err != nil {
			return nil
		}
		return fmt.Errorf("%s is a symbolic link that leads nowhere: choose another place with -o", out)
	case err != nil:
		return err
	case there.IsDir():
		return fmt.Errorf("%s is a directory: name a file in it", out)
	case !there.Mode().IsRegular():
		return fmt.Errorf("%s is no file: choose another place with -o", out)
	case !force:
		return fmt.Errorf("%s is there already: --force replaces it, -o chooses another place", out)
	}
	if within(out, from) {
		return fmt.Errorf("%s is a part of what the torrent is made of: choose another place with -o", out)
	}
	return nil
}

// within tells whether path is dir or in it, by any name.
func within(path, dir string) bool {
	full, err := filepath.Abs(path)
	if err == nil {
		full, err = filepath.EvalSymlinks(full)
	}
	if err != nil {
		return false
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	rel, err := filepath.Rel(dir, full)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// writeNew writes a file that is there whole or not at all. Without force it
// never takes the place of another.
func writeNew(name string, b []byte, force bool) (err error) {
	temp, err := writeTemp(name, b)
	if err != nil {
		return err
	}
	defer func() {
		if temp != "" {
			err = errors.Join(err, os.Remove(temp))
		}
	}()
	if !force {
		switch err := os.Link(temp, name); {
		case err == nil:
			return nil
		case errors.Is(err, fs.ErrExist):
			return fmt.Errorf("%s is there already: --force replaces it", name)
		}
		// No hard links here: hold the place with an empty file.
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
		if err != nil {
			return err
		}
		f.Close()
	}
	if err := os.Rename(temp, name); err != nil {
		return err
	}
	temp = ""
	return nil
}

// writeTemp writes a file beside name under another name.
func writeTemp(name string, b []byte) (temp string, err error) {
	var f *os.File
	for range 100 {
		temp = filepath.Join(filepath.Dir(name), fmt.Sprintf(".btctl-%016x.tmp", rand.Uint64()))
		f, err = os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(temp))
	}
	return temp, nil
}
