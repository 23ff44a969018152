package config

import (
	"errors"
	"fmt"
	"time"

	"posthaste/internal/agent/backup"
)

// Backup says where and how often the store is backed up; without a directory it
// is not.
type Backup struct {
	Directory  string   `toml:"directory"` // a folder, or s3://bucket/prefix
	Every      Duration `toml:"every"`
	Keep       int      `toml:"keep"`       // generations; 0 is all
	Recipients []string `toml:"recipients"` // public keys of age; none: it is not encrypted
	S3         S3       `toml:"s3"`
}

// S3 says how a bucket with backups is reached.
type S3 struct {
	Endpoint string `toml:"endpoint"` // https://host; "" is Amazon's
	Region   string `toml:"region"`   // "" asks the server
	// PathStyle puts the bucket into the path of URLs, not into the host's name.
	PathStyle bool `toml:"path_style"`
	// Credentials is a file with key and secret; "" takes those of the environment.
	Credentials string `toml:"credentials"`
	// Clear allows http:// to other machines.
	Clear bool `toml:"clear"`
}

func (b *Backup) check() error {
	if b.Keep < 0 || b.Every < Duration(time.Minute) {
		return errors.New("backup: keep is not negative, and every is a minute at least")
	}
	if backup.IsBucket(b.Directory) {
		if err := backup.CheckPlace(b.Directory); err != nil {
			return fmt.Errorf("backup.directory: %w", err)
		}
	}
	if err := b.S3.Settings().Check(); err != nil {
		return fmt.Errorf("[backup.s3] %w", err)
	}
	return nil
}

// Settings gives what the backup knows them as.
func (s S3) Settings() backup.S3 {
	return backup.S3{Endpoint: s.Endpoint, Region: s.Region, PathStyle: s.PathStyle, Credentials: s.Credentials, Clear: s.Clear}
}
