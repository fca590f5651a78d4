package analysis

import (
	"cmp"
	"slices"

	"github.com/tidemark-dev/tidemark/worker/analysis/internal/figures"
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

// rowHash is what a cell adds to its row's hash: rows with the same cells have the same, whatever their order.
func rowHash(column int, cell uint64) uint64 {
	h := (cell ^ cell>>32) + uint64(column+1)*0x9e3779b97f4a7c15
	h *= 0xbf58476d1ce4e5b9
	return h ^ h>>29
}

// endRow takes a whole row, of which the columns have taken the cells.
func (st *State) endRow(hash uint64) {
	if st.distinct.precision == 0 {
		st.distinct = newDistinct(sizes{precision: rowPrecision})
	}
	hash ^= hash >> 33
	hash *= 0xff51afd7ed558ccd
	st.distinct.add(hash ^ hash>>33)
	st.pairs.Next()
}

func (st *State) duplicates() Duplicates {
	if st.rows == 0 {
		return Duplicates{Exact: true}
	}
	n, exact := st.distinct.count()
	d := Duplicates{Rows: int64(st.rows - min(n, st.rows)), Exact: exact}
	if !exact {
		d.Error = int64(2 * rowError * float64(n))
	}
	return d
}

// correlations leaves out columns whose numbers have turned out to be codes, or are few among other values.
func (st *State) correlations(p *Profile) (all []Correlation) {
	var columns [figures.MaxCorrelated]int
	for i, c := range st.columns {
		if c.slot > 0 {
			columns[c.slot-1] = -1
			if is := p.Columns[i].Type; is == kindNames[table.Integer] || is == kindNames[table.Number] {
				columns[c.slot-1] = i
			}
		}
	}
	for _, of := range st.pairs.All() {
		a, b := columns[of.A], columns[of.B]
		if a >= 0 && b >= 0 {
			all = append(all, Correlation{A: min(a, b), B: max(a, b), R: of.R, Rows: int64(of.Rows)})
		}
	}
	slices.SortFunc(all, func(x, y Correlation) int { return cmp.Or(cmp.Compare(x.A, y.A), cmp.Compare(x.B, y.B)) })
	return all
}
