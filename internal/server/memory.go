package server

import (
	"bytes"
	"os"
	"strconv"

	"posthaste/internal/server/config"
)

// The least and the most that the server takes by itself to keep what is often
// read, and what part of the machine's memory that is. What is kept costs up to
// twice as much, as long as it has not been collected.
const (
	minCache  = 128 << 20
	maxCache  = 1 << 30
	cachePart = 32
)

// cacheBytes is how much memory may hold what is often read.
func cacheBytes(c config.Config) int64 {
	if c.Cache > 0 {
		return int64(c.Cache)
	}
	return min(max(machineMemory()/cachePart, minCache), maxCache)
}

// machineMemory is the memory of the machine, or what its group may use; 0 if
// that is not known.
func machineMemory() int64 {
	total := int64(0)
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range bytes.Lines(b) {
			f := bytes.Fields(line)
			if len(f) >= 2 && string(f[0]) == "MemTotal:" {
				kb, _ := strconv.ParseInt(string(f[1]), 10, 64)
				total = kb << 10
			}
		}
	}
	for _, path := range [...]string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64); err == nil && n > 0 && (total == 0 || n < total) {
			total = n
		}
	}
	return total
}
