package netns

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// controlGroup reads a file of the control group that this process is in: of
// version 2, or of version 1 and a controller. It is nil if there is none.
func controlGroup(controller, v2, v1 string) []byte {
	const root = "/sys/fs/cgroup"
	list, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(list)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) < 3 {
			continue
		}
		dir, name := root, v2
		if f[1] != "" {
			if !slices.Contains(strings.Split(f[1], ","), controller) {
				continue
			}
			dir, name = filepath.Join(root, controller), v1
		}
		// In a container the group may be the one at the top.
		for _, path := range []string{filepath.Join(dir, f[2], name), filepath.Join(dir, name)} {
			if b, err := os.ReadFile(path); err == nil {
				return bytes.TrimSpace(b)
			}
		}
	}
	return nil
}

// groupMemory is how much memory the control group may still use, in bytes.
func groupMemory() (free int64, limited bool) {
	limit, err := strconv.ParseInt(string(controlGroup("memory", "memory.max", "memory.limit_in_bytes")), 10, 64)
	used, err2 := strconv.ParseInt(string(controlGroup("memory", "memory.current", "memory.usage_in_bytes")), 10, 64)
	return limit - used, err == nil && err2 == nil
}
