package packblob

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const tmpSuffix = ".tmp"

// recover finds the packs, removes what a crash has left half done, and seals
// what is not sealed.
func (s *Store) recover() error {
	names, err := s.FS.List(s.dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	var old []string
	for _, name := range names {
		if strings.HasSuffix(name, tmpSuffix) {
			old = append(old, name)
			continue
		}
		num, gen, ok := parseName(name)
		if !ok {
			continue
		}
		p := &pack{num: num, gen: gen}
		if other := s.packs[num]; other != nil {
			// A pack gets its name when it is whole, so the newer one is good.
			if other.gen > gen {
				p, other = other, p
			}
			old = append(old, other.name())
		}
		s.packs[num] = p
		s.next = max(s.next, num+1)
	}
	for _, name := range old {
		if err := s.FS.Remove(s.path(name)); err != nil {
			return err
		}
	}
	for _, num := range s.numbers() {
		if err := s.inspect(s.packs[num]); err != nil {
			return err
		}
	}
	return syncDir(s.FS, s.dir)
}

// numbers gives those of all packs, in order.
func (s *Store) numbers() []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	nums := make([]uint32, 0, len(s.packs))
	for num := range s.packs {
		nums = append(nums, num)
	}
	slices.Sort(nums)
	return nums
}

// inspect reads the tail of a pack, and seals it if there is none.
func (s *Store) inspect(p *pack) error {
	st, err := s.FS.Stat(s.path(p.name()))
	if err != nil {
		return err
	}
	p.size = st.Size()
	f, err := s.FS.Open(s.path(p.name()))
	if err != nil {
		return err
	}
	t, err := readTail(f, p.size)
	if err == nil {
		err = checkHead(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", p.name(), err)
	}
	if t != nil {
		p.tail = t
		return nil
	}
	return s.sealOld(p)
}

// checkHead refuses what a later release has made. A head that is torn is no
// matter: its file has no records, or they say themselves what they are.
func checkHead(f vfs.File) error {
	var b [headLen]byte
	if _, err := f.ReadAt(b[:], 0); err != nil && err != io.EOF {
		return err
	}
	le := binary.LittleEndian
	if le.Uint32(b[:]) == magicPack && le.Uint32(b[60:]) == crc(b[:60]) && le.Uint32(b[4:]) != version {
		return fmt.Errorf("it has format %d, this program knows %d", le.Uint32(b[4:]), version)
	}
	return nil
}

func readTail(f vfs.File, size int64) (*tail, error) {
	var b [tailLen]byte
	if size < headLen+tailLen {
		return nil, nil
	}
	if _, err := f.ReadAt(b[:], size-tailLen); err != nil && err != io.EOF {
		return nil, err
	}
	t := &tail{}
	if !t.decode(b[:], size) {
		return nil, nil
	}
	return t, nil
}

// sealOld seals a pack that the former process has left open.
func (s *Store) sealOld(p *pack) error {
	f, err := s.FS.OpenReadWrite(s.path(p.name()), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	p.file, p.users = f, 1
	s.open++
	p.entries, p.last, err = scan(f, p, p.size)
	if err != nil {
		return fmt.Errorf("search %s: %w", p.name(), err)
	}
	s.Log.Info("a pack was not closed; it is now", "pack", p.name(), "blobs", len(p.entries))
	p.end = p.size
	err = s.seal(p)
	if err == nil || s.Failed() != nil {
		return err
	}
	// There is no room for the index. It can be read without.
	s.Log.Warn("a pack could not be sealed", "pack", p.name(), "err", err)
	return nil
}
