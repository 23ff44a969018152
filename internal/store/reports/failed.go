package reports

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/arf"
)

// A Failed is what another receiver told of one message in the name of a domain of
// ours that was not proven to be from it. RFC 9991
type Failed struct {
	Received time.Time
	By       mail.Domain // whom the report says to be from
	Report   arf.Report
}

const failedVersion = 1

func (f Failed) row() []byte {
	r := f.Report
	b := kv.AppendBytes([]byte{failedVersion}, string(f.By))
	for _, s := range []string{
		r.Type, r.Agent, string(r.Domain), r.Failure, r.Alignment, r.Delivery, r.Results, string(r.DKIM), r.Selector, r.Subject, r.MessageID,
		r.Sender.Local, string(r.Sender.Domain), r.Author.Local, string(r.Author.Domain),
	} {
		b = kv.AppendBytes(b, s)
	}
	b = kv.AppendBytes(b, r.Source.AsSlice())
	return binary.AppendVarint(b, r.Arrival.Unix())
}

func decodeFailed(at time.Time, row []byte) (Failed, error) {
	d := kv.Decode(row)
	if d.Byte() != failedVersion {
		return Failed{}, fmt.Errorf("%w: of a newer version", kv.ErrRow)
	}
	f := Failed{Received: at, By: mail.Domain(d.String())}
	r := &f.Report
	r.Type, r.Agent, r.Domain, r.Failure, r.Alignment, r.Delivery, r.Results = d.String(), d.String(), mail.Domain(d.String()), d.String(), d.String(), d.String(), d.String()
	r.DKIM, r.Selector, r.Subject, r.MessageID = mail.Domain(d.String()), d.String(), d.String(), d.String()
	r.Sender = mail.Address{Local: d.String(), Domain: mail.Domain(d.String())}
	r.Author = mail.Address{Local: d.String(), Domain: mail.Domain(d.String())}
	r.Source, _ = netip.AddrFromSlice(d.Bytes())
	if sec := d.Varint(); sec != (time.Time{}).Unix() {
		r.Arrival = time.Unix(sec, 0).UTC()
	}
	return f, d.Err()
}

// TellFailed keeps what another receiver told of a message.
func (s *Store) TellFailed(ctx context.Context, now time.Time, salt uint32, f Failed) error {
	return s.put(ctx, toldKey(kindFailed, now, salt), f.row())
}

// LatestFailed gives up to n messages that others told of, the last first.
func (s *Store) LatestFailed(ctx context.Context, n int) ([]Failed, error) {
	return latest(ctx, s, kindFailed, n, decodeFailed)
}
