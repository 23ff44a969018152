package admind

import (
	"context"
	"net/http"
	"time"

	"posthaste/internal/agent/backup"
)

type (
	// BackupRequest says where a backup goes, and for whom it is encrypted.
	BackupRequest struct {
		Directory  string   `json:"directory"` // or s3://bucket/prefix
		Recipients []string `json:"recipients,omitempty"`
	}
	// BackupState says how the backups of the schedule stand; without one its
	// directory is empty.
	BackupState = backup.State
	// BackupWritten says what a backup has done.
	BackupWritten = backup.Written
)

func (s *Server) makeBackup(r *http.Request) (any, error) {
	in, err := decode[BackupRequest](r)
	if err != nil {
		return nil, err
	}
	to, err := backup.ParseRecipients(in.Recipients)
	if err == nil {
		err = backup.CheckPlace(in.Directory)
	}
	if err != nil {
		return nil, errRequest{err}
	}
	if s.Backup == nil {
		return nil, bad("this server keeps its store in a way that cannot be backed up")
	}
	at, err := s.Depot(in.Directory)
	if err != nil {
		return nil, errRequest{err}
	}
	return s.Backup(r.Context(), &backup.Repository{Depot: at, Recipients: to})
}

func (s *Server) backupState(r *http.Request) (any, error) {
	if s.Backups == nil {
		return BackupState{}, nil
	}
	return s.Backups.State(r.Context(), time.Now()), nil
}

// Backup makes a backup.
func (c *Client) Backup(ctx context.Context, in BackupRequest) (out BackupWritten, err error) {
	return out, c.do(ctx, http.MethodPost, "/v1/backup", in, &out)
}

// BackupState tells how the backups of the schedule stand.
func (c *Client) BackupState(ctx context.Context) (out BackupState, err error) {
	return out, c.do(ctx, http.MethodGet, "/v1/backup", nil, &out)
}
