package packblob

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"posthaste/internal/base/mail"
)

// A pack is a file. What guards a field stands with it.
type pack struct {
	num, gen uint32

	// Guarded by Store.mu.
	file  vfs.File // nil if not open
	users int      // those who use file
	used  uint64   // when last, by Store.clock
	gone  bool     // no longer in the store: the last user closes the file
	size  int64    // of the file; of one that is written, what is on the disk
	tail  *tail    // nil until sealed
	// entries of a pack that is not sealed, or whose index is damaged; else nil
	entries []entry
	checked bool // the index is known to be whole

	// Belong to who writes the pack.
	end         int64 // where the next record goes
	first, last int64 // when the first and the last record were put
}

func (p *pack) name() string {
	if p.gen == 0 {
		return fmt.Sprintf("%08x.pk", p.num)
	}
	return fmt.Sprintf("%08x.%d.pk", p.num, p.gen)
}

func parseName(name string) (num, gen uint32, ok bool) {
	base, ok := strings.CutSuffix(name, ".pk")
	if !ok {
		return 0, 0, false
	}
	base, genText, more := strings.Cut(base, ".")
	n, err := strconv.ParseUint(base, 16, 32)
	if err != nil || len(base) != 8 {
		return 0, 0, false
	}
	if more {
		g, err := strconv.ParseUint(genText, 10, 32)
		if err != nil || g == 0 {
			return 0, 0, false
		}
		gen = uint32(g)
	}
	return uint32(n), gen, true
}

func (s *Store) path(name string) string { return s.FS.PathJoin(s.dir, name) }

// take gives the pack with its file open; release must follow.
func (s *Store) take(num uint32) (*pack, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.packs[num]
	if p == nil {
		return nil, nil
	}
	if p.file == nil {
		s.evict()
		f, err := s.FS.Open(s.path(p.name()))
		if err != nil {
			return nil, err
		}
		p.file = f
		s.open++
	}
	s.clock++
	p.used = s.clock
	p.users++
	return p, nil
}

// evict closes a file that nobody uses, if too many are open.
func (s *Store) evict() {
	if s.open < s.MaxOpen {
		return
	}
	var oldest *pack
	for _, p := range s.packs {
		if p.file != nil && p.users == 0 && (oldest == nil || p.used < oldest.used) {
			oldest = p
		}
	}
	if oldest != nil {
		if err := s.shut(oldest); err != nil {
			s.Log.Warn("close of a pack", "pack", oldest.name(), "err", err)
		}
	}
}

func (s *Store) release(p *pack) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.users--; p.users == 0 && p.gone {
		return s.shut(p)
	}
	return nil
}

// shut closes the file of p. Store.mu is held.
func (s *Store) shut(p *pack) error {
	if p.file == nil {
		return nil
	}
	err := p.file.Close()
	p.file = nil
	s.open--
	return err
}

// create makes a pack to write to. Its writer uses it until it is sealed.
func (s *Store) create() (*pack, error) {
	s.mu.Lock()
	p := &pack{num: s.next, size: headLen, end: headLen, users: 1}
	if s.next++; s.next == 0 {
		s.mu.Unlock()
		return nil, errors.New("no number is left for a new pack")
	}
	s.evict()
	s.mu.Unlock()
	f, err := s.makeFile(p.name(), p)
	if err != nil {
		return nil, err
	}
	s.preallocate(f)
	if err := s.syncNew(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.file = f
	s.open++
	s.packs[p.num] = p
	return p, nil
}

// reserve is how many packs must fit on a disk before one is preallocated: on a
// smaller one nothing would be left for others, the index among them.
const reserve = 16

// preallocate takes the room of a whole pack at once, so that it is in one piece.
func (s *Store) preallocate(f vfs.File) {
	u, err := s.FS.GetDiskUsage(s.dir)
	if err != nil || u.AvailBytes/reserve < uint64(s.PackSize) {
		return
	}
	// Without such a call it goes on step by step.
	_ = f.Preallocate(0, s.PackSize)
}

// makeFile makes a file with the head of p, and nothing else: what a rewrite that failed may
// have left under its name would be taken for records, and its index for that of the file.
func (s *Store) makeFile(name string, p *pack) (vfs.File, error) {
	f, err := s.FS.Create(s.path(name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("create a pack: %w", err)
	}
	if _, err := f.WriteAt(encodeHead(p.num, p.gen), 0); err != nil {
		err = errors.Join(fmt.Errorf("create a pack: %w", err), f.Close())
		if rerr := s.FS.Remove(s.path(name)); rerr != nil {
			s.Log.Warn("remove of a pack that could not be begun", "pack", name, "err", rerr)
		}
		return nil, err
	}
	return f, nil
}

// syncNew brings a new file and its name to the disk.
func (s *Store) syncNew(f vfs.File) error {
	if err := f.Sync(); err != nil {
		return s.fail(fmt.Errorf("sync of a new pack: %w", err))
	}
	if err := syncDir(s.FS, s.dir); err != nil {
		return s.fail(fmt.Errorf("sync of %s: %w", s.dir, err))
	}
	return nil
}

// seal writes the index of a pack that its writer is done with, and ends his
// use of it. If that fails, the pack can be read all the same, and the next
// Open seals it. A pack without records goes.
func (s *Store) seal(p *pack) error {
	s.mu.Lock()
	entries, file := p.entries, p.file
	if len(entries) == 0 {
		delete(s.packs, p.num)
		p.gone = true
	}
	s.mu.Unlock()
	var err error
	if len(entries) == 0 {
		err = s.FS.Remove(s.path(p.name()))
	} else {
		err = s.writeIndex(p, file, entries)
	}
	return errors.Join(err, s.release(p))
}

// writeIndex appends index and tail, behind all that has ever been written.
func (s *Store) writeIndex(p *pack, file vfs.File, entries []entry) error {
	st, err := file.Stat()
	if err != nil {
		return fmt.Errorf("seal %s: %w", p.name(), err)
	}
	t := &tail{index: aligned(max(st.Size(), p.end)), last: p.last}
	b, err := s.appendIndex(file, t, entries)
	if err != nil {
		return fmt.Errorf("seal %s: %w", p.name(), err)
	}
	if err := file.SyncData(); err != nil {
		return s.fail(fmt.Errorf("sync of %s: %w", p.name(), err))
	}
	size := t.index + int64(len(b))
	if fs, ok := s.FS.(truncater); ok { // gives back what was allocated ahead
		if err := fs.Truncate(s.path(p.name()), size); err != nil {
			s.Log.Warn("truncate of a sealed pack", "pack", p.name(), "err", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.tail, p.entries, p.size, p.checked = t, nil, size, true
	return nil
}

func (s *Store) appendIndex(file vfs.File, t *tail, entries []entry) ([]byte, error) {
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(slotOf(a.id), slotOf(b.id)) })
	b := make([]byte, 0, len(entries)*entryLen+tailLen)
	for _, e := range entries {
		b = appendEntry(b, e)
	}
	t.count, t.sum = uint32(len(entries)), crc(b)
	b = t.append(b)
	_, err := file.WriteAt(b, t.index)
	return b, err
}

// A truncater is a file system that can cut files.
type truncater interface {
	Truncate(name string, size int64) error
}

type diskFS struct{ vfs.FS }

func (diskFS) Truncate(name string, size int64) error { return os.Truncate(name, size) }

// list gives the entries of a pack that the caller has taken, ordered by slot.
func (s *Store) list(p *pack) ([]entry, error) {
	s.mu.Lock()
	entries, t, file := slices.Clone(p.entries), p.tail, p.file
	s.mu.Unlock()
	if entries != nil || t == nil {
		slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(slotOf(a.id), slotOf(b.id)) })
		return entries, nil
	}
	b := make([]byte, int64(t.count)*entryLen)
	if _, err := file.ReadAt(b, t.index); err != nil {
		return nil, fmt.Errorf("read the index of %s: %w", p.name(), err)
	}
	if crc(b) == t.sum {
		for ; len(b) > 0; b = b[entryLen:] {
			entries = append(entries, decodeEntry(b))
		}
		s.mu.Lock()
		p.checked = true
		s.mu.Unlock()
		return entries, nil
	}
	s.Log.Error("the index of a pack is damaged; its records are searched for", "pack", p.name())
	entries, _, err := scan(file, p, t.index)
	if err != nil {
		return nil, fmt.Errorf("search %s: %w", p.name(), err)
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(slotOf(a.id), slotOf(b.id)) })
	s.mu.Lock()
	p.entries = slices.Clone(entries)
	s.mu.Unlock()
	return entries, nil
}

