package session

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets more tests run in parallel than there are processors: those
// that do so mostly wait.
func TestMain(m *testing.M) {
	given := false
	flag.Parse()
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", "8"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
