package analysis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark-dev/tidemark/worker/internal/dataset/packed"
)

// analyseInPieces breaks off between two records at or after each of the cuts,
// which are byte offsets in ascending order, and goes on with what the State's
// encoding restores. It returns the profile as it would be stored.
func analyseInPieces(data []byte, p Payload, o Options, cuts []int) ([]byte, error) {
	st := new(State)
	for {
		r, err := st.open(context.Background(), bytes.NewReader(data[st.offset:]), p, packed.None, o)
		if err != nil {
			return nil, err
		}
		step := st.step(r, o)
		for len(cuts) == 0 || st.offset < int64(cuts[0]) {
			more, err := step()
			if err != nil {
				return nil, err
			}
			if !more {
				return st.profile().encode()
			}
		}
		cuts = cuts[1:]
		saved, err := st.MarshalBinary()
		if err != nil {
			return nil, err
		}
		restored := new(State)
		if err := restored.UnmarshalBinary(saved); err != nil {
			return nil, err
		}
		if again, err := restored.MarshalBinary(); err != nil || !bytes.Equal(again, saved) {
			return nil, fmt.Errorf("the restored state encodes differently: %w", err)
		}
		st = restored
	}
}

func TestResumedProfileEqualsUndisturbed(t *testing.T) {
	files := map[string][]byte{
		"orders":          orders(40 << 10),
		"wide":            wideCSV(40, 60),
		"very wide":       wideCSV(520, 3),
		"growing objects": growingNDJSON(40, 500),
		"messy":           messyCSV(300),
	}
	for name, data := range files {
		t.Run(name, func(t *testing.T) {
			want, err := Analyze(t.Context(), bytes.NewReader(data), Payload{}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			wantText, err := want.encode()
			if err != nil {
				t.Fatal(err)
			}
			rapid.Check(t, func(t *rapid.T) {
				cuts := rapid.SliceOfN(rapid.IntRange(1, len(data)), 1, 6).Draw(t, "cuts")
				slices.Sort(cuts)
				got, err := analyseInPieces(data, Payload{}, mustOptions(t), cuts)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, wantText) {
					t.Fatalf("cut at %v:\n%s\nundisturbed:\n%s", cuts, got, wantText)
				}
			})
		})
	}
}

// wideCSV has every kind of value, mostly unique, in every column.
func wideCSV(columns, rows int) []byte {
	rng := rand.New(rand.NewPCG(3, uint64(columns)))
	var b bytes.Buffer
	for c := range columns {
		b.WriteString("column " + strconv.Itoa(c) + ";"[:min(1, columns-1-c)])
	}
	for range rows {
		b.WriteByte('\n')
		for c := range columns {
			b.WriteString(anyValue(rng) + ";"[:min(1, columns-1-c)])
		}
	}
	return b.Bytes()
}

func anyValue(rng *rand.Rand) string {
	switch rng.IntN(6) {
	case 0:
		return strconv.FormatFloat(rng.NormFloat64()*1e6, 'g', -1, 64)
	case 1:
		return strconv.FormatInt(rng.Int64()-rng.Int64(), 10)
	case 2:
		return fmt.Sprintf("2025-01-%02dT10:00:00.%09dZ", 1+rng.IntN(28), rng.IntN(1e9))
	case 3:
		return strings.Repeat("é"+strconv.Itoa(rng.Int()), 4)
	case 4:
		return strconv.Itoa(rng.IntN(5))
	}
	return "true"
}

// growingNDJSON gains keys as it goes, through several tiers of sketch sizes.
func growingNDJSON(rows, keys int) []byte {
	rng := rand.New(rand.NewPCG(5, 6))
	var b bytes.Buffer
	for row := range rows {
		b.WriteString(`{"first": {"nested": [1, "}"]}`)
		for range 12 {
			value := strconv.Quote(anyValue(rng))
			if rng.IntN(2) == 0 {
				value = strconv.FormatFloat(rng.ExpFloat64(), 'g', -1, 64)
			}
			fmt.Fprintf(&b, `, "k%d": %s`, rng.IntN(1+row*keys/rows), value)
		}
		b.WriteString("}\r\n")
		if row%50 == 7 {
			b.WriteString("no object\n\n")
		}
	}
	return b.Bytes()
}

// messyCSV breaks the rules here and there.
func messyCSV(rows int) []byte {
	rng := rand.New(rand.NewPCG(8, 9))
	b := bytes.NewBuffer([]byte("\xef\xbb\xbfa|b|a|\"c\nc\"\r\n"))
	for range rows {
		b.WriteString([]string{"1|2", "\r\n", "x|\"|\n\"|y|z", `5" pipe|"quo"ted`, "7|8|9|10|11"}[rng.IntN(5)])
		b.WriteString([]string{"\n", "\r\n"}[rng.IntN(2)])
	}
	return b.Bytes()
}

func TestStateStaysWithinItsBoundAtEveryWidth(t *testing.T) {
	for _, s := range tiers {
		if worst := maxHeadBytes + rowsBytes + maxNameBytes + 3*s.columns + s.columns*s.worstBytes(); worst > MaxStateBytes {
			t.Errorf("%d columns may take %d bytes, over %d", s.columns, worst, MaxStateBytes)
		}
		st := new(State)
		data := wideCSV(s.columns, 40+64_000/s.columns)
		if err := st.read(t.Context(), bytes.NewReader(data), Payload{}, packed.None, mustOptions(t), nil); err != nil {
			t.Fatal(err)
		}
		b, err := st.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		head := maxHeadBytes + rowsBytes + st.nameBytes() + 3*s.columns
		if most := head + s.columns*s.worstBytes(); len(b) > most {
			t.Errorf("%d columns take %d bytes, more than the %d reckoned", s.columns, len(b), most)
		}
		t.Logf("%d columns: %d bytes", s.columns, len(b))
	}
}

