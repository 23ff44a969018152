package backup

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3 says how a bucket is reached.
type S3 struct {
	// Endpoint is the server, as "https://s3.example.net"; "" is Amazon's.
	Endpoint string
	// Region is the bucket's; "" asks the server.
	Region string
	// PathStyle puts the bucket into the path of URLs, not into the name of the host.
	PathStyle bool
	// Credentials is a file as Amazon's tools have it, with a key and its secret; ""
	// takes them from the environment, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
	Credentials string
	// Clear allows an endpoint of http:// that is not on this machine.
	Clear bool
	// Roots are whose certificates are believed; nil: those of the system.
	Roots *x509.CertPool

	pause time.Duration // after the first failure, for tests; 0: a second
}

// What is waited for, and how often it is tried.
const (
	tryTime    = 10 * time.Minute // for a piece, which is 16 MB
	headerTime = 2 * time.Minute  // for the beginning of an answer
	tries      = 7
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

// A bucket is a Depot in a bucket of S3.
type bucket struct {
	client       *minio.Client
	name, prefix string
	endpoint     string
	pause        time.Duration
	clock        *clock
	noKey        error // what all gives if there is none: only backups shall fail of it
}

// splitBucket reads "s3://bucket/prefix".
func splitBucket(where string) (bucket, prefix string, err error) {
	bucket, prefix, _ = strings.Cut(strings.TrimPrefix(where, scheme), "/")
	prefix = strings.Trim(prefix, "/")
	if bucket == "" || strings.ContainsAny(bucket, ":@ ") || strings.Contains(prefix, "//") || !fs.ValidPath(prefix) && prefix != "" {
		return "", "", fmt.Errorf("%q names no bucket: write s3://bucket/prefix, and the server as endpoint in [backup.s3]", where)
	}
	if prefix != "" {
		prefix += "/"
	}
	return bucket, prefix, nil
}

// amazon is the server if nobody says another.
const amazon = "https://s3.amazonaws.com"

// Check says what is wrong with the settings, in a sentence.
func (o S3) Check() error {
	if o.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("endpoint %q is no server: write https://host or https://host:port", o.Endpoint)
	}
	if u.Scheme == "http" && !o.Clear && !loopback(u.Hostname()) {
		return fmt.Errorf("endpoint %q would send backups in the clear: write https://, or say clear = true", o.Endpoint)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func openBucket(where string, o S3) (*bucket, error) {
	name, prefix, err := splitBucket(where)
	if err == nil {
		err = o.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	b := &bucket{name: name, prefix: prefix, endpoint: o.Endpoint, pause: o.pause, clock: &clock{}}
	if b.endpoint == "" {
		b.endpoint = amazon
	}
	if b.pause == 0 {
		b.pause = firstPause
	}
	creds := credentials.NewEnvAWS()
	if o.Credentials != "" {
		creds = credentials.NewFileAWSCredentials(o.Credentials, "")
	}
	if v, err := creds.GetWithContext(&credentials.CredContext{}); err != nil || v.AccessKeyID == "" || v.SecretAccessKey == "" {
		b.noKey = noKey(o.Credentials, err)
	}
	b.clock.to = &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 30 * time.Second, ResponseHeaderTimeout: headerTime, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: atOnce + 1, DisableCompression: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots},
	}
	u, err := url.Parse(b.endpoint)
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	style := minio.BucketLookupAuto
	if o.PathStyle {
		style = minio.BucketLookupPath
	}
	b.client, err = minio.New(u.Host, &minio.Options{Creds: creds, Secure: u.Scheme == "https", Region: o.Region, BucketLookup: style, Transport: b.clock, MaxRetries: 1})
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	return b, nil
}

func noKey(file string, err error) error {
	if file == "" {
		return errors.New("backup: there is no key for S3: name a file as credentials in [backup.s3], or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
	}
	if err == nil {
		err = errors.New("it has no aws_access_key_id and aws_secret_access_key for [default]")
	}
	return fmt.Errorf("backup: the key for S3 in %s: %w", file, err)
}

// A clock knows how much the server's clock is ahead of ours.
type clock struct {
	to    http.RoundTripper
	ahead atomic.Int64 // nanoseconds
}

// RoundTrip is as of http.RoundTripper.
func (c *clock) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.to.RoundTrip(r)
	if err == nil {
		if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			c.ahead.Store(int64(time.Until(at)))
		}
	}
	return resp, err
}

