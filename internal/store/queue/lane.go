package queue

// A lane has a schedule of its own, so that what is urgent is found first however
// much else is due.
type lane uint8

const (
	urgent lane = iota
	normal
	low
	lanes
)

// laneOf gives the lane of a priority: the three that MIXER tells apart.
// RFC 6710 appendix B
func laneOf(priority int8) lane {
	switch {
	case priority > 0:
		return urgent
	case priority < 0:
		return low
	}
	return normal
}

// kind gives the kind of row that the schedule of a lane has.
func (n lane) kind() byte {
	switch n {
	case urgent:
		return kindUrgent
	case low:
		return kindLow
	}
	return kindSchedule
}

// turns gives the lanes in the order in which a look goes through them. dice is a
// number by chance: what is less urgent goes first in a quarter of the looks, and
// what is not urgent at all in an eighth, so that no lane starves another.
func turns(dice uint64) [lanes]lane {
	switch dice % 8 {
	case 0, 1:
		return [...]lane{normal, low, urgent}
	case 2:
		return [...]lane{low, urgent, normal}
	}
	return [...]lane{urgent, normal, low}
}