func TestTooManyColumnsNamesTheBound(t *testing.T) {
	wide := strings.Repeat("c,", MaxColumns) + "c\n"
	var object strings.Builder
	object.WriteString("{}\n{")
	for i := range MaxColumns + 1 {
		fmt.Fprintf(&object, `"k%d":1,`, i)
	}
	lines := strings.TrimSuffix(object.String(), ",") + "}\n"
	for text, bound := range map[string]string{wide: "2001 columns; at most 2000", lines: "2000 different keys"} {
		_, err := Analyze(t.Context(), strings.NewReader(text), Payload{}, Options{})
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), bound) {
			t.Errorf("error %v, want ErrInput that says %q", err, bound)
		}
	}
}

func TestLongNamesOfColumnsAreCutAndThatIsSaid(t *testing.T) {
	var names []string
	for i := range 400 {
		names = append(names, fmt.Sprint("short", i), fmt.Sprint(strings.Repeat("é", 150), i))
	}
	data := []byte(strings.Join(names, ",") + "\n" + strings.Repeat(strings.Repeat("1,", 799)+"1\n", 3))
	p := analyze(t, string(data), Payload{})
	seen, total := map[string]bool{}, 0
	for _, c := range p.Columns {
		seen[c.Name] = true
		total += len(c.Name)
	}
	if len(seen) != 800 || total > maxNameBytes || total < maxNameBytes-8_000 || p.Columns[0].Name != "short0" || !strings.Contains(p.Columns[1].Name, "…") {
		t.Errorf("%d names of %d bytes, such as %q", len(seen), total, p.Columns[1].Name)
	}
	if len(p.Warnings) != 1 || p.Warnings[0].Code != WarnNamesCut || p.Warnings[0].Count != 400 {
		t.Errorf("warnings %+v", p.Warnings)
	}
	want, err := p.encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := analyseInPieces(data, Payload{}, mustOptions(t), []int{len(data) - 3}); err != nil || !bytes.Equal(got, want) {
		t.Errorf("cut into pieces the profile differs: %v", err)
	}
	keys := "{" + strings.TrimSuffix(strings.Repeat(`"`+strings.Repeat("k", 300)+"%d\":1,", 300), ",") + "}\n"
	var numbers []any
	for i := range 300 {
		numbers = append(numbers, i)
	}
	_, err = Analyze(t.Context(), strings.NewReader(fmt.Sprintf(keys, numbers...)), Payload{}, Options{})
	if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "65536 bytes") {
		t.Errorf("error %v, want ErrInput that names 65536 bytes", err)
	}
}

func TestUnknownStateVersionIsSaid(t *testing.T) {
	err := new(State).UnmarshalBinary([]byte{99, 1, 2, 3})
	if !errors.Is(err, ErrStateVersion) || !strings.Contains(err.Error(), "99") || !strings.Contains(err.Error(), "this program reads") {
		t.Fatalf("error %v", err)
	}
}

func TestDamagedStateIsAnErrorAndChangesNothing(t *testing.T) {
	st := new(State)
	if err := st.read(t.Context(), bytes.NewReader(orders(8<<10)), Payload{}, packed.None, mustOptions(t), nil); err != nil {
		t.Fatal(err)
	}
	good, err := st.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(good); n += 1 + n/100 {
		if err := st.UnmarshalBinary(good[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were accepted", n, len(good))
		}
	}
	if err := st.UnmarshalBinary(append(slices.Clone(good), 0)); err == nil {
		t.Fatal("a trailing byte was accepted")
	}
	if after, err := st.MarshalBinary(); err != nil || !bytes.Equal(after, good) {
		t.Fatalf("the failed decoding changed the state (error %v)", err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		b := slices.Clone(good)
		b[1+rng.IntN(len(b)-1)] ^= byte(1 + rng.IntN(255))
		_ = new(State).UnmarshalBinary(b) // must not panic; some changes are valid
	}
}

// Four times the rows must not take more allocations: there are none per cell.
func TestCellsTakeNoAllocations(t *testing.T) {
	use := func(size int) float64 {
		block := orders(1 << 20)
		block = block[bytes.IndexByte(block, '\n')+1:]
		return testing.AllocsPerRun(1, func() {
			src := io.MultiReader(strings.NewReader("a,b,c,d,e,f,g,h,i,j\n"), &repeat{block: block, left: size})
			if _, err := Analyze(t.Context(), src, Payload{}, Options{}); err != nil {
				t.Fatal(err)
			}
		})
	}
	small, large := use(2<<20), use(8<<20)
	if large > small+50 {
		t.Errorf("8 MiB take %v allocations, 2 MiB %v", large, small)
	}
}

// repeat reads block over and over, in whole blocks.
type repeat struct {
	block []byte
	left  int
	at    int
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.at == len(r.block) {
		r.at = 0
		r.left -= len(r.block)
	}
	if r.left <= 0 {
		return 0, io.EOF
	}
	n := copy(p, r.block[r.at:])
	r.at += n
	return n, nil
}
