package gauge

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestResultsAreAppended(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sub", "row.json")
	for i := range 2 {
		if err := Append(path, Run{"client": "btd", "i": i}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Runs []map[string]any }
	if err := json.Unmarshal(b, &got); err != nil || len(got.Runs) != 2 || got.Runs[1]["i"] != 1.0 {
		t.Errorf("stored %s (%v), want two runs", b, err)
	}
}
