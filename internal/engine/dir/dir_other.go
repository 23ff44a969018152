//go:build !unix || solaris || aix

package dir

import (
	"errors"
	"os"
)

// flock is not to be had here, and without it two processes could ruin a store.
func flock(*os.File) (bool, error) { return false, errors.ErrUnsupported }

func flockShared(*os.File) error { return errors.ErrUnsupported }

func owner(os.FileInfo) (uid int, ok bool) { return 0, false }
