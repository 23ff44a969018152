package inflate

// A code is a canonical Huffman code: how many symbols have each length, and the
// symbols in the order of their codes. RFC 1951 §3.2.2
type code struct {
	count   [maxBits + 1]uint16
	symbols []uint16
}

// newCode makes the code of lengths; nil if there can be none. A code with one
// symbol may leave room.
func newCode(lengths []uint8) *code {
	c := &code{symbols: make([]uint16, 0, len(lengths))}
	for _, l := range lengths {
		if l > 0 {
			c.count[l]++
		}
	}
	left := 1
	used := 0
	for l := 1; l <= maxBits; l++ {
		left = left*2 - int(c.count[l])
		used += int(c.count[l])
		if left < 0 {
			return nil
		}
	}
	if left > 0 && used > 1 {
		return nil
	}
	for l := uint8(1); l <= maxBits; l++ {
		for s, have := range lengths {
			if have == l {
				c.symbols = append(c.symbols, uint16(s))
			}
		}
	}
	return c
}

// peek finds the next symbol and how many bits it takes, without taking them.
func (c *code) peek(r *Reader) (symbol uint16, n uint, err error) {
	value, first, index := 0, 0, 0
	for n = 1; n <= maxBits; n++ {
		if !r.need(n) {
			return 0, 0, errMore
		}
		value |= int(r.bits>>(n-1)) & 1
		count := int(c.count[n])
		if value-first < count {
			return c.symbols[index+value-first], n, nil
		}
		index += count
		first = (first + count) << 1
		value <<= 1
	}
	return 0, 0, ErrCorrupt
}

func fixed(n int, length func(int) uint8) *code {
	l := make([]uint8, n)
	for i := range l {
		l[i] = length(i)
	}
	return newCode(l)
}

// The fixed codes. RFC 1951 §3.2.6
var (
	fixedLit = fixed(288, func(i int) uint8 {
		switch {
		case i < 144:
			return 8
		case i < 256:
			return 9
		case i < 280:
			return 7
		}
		return 8
	})
	fixedDist = fixed(32, func(int) uint8 { return 5 })
)

// order is that of the lengths of the code for lengths. RFC 1951 §3.2.7
var order = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// maxTables is more than the tables of a block can take: 286 and 30 lengths of
// at most 14 bits, and what stands before them.
const maxTables = (14 + 19*3 + 316*14 + 7) / 8

// tables reads the codes of a block. What cannot be read to its end is read
// again from its beginning when more has come: it is short.
func (r *Reader) tables() error {
	in, bits, nbits := r.in, r.bits, r.nbits
	lit, dist, err := r.readTables()
	if err == errMore && len(in) < maxTables {
		r.in, r.bits, r.nbits = in, bits, nbits
		return errMore
	}
	if err != nil {
		return ErrCorrupt
	}
	r.lit, r.dist = lit, dist
	r.step = (*Reader).symbol
	return nil
}

func (r *Reader) readTables() (lit, dist *code, err error) {
	if !r.need(14) {
		return nil, nil, errMore
	}
	nlit, ndist, nlen := int(r.take(5))+257, int(r.take(5))+1, int(r.take(4))+4
	if nlit > 286 || ndist > 30 {
		return nil, nil, ErrCorrupt
	}
	var short [19]uint8
	for i := range nlen {
		if !r.need(3) {
			return nil, nil, errMore
		}
		short[order[i]] = uint8(r.take(3))
	}
	c := newCode(short[:])
	if c == nil {
		return nil, nil, ErrCorrupt
	}
	lengths, err := r.lengths(c, nlit+ndist)
	if err != nil {
		return nil, nil, err
	}
	if lengths[256] == 0 { // a block must have its end
		return nil, nil, ErrCorrupt
	}
	lit, dist = newCode(lengths[:nlit]), newCode(lengths[nlit:])
	if lit == nil || dist == nil {
		return nil, nil, ErrCorrupt
	}
	return lit, dist, nil
}

// lengths reads n lengths of codes.
func (r *Reader) lengths(c *code, n int) ([]uint8, error) {
	out := make([]uint8, 0, n)
	for len(out) < n {
		s, bits, err := c.peek(r)
		if err != nil {
			return nil, err
		}
		if s < 16 {
			r.take(bits)
			out = append(out, uint8(s))
			continue
		}
		extra, base := uint(2), 3
		value := uint8(0)
		switch s {
		case 16:
			if len(out) == 0 {
				return nil, ErrCorrupt
			}
			value = out[len(out)-1]
		case 17:
			extra = 3
		default:
			extra, base = 7, 11
		}
		if !r.need(bits + extra) {
			return nil, errMore
		}
		r.take(bits)
		times := base + int(r.take(extra))
		if len(out)+times > n {
			return nil, ErrCorrupt
		}
		for range times {
			out = append(out, value)
		}
	}
	return out, nil
}
