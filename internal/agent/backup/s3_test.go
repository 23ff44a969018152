package backup

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"posthaste/test/s3"
)

// credentialsFile makes one with a key.
func credentialsFile(t *testing.T, key string) string {
	t.Helper()
	path := t.TempDir() + "/credentials"
	if err := os.WriteFile(path, fmt.Appendf(nil, "[default]\naws_access_key_id = %s\naws_secret_access_key = secret\n", key), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newBucket gives a depot in a bucket, with a prefix.
func newBucket(t *testing.T) (Depot, *s3.Server) {
	t.Helper()
	s := &s3.Server{Bucket: "backups", Page: 3}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	d, err := OpenDepot("s3://backups/a/b", S3{Endpoint: web.URL, Credentials: credentialsFile(t, s3.Key), pause: time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	return d, s
}

// TestDepots: a folder and a bucket do the same.
func TestDepots(t *testing.T) {
	b, _ := newBucket(t)
	for _, d := range []Depot{Folder(t.TempDir() + "/f"), b} {
		t.Run(fmt.Sprintf("%T", d), func(t *testing.T) { testDepot(t, d) })
	}
}

func testDepot(t *testing.T, d Depot) {
	ctx := t.Context()
	list := func(prefix string) (out []string) {
		err := d.List(ctx, prefix, func(i Item) error {
			if d := time.Since(i.Time); d < -time.Minute || d > time.Minute || i.Size != int64(len(i.Name)) {
				t.Errorf("%+v", i)
			}
			out = append(out, i.Name)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		slices.Sort(out)
		return out
	}
	if got := list(""); got != nil {
		t.Errorf("a new one has %q", got)
	}
	names := []string{"FORMAT", "data/00/x", "data/00/y", "data/01/z", "data/02/z", "generations/1", "generations/1.use"}
	for _, n := range names {
		for range 2 {
			if err := d.Put(ctx, n, []byte(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := list(""); !slices.Equal(got, names) {
		t.Errorf("all: %q", got)
	}
	if got := list("data/"); !slices.Equal(got, names[1:5]) {
		t.Errorf("data: %q", got)
	}
	mine := errors.New("enough")
	if err := d.List(ctx, "data/", func(Item) error { return mine }); !errors.Is(err, mine) {
		t.Error(err)
	}
	if b, err := d.Get(ctx, "data/00/x", 9); string(b) != "data/00/x" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := d.Get(ctx, "data/00/x", 8); !errors.Is(err, ErrDamaged) {
		t.Errorf("more than there may be: %v", err)
	}
	if _, err := d.Get(ctx, "data/00/none", 9); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	for range 2 {
		if err := d.Delete(ctx, "data/00/x"); err != nil {
			t.Error(err)
		}
	}
	held, release, err := d.Hold(ctx)
	if err != nil || held.Err() != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Hold(ctx); !errors.Is(err, ErrBusy) {
		t.Errorf("a second holds: %v", err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if _, release, err = d.Hold(ctx); err != nil {
		t.Error(err)
	} else if err := release(); err != nil {
		t.Error(err)
	}
}

// TestBucketFaults: what passes is tried again, and what comes out is whole.
func TestBucketFaults(t *testing.T) {
	d, s := newBucket(t)
	var n atomic.Int64
	faults := []func(http.ResponseWriter, *http.Request){
		func(w http.ResponseWriter, _ *http.Request) { s3.Fail(w, 500, "InternalError") },
		func(w http.ResponseWriter, _ *http.Request) { s3.Fail(w, 503, "SlowDown") },
		func(w http.ResponseWriter, _ *http.Request) { s3.Fail(w, 400, "RequestTimeout") },
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter, r *http.Request) { // cut in the middle
			w.Header().Set("Content-Length", "1000")
			w.Header().Set("ETag", `"x"`)
			w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
			if r.Method == http.MethodPut {
				w.WriteHeader(500)
			}
			fmt.Fprint(w, "<?xml version=\"1.0\"?><ListBucketResult>")
		},
	}
	s.Fault = func(w http.ResponseWriter, r *http.Request) bool {
		i := n.Add(1)
		if i%4 != 0 {
			return false
		}
		faults[int(i/4)%len(faults)](w, r)
		return true
	}
	src := t.TempDir()
	var files []File
	for i := range 10 {
		files = append(files, file(t, fmt.Sprintf("%s/%d", src, i), strings.Repeat(fmt.Sprint(i), 1000)))
	}
	r := &Repository{Depot: d}
	for i := range 3 {
		files = append(files, file(t, fmt.Sprintf("%s/new%d", src, i), fmt.Sprint("new", i)))
		if _, err := r.Create(t.Context(), time.Unix(int64(1e9+i), 0), "v", files, Cache{}); err != nil {
			t.Fatal(err)
		}
		got, err := read(t, r, "")
		if err != nil || len(got) != len(files) || got[fmt.Sprint("new", i)] != fmt.Sprint("new", i) || len(got["9"]) != 1000 {
			t.Fatal(len(got), err)
		}
	}
	if n, _, err := r.Prune(t.Context(), 1); n != 2 || err != nil {
		t.Error(n, err)
	}
	if got, err := read(t, r, ""); err != nil || len(got) != len(files) {
		t.Error(len(got), err)
	}
}

// TestBucketSays: what does not pass is said in words, at once.
func TestBucketSays(t *testing.T) {
	src := file(t, t.TempDir()+"/x", strings.Repeat("x", 10000))
	for _, c := range []struct {
		name, where, key string
		fault            string // status and code
		want             string
	}{
		{"key", "s3://backups", "AKIAOTHER", "", "does not know the access key"},
		{"bucket", "s3://other/x", s3.Key, "", `there is no bucket "other"`},
		{"secret", "s3://backups", s3.Key, "403 SignatureDoesNotMatch", "the secret does not fit"},
		{"clock", "s3://backups", s3.Key, "403 RequestTimeTooSkewed", "too far apart: set it right"},
		{"denied", "s3://backups", s3.Key, "403 AccessDenied", "it must be let list, read, write and delete"},
		{"region", "s3://backups", s3.Key, "400 AuthorizationHeaderMalformed", "in another region"},
		{"full", "s3://backups", s3.Key, "room", "there is no more room"},
		{"ill", "s3://backups", s3.Key, "500 InternalError", "says InternalError: said by a test (status 500)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &s3.Server{Bucket: "backups"}
			if c.fault == "room" {
				s.Room = 1000
			} else if status, code, ok := strings.Cut(c.fault, " "); ok {
				s.Fault = func(w http.ResponseWriter, r *http.Request) bool {
					var n int
					fmt.Sscan(status, &n)
					s3.Fail(w, n, code)
					return true
				}
			}
			web := httptest.NewServer(s)
			defer web.Close()
			d, err := OpenDepot(c.where, S3{Endpoint: web.URL, Credentials: credentialsFile(t, c.key), pause: time.Microsecond})
			if err != nil {
				t.Fatal(err)
			}
			r := &Repository{Depot: d}
			_, err = r.Create(t.Context(), time.Now(), "v", []File{src}, Cache{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			for _, name := range s.Objects() {
				if strings.HasPrefix(name, genDir) {
					t.Error("a generation is there:", name)
				}
			}
		})
	}
}

// TestSettings: what cannot be is refused before anything is sent.
func TestSettings(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_ACCESS_KEY", "")
	t.Setenv("AWS_SECRET_KEY", "")
	key := credentialsFile(t, "k")
	for _, c := range []struct {
		where string
		o     S3
		want  string
	}{
		{"s3://", S3{Credentials: key}, "names no bucket"},
		{"s3://u:p@host/bucket", S3{Credentials: key}, "names no bucket"},
		{"s3://b/../x", S3{Credentials: key}, "names no bucket"},
		{"s3://b", S3{Credentials: key, Endpoint: "s3.example.net"}, "write https://host"},
		{"s3://b", S3{Credentials: key, Endpoint: "https://s3.example.net/b"}, "write https://host"},
		{"s3://b", S3{Credentials: key, Endpoint: "http://s3.example.net"}, "in the clear"},
		{"s3://b", S3{}, "there is no key"},
		{"s3://b", S3{Credentials: key + "x"}, "the key for S3 in"},
	} {
		d, err := OpenDepot(c.where, c.o)
		if err == nil {
			err = d.Put(t.Context(), "x", nil)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %+v: %v", c.where, c.o, err)
		}
	}
	for _, o := range []S3{{Credentials: key}, {Credentials: key, Endpoint: "http://s3.example.net", Clear: true}, {Credentials: key, Endpoint: "http://[::1]:9000"}} {
		if _, err := OpenDepot("s3://b/c/d/", o); err != nil {
			t.Error(err)
		}
	}
	if err := CheckPlace("relative"); err == nil {
		t.Error("a folder that is not named whole was taken")
	}
}

// TestBucketTLS: a certificate that nobody knows is not believed.
func TestBucketTLS(t *testing.T) {
	web := httptest.NewUnstartedServer(&s3.Server{Bucket: "backups"})
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	defer web.Close()
	key := credentialsFile(t, s3.Key)
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	for _, known := range []bool{false, true} {
		o := S3{Endpoint: web.URL, Credentials: key, pause: time.Microsecond}
		if known {
			o.Roots = roots
		}
		d, err := OpenDepot("s3://backups", o)
		if err != nil {
			t.Fatal(err)
		}
		err = d.Put(t.Context(), "x", []byte("x"))
		if known != (err == nil) || !known && !strings.Contains(err.Error(), "is not to be trusted") {
			t.Error(known, err)
		}
	}
}

// TestBucketLock: who was killed is in the way for a while, by the server's clock; of
// many at a time at most one writes; who cannot renew his lock stops.
func TestBucketLock(t *testing.T) {
	d, s := newBucket(t)
	ahead := 3 * time.Hour
	s.Now = func() time.Time { return time.Now().Add(ahead) }
	if _, _, err := d.Hold(t.Context()); err != nil { // and never lets go
		t.Fatal(err)
	}
	_, _, err := d.Hold(t.Context())
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Error(err)
	}
	ahead += staleAfter - time.Minute
	if _, _, err := d.Hold(t.Context()); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	ahead += 2 * time.Minute
	_, release, err := d.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Objects(); len(got) != 1 {
		t.Errorf("locks that are left: %q", got)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	var holding, most atomic.Int32
	done := make(chan error)
	for range 8 {
		go func() {
			for range 5 {
				_, release, err := d.Hold(t.Context())
				if errors.Is(err, ErrBusy) {
					continue
				}
				if err != nil {
					done <- err
					return
				}
				most.Store(max(most.Load(), holding.Add(1)))
				holding.Add(-1)
				if err := release(); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most.Load() > 1 {
		t.Error("two held it at a time")
	}
	if got := s.Objects(); len(got) != 0 {
		t.Errorf("locks that are left: %q", got)
	}
}

// TestInterrupted: what a backup leaves that was cut off after any number of writes
// harms none, and the next prune takes it.
func TestInterrupted(t *testing.T) {
	at, _ := newBucket(t)
	for _, d := range []Depot{Folder(t.TempDir() + "/f"), at} {
		src := t.TempDir()
		one := []File{file(t, src+"/a", "a"), file(t, src+"/b", "b")}
		r := &Repository{Depot: d}
		if _, err := r.Create(t.Context(), time.Unix(1e9, 0), "v", one, Cache{}); err != nil {
			t.Fatal(err)
		}
		two := []File{one[0], file(t, src+"/c", "c"), file(t, src+"/d", "d")}
		for n := 0; ; n++ {
			cut := &cutting{Depot: d, left: int64(n)}
			_, err := (&Repository{Depot: cut}).Create(t.Context(), time.Unix(2e9, 0), "v", two, Cache{})
			all, e := r.Generations(t.Context())
			if e != nil || (len(all) == 2) != (err == nil) {
				t.Fatal(n, all, err, e)
			}
			if got, e := read(t, r, ""); e != nil || len(got) != map[bool]int{true: 3, false: 2}[err == nil] {
				t.Fatal(n, got, e)
			}
			if err == nil {
				break
			}
		}
		if n, _, err := r.Prune(t.Context(), 1); n != 1 || err != nil {
			t.Error(n, err)
		}
		if got, err := read(t, r, ""); err != nil || len(got) != 3 {
			t.Error(got, err)
		}
		n := 0
		if err := d.List(t.Context(), "", func(Item) error { n++; return nil }); n != 6 || err != nil {
			t.Errorf("%d files are there, not FORMAT, a generation and three pieces: %v", n, err)
		}
	}
}

// cutting is a depot that takes so many writes.
type cutting struct {
	Depot
	left int64
}

func (c *cutting) Put(ctx context.Context, name string, b []byte) error {
	if atomic.AddInt64(&c.left, -1) < 0 {
		return errors.New("cut")
	}
	return c.Depot.Put(ctx, name, b)
}

// TestAt: the last before a time.
func TestAt(t *testing.T) {
	r := &Repository{Depot: Folder(t.TempDir() + "/b")}
	if _, err := r.At(t.Context(), time.Now()); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	day := func(n int, d time.Duration) time.Time {
		return time.Date(2026, 11, n, 3, 0, 0, 0, time.UTC).Add(d)
	}
	for _, n := range []int{1, 2, 4} {
		if _, err := r.Create(t.Context(), day(n, 0), "v", nil, Cache{}); err != nil {
			t.Fatal(err)
		}
	}
	for at, want := range map[time.Time]int{day(1, 0): 1, day(2, -time.Second): 1, day(2, 0): 2, day(3, 0): 2, day(4, time.Hour): 4, day(1, -time.Second): 0} {
		got, err := r.At(t.Context(), at)
		if want == 0 && err == nil || want > 0 && got != day(want, 0).Format(timeForm) {
			t.Error(at, got, err)
		}
	}
}

// TestDamagedNames: a piece that is cut, missing or another is named.
func TestDamagedNames(t *testing.T) {
	at, s := newBucket(t)
	r := &Repository{Depot: at}
	if _, err := r.Create(t.Context(), time.Unix(1e9, 0), "v", []File{file(t, t.TempDir()+"/x", "some text")}, Cache{}); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.Objects(), func(n string) bool { return strings.Contains(n, dataDir) })
	name := s.Objects()[i]
	whole := s.Get(name)
	for what, b := range map[string][]byte{"missing": nil, "cut": whole[:4], "longer": append(bytes.Clone(whole), 'x'), "empty": {}, "other": []byte("Some text")} {
		s.Set(name, b)
		if _, err := read(t, r, ""); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), filepath.Base(name)) || !strings.Contains(err.Error(), "index/x") {
			t.Error(what, err)
		}
	}
}
