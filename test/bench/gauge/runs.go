package gauge

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Run is what one run found, by name. One that failed has "error".
type Run = map[string]any

// Append adds runs to a JSON file like those of the harness. It is made where
// it is missing; an empty path is none.
func Append(path string, runs ...Run) error {
	if path == "" {
		return nil
	}
	var all struct {
		Runs []Run `json:"runs"`
	}
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read earlier results: %w", err)
	}
	all.Runs = append(all.Runs, runs...)
	if b, err = json.MarshalIndent(all, "", " "); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
