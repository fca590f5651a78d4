package figures

import (
	"math/bits"
	"slices"
)

// presort is the least number of values for which the radix passes pay.
const presort = 128

// Order sorts values, with spare as room for as many. Four radix passes over the
// highest 32 bits in which the values differ bring them nearly into order, and a
// comparison sort, which is quick then, finishes it: half the time of comparing
// alone on prices.
func Order(values, spare []uint64) {
	if len(values) >= presort {
		var differ uint64
		for _, v := range values {
			differ |= v ^ values[0]
		}
		shift := max(0, bits.Len64(differ)-32)
		var counts [4][256]uint16
		for _, v := range values {
			k := uint32(v >> shift)
			counts[0][k&0xff]++
			counts[1][k>>8&0xff]++
			counts[2][k>>16&0xff]++
			counts[3][k>>24]++
		}
		from, to := values, spare[:len(values)]
		// An even number of passes ends where it began.
		for pass := range 4 {
			at, n := &counts[pass], uint16(0)
			for i, c := range at {
				at[i] = n
				n += c
			}
			for _, v := range from {
				digit := uint8(v >> shift >> (8 * pass))
				to[at[digit]] = v
				at[digit]++
			}
			from, to = to, from
		}
	}
	slices.Sort(values)
}