// find gives the entry of id in a pack that the caller has taken.
func (s *Store) find(p *pack, id mail.BlobID) (entry, bool, error) {
	s.mu.Lock()
	t, file, inIndex := p.tail, p.file, p.tail != nil && p.entries == nil && p.checked
	s.mu.Unlock()
	if !inIndex {
		entries, err := s.list(p)
		if err != nil {
			return entry{}, false, err
		}
		i, ok := slices.BinarySearchFunc(entries, slotOf(id), func(e entry, slot uint32) int {
			return cmp.Compare(slotOf(e.id), slot)
		})
		if !ok || entries[i].id != id {
			return entry{}, false, nil
		}
		return entries[i], true, nil
	}
	var b [entryLen]byte
	for low, high := int64(0), int64(t.count); low < high; {
		mid := (low + high) / 2
		if _, err := file.ReadAt(b[:], t.index+mid*entryLen); err != nil {
			return entry{}, false, fmt.Errorf("read the index of %s: %w", p.name(), err)
		}
		e := decodeEntry(b[:])
		switch c := cmp.Compare(slotOf(id), slotOf(e.id)); {
		case c == 0:
			return e, e.id == id, nil
		case c < 0:
			high = mid
		default:
			low = mid + 1
		}
	}
	return entry{}, false, nil
}

// scan searches the first end bytes of a file for records. Normally one follows
// the other; where that breaks, because a write was torn or bytes are damaged,
// it looks on for the next. It gives also when the last was put.
func scan(f io.ReaderAt, p *pack, end int64) (entries []entry, last int64, err error) {
	var b [recLen]byte
	for off := int64(headLen); off+recLen <= end; {
		if _, err := f.ReadAt(b[:], off); err != nil && err != io.EOF {
			return nil, 0, err
		}
		var h header
		if h.decode(b[:]) && packOf(h.id) == p.num && off+h.length() <= aligned(end) &&
			(p.gen > 0 || int64(slotOf(h.id))*align == off) {
			entries = append(entries, entry{h.id, off, h.length()})
			last = max(last, h.put)
			off += h.length()
			continue
		}
		if off, err = seek(f, off+align, end); err != nil {
			return nil, 0, err
		}
	}
	return entries, last, nil
}

// seek gives the next place from off on where a record may begin.
func seek(f io.ReaderAt, off, end int64) (int64, error) {
	magic := binary.LittleEndian.AppendUint32(nil, magicRecord)
	buf := make([]byte, 256<<10)
	for off < end {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), end-off)], off)
		if err != nil && err != io.EOF {
			return 0, err
		}
		for i := 0; i+len(magic) <= n; i += align {
			if bytes.HasPrefix(buf[i:n], magic) {
				return off + int64(i), nil
			}
		}
		if n < len(buf) {
			break
		}
		off += int64(n) // a multiple of align
	}
	return end, nil
}
