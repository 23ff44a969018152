// Package s3 is a small server of S3 in memory, for tests: it puts, gets, lists
// and deletes objects, checks what the client says of them, and can fail in the ways
// that real ones do. It does not check signatures.
package s3

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Key is the only access key that the server knows.
const Key = "AKIATEST"

// A Server has one bucket. It is an http.Handler.
type Server struct {
	Bucket string
	// Fault is asked about every request; what it does not answer goes on. nil: none.
	Fault func(w http.ResponseWriter, r *http.Request) (answered bool)
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Room is how many bytes fit; 0: any number.
	Room int64
	// Page is how many objects a list has at a time; 0: 1000.
	Page int

	mu      sync.Mutex
	objects map[string]object
	counts  map[string]int // requests, by method
}

type object struct {
	data []byte
	at   time.Time
}

// Objects gives the names of all.
func (s *Server) Objects() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects))
}

// Get gives an object, nil if there is none.
func (s *Server) Get(name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.objects[name].data)
}

// Set makes an object another; nil removes it.
func (s *Server) Set(name string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if data == nil {
		delete(s.objects, name)
		return
	}
	s.put(name, data)
}

func (s *Server) put(name string, data []byte) {
	if s.objects == nil {
		s.objects = map[string]object{}
	}
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	s.objects[name] = object{data, now().UTC()}
}

// Count gives how many requests of a method there were.
func (s *Server) Count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[method]
}

// Fail answers with an error of S3.
func Fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>said by a test</Message></Error>", code)
}

// ServeHTTP is as of http.Handler. The bucket stands in the path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.counts == nil {
		s.counts = map[string]int{}
	}
	s.counts[r.Method]++
	s.mu.Unlock()
	if s.Now != nil {
		w.Header().Set("Date", s.Now().UTC().Format(http.TimeFormat))
	}
	if s.Fault != nil && s.Fault(w, r) {
		return
	}
	name, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case !strings.Contains(r.Header.Get("Authorization"), "Credential="+Key+"/"):
		Fail(w, http.StatusForbidden, "InvalidAccessKeyId")
	case name != s.Bucket:
		Fail(w, http.StatusNotFound, "NoSuchBucket")
	case key == "" && r.URL.Query().Has("location"):
		fmt.Fprint(w, `<?xml version="1.0"?><LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>`)
	case key == "" && r.URL.Query().Get("list-type") == "2":
		s.list(w, r)
	case key != "" && r.Method == http.MethodPut:
		s.take(w, r, key)
	case key != "" && r.Method == http.MethodGet:
		s.give(w, key)
	case key != "" && r.Method == http.MethodDelete:
		s.Set(key, nil)
		w.WriteHeader(http.StatusNoContent)
	default:
		Fail(w, http.StatusNotImplemented, "NotImplemented")
	}
}

func (s *Server) take(w http.ResponseWriter, r *http.Request, key string) {
	data, err := io.ReadAll(r.Body)
	if err != nil || int64(len(data)) != r.ContentLength {
		Fail(w, http.StatusBadRequest, "IncompleteBody")
		return
	}
	sum := md5.Sum(data)
	if base64.StdEncoding.EncodeToString(sum[:]) != r.Header.Get("Content-Md5") {
		Fail(w, http.StatusBadRequest, "BadDigest")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	total := int64(len(data))
	for _, o := range s.objects {
		total += int64(len(o.data))
	}
	if s.Room > 0 && total > s.Room {
		Fail(w, http.StatusInsufficientStorage, "XMinioStorageFull")
		return
	}
	s.put(key, data)
	w.Header().Set("ETag", fmt.Sprintf("\"%x\"", sum))
}

func (s *Server) give(w http.ResponseWriter, key string) {
	s.mu.Lock()
	o, ok := s.objects[key]
	s.mu.Unlock()
	if !ok {
		Fail(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	h := w.Header()
	h.Set("ETag", fmt.Sprintf("\"%x\"", md5.Sum(o.data)))
	h.Set("Last-Modified", o.at.Format(http.TimeFormat))
	h.Set("Content-Length", strconv.Itoa(len(o.data)))
	w.Write(o.data)
}

type listing struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	Contents              []listed
}

type listed struct {
	Key          string
	LastModified string
	Size         int
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after := max(q.Get("start-after"), q.Get("continuation-token"))
	page := s.Page
	if page == 0 {
		page = 1000
	}
	var out listing
	s.mu.Lock()
	for _, name := range slices.Sorted(maps.Keys(s.objects)) {
		if !strings.HasPrefix(name, q.Get("prefix")) || name <= after {
			continue
		}
		if len(out.Contents) == page {
			out.IsTruncated, out.NextContinuationToken = true, out.Contents[page-1].Key
			break
		}
		o := s.objects[name]
		out.Contents = append(out.Contents, listed{name, o.at.Format("2006-01-02T15:04:05.000Z"), len(o.data)})
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/xml")
	if err := xml.NewEncoder(w).Encode(out); err != nil {
		Fail(w, http.StatusInternalServerError, "InternalError")
	}
}
