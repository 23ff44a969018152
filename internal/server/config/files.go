package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"posthaste/internal/agent/backup"
)

// files calls fn for each file that a setting names.
func (c *Config) files(fn func(setting string, name *string)) {
	for i := range c.TLS {
		fn("[[tls]] certificate", &c.TLS[i].Certificate)
		fn("[[tls]] key", &c.TLS[i].Key)
	}
	for i := range c.Routes {
		fn("[[route]] password_file", &c.Routes[i].PasswordFile)
		if o := c.Routes[i].OAuth2; o != nil {
			fn("[[route]] oauth2 client_secret_file", &o.SecretFile)
			fn("[[route]] oauth2 refresh_token_file", &o.RefreshFile)
		}
	}
	for i := range c.Hooks {
		fn("[[hook]] secret_file", &c.Hooks[i].SecretFile)
	}
	for i := range c.Auth.Issuers {
		fn("[[auth.issuer]] client_secret_file", &c.Auth.Issuers[i].SecretFile)
	}
	fn("[backup.s3] credentials", &c.Backup.S3.Credentials)
}

// resolve makes file names in the file relative to its folder.
func (c *Config) resolve(dir string) {
	abs := func(_ string, p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	abs("", &c.Data)
	if !backup.IsBucket(c.Backup.Directory) {
		abs("", &c.Backup.Directory)
	}
	c.files(abs)
}

// Unread says of which of the files that the settings name cannot be read. Most are
// read when they are needed, so that they can be changed while the server runs.
func (c *Config) Unread() (err error) {
	c.files(func(setting string, name *string) {
		if *name == "" {
			return
		}
		if _, bad := os.ReadFile(*name); bad != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", setting, bad))
		}
	})
	return err
}
