//go:build crash

package crash

// scale is how much longer tests take than they must.
const scale = 4
