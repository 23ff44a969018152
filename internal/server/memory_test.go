package server

import (
	"testing"

	"posthaste/internal/server/config"
)

func TestCacheBytes(t *testing.T) {
	c := config.Default()
	if n := cacheBytes(c); n < minCache || n > maxCache {
		t.Errorf("by itself: %d bytes", n)
	}
	c.Cache = 32 << 20
	if n := cacheBytes(c); n != 32<<20 {
		t.Errorf("as configured: %d bytes", n)
	}
}
