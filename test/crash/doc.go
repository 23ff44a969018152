// Package crash has only tests: what a power cut, a failing or full disk, and
// kill -9 leave behind.
//
// Without tags they run the whole store in one process, over a file system in
// memory that forgets what was not synced. With the tag crash they run the
// program itself: killed, on a file system that is shut down under it, and on
// one that is full.
//
// Both keep a ledger of what the server has said, and hold what is there
// afterwards against it: what was acknowledged is there, once; what was refused
// never; what was cut off by the fault may be, but whole.
package crash