// now gives the server's time.
func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (b *bucket) String() string { return strings.TrimSuffix(scheme+b.name+"/"+b.prefix, "/") }

// try does what may have to be done again.
func (b *bucket) try(ctx context.Context, what string, op func(context.Context) error) error {
	if b.noKey != nil {
		return b.noKey
	}
	pause := b.pause
	var err error
	ended := func() error {
		if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
			return cause
		}
		return fmt.Errorf("%s: %w", what, b.explain(err))
	}
	for i := 1; ; i++ {
		once, cancel := context.WithTimeout(ctx, tryTime)
		err = op(once)
		cancel()
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errTooLarge) {
			return err
		}
		if ctx.Err() != nil {
			return ended()
		}
		if i == tries || !passes(err) {
			return fmt.Errorf("%s: %w", what, b.explain(err))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ended()
		}
		pause = min(2*pause, lastPause)
	}
}

// Put is as of Depot: S3 shows an object when it is whole.
func (b *bucket) Put(ctx context.Context, name string, data []byte) error {
	return b.try(ctx, "write "+name, func(ctx context.Context) error {
		_, err := b.client.PutObject(ctx, b.name, b.prefix+name, bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{
			ContentType: "application/octet-stream", SendContentMd5: true, DisableContentSha256: true, DisableMultipart: true,
		})
		return err
	})
}

// Get is as of Depot.
func (b *bucket) Get(ctx context.Context, name string, limit int64) (out []byte, err error) {
	err = b.try(ctx, "read "+name, func(ctx context.Context) error {
		core := minio.Core{Client: b.client}
		in, info, _, err := core.GetObject(ctx, b.name, b.prefix+name, minio.GetObjectOptions{})
		if err != nil {
			return notThere(err)
		}
		defer in.Close()
		if info.Size > limit {
			return errTooLarge
		}
		var buf bytes.Buffer
		buf.Grow(int(max(0, info.Size)) + bytes.MinRead)
		if _, err := buf.ReadFrom(io.LimitReader(in, limit+1)); err != nil {
			return err
		}
		if int64(buf.Len()) > limit {
			return errTooLarge
		}
		out = buf.Bytes()
		return nil
	})
	return out, err
}

// notThere makes fs.ErrNotExist of what S3 says of an object that it has not.
func notThere(err error) error {
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return fs.ErrNotExist
	}
	return err
}

// List is as of Depot. What fails on the way goes on behind what has been given.
func (b *bucket) List(ctx context.Context, prefix string, each func(Item) error) error {
	after := ""
	for {
		from := after
		var mine error
		err := b.try(ctx, "list "+b.String()+"/"+prefix, func(ctx context.Context) (err error) {
			mine, err = b.list(ctx, prefix, &after, each)
			return err
		})
		if err == nil || after == from {
			return errors.Join(err, mine)
		}
	}
}

// list gives what comes behind after, and moves that on. mine is the error of each.
func (b *bucket) list(ctx context.Context, prefix string, after *string, each func(Item) error) (mine, err error) {
	ctx, cancel := context.WithCancel(ctx)
	list := b.client.ListObjects(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true, StartAfter: *after})
	defer func() {
		cancel()
		for range list { // or it would wait for us
		}
	}()
	for o := range list {
		if o.Err != nil {
			return nil, o.Err
		}
		if *after = o.Key; strings.HasSuffix(o.Key, "/") {
			continue // what some programs make in place of folders
		}
		if err := each(Item{strings.TrimPrefix(o.Key, b.prefix), o.Size, o.LastModified}); err != nil {
			return err, nil
		}
	}
	return nil, nil
}

// Delete is as of Depot.
func (b *bucket) Delete(ctx context.Context, name string) error {
	return b.try(ctx, "delete "+name, func(ctx context.Context) error {
		err := notThere(b.client.RemoveObject(ctx, b.name, b.prefix+name, minio.RemoveObjectOptions{}))
		if err == fs.ErrNotExist {
			return nil
		}
		return err
	})
}
