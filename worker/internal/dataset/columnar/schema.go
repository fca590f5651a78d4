package columnar

import (
	"github.com/tidemark-dev/tidemark/worker/internal/table"
)

const (
	// maxColumns is dataset.MaxColumns; nested ones count as well.
	maxColumns = 2000
	// maxNameBytes bounds all names as JSON has them, nested ones too, since each row repeats them.
	maxNameBytes = 128 << 10
	// maxSchemaDepth is how deep groups and lists are within one another.
	maxSchemaDepth = 32
)

// FieldRepetitionType of parquet.thrift.
const (
	required = 0
	optional = 1
	repeated = 2
)

// Types of a group, as LogicalType and ConvertedType number them.
const (
	logicalMap     = 2
	logicalList    = 3
	logicalVariant = 16

	convertedMap         = 1
	convertedMapKeyValue = 2
	convertedList        = 3
)

// A shape says how a node is written.
type shape uint8

const (
	aValue   shape = iota
	anObject       // of its children
	itsOnly        // child, in place of it
	entries        // a key and a value
)

// A node is a column, or a group of nodes. Its levels are those of Dremel: an entry of a column under it has at
// least the definition level def where the node is there, and the repetition level rep where a repeated node
// goes on.
type node struct {
	element    *element
	key        []byte // its name, a colon, and a comma before where it is not the first
	repetition int32
	shape      shape
	def, rep   int
	children   []*node
	leaves     []*leaf // all under it; the first one stands for the others
}

// A schemaReader makes nodes of elements, which are in depth-first order.
type schemaReader struct {
	elements []element
	next     int
	names    int
	leaves   []*leaf
}

// readSchema returns the root and all columns.
func readSchema(elements []element) (*node, []*leaf, error) {
	s := schemaReader{elements: elements}
	elements[0].repetition = required
	root, err := s.node(0, 0, 0, 0, true)
	if err != nil {
		return nil, nil, err
	}
	if s.next != len(elements) || root.shape == aValue {
		return nil, nil, errFooter
	}
	return root, s.leaves, nil
}

// distinct refuses names that an object would have twice.
func distinct(nodes []*node) error {
	seen := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		name := string(trimComma(n.key))
		if seen[name] {
			return table.Refuse("Two columns of this Parquet file have the same name. Rename one, and write the file again.")
		}
		seen[name] = true
	}
	return nil
}

func trimComma(key []byte) []byte {
	if key[0] == ',' {
		return key[1:]
	}
	return key
}

// node reads the next element and all under it.
func (s *schemaReader) node(depth, place, def, rep int, root bool) (*node, error) {
	if s.next >= len(s.elements) {
		return nil, errFooter
	}
	if depth > maxSchemaDepth {
		return nil, table.Refuse("The columns of this Parquet file are nested more than %d levels deep. Write them as text of JSON.", maxSchemaDepth)
	}
	e := &s.elements[s.next]
	s.next++
	n := &node{element: e, repetition: e.repetition}
	if place > 0 {
		n.key = append(n.key, ',')
	}
	n.key = append(appendString(n.key, e.name), ':')
	if s.names += len(n.key); s.names > maxNameBytes {
		return nil, table.Refuse("The names of the columns of this Parquet file have more than %d bytes together. Write shorter ones.", maxNameBytes)
	}
	switch e.repetition {
	case required:
	case optional:
		def++
	case repeated:
		def, rep = def+1, rep+1
	default:
		return nil, errFooter
	}
	n.def, n.rep = def, rep
	if e.physical >= 0 {
		if e.children != 0 {
			return nil, errFooter
		}
		return n, s.column(n, e)
	}
	n.shape = anObject
	first := len(s.leaves)
	for i := range int(e.children) {
		child, err := s.node(depth+1, i, def, rep, false)
		if err != nil {
			return nil, err
		}
		n.children = append(n.children, child)
	}
	if n.leaves = s.leaves[first:len(s.leaves):len(s.leaves)]; len(n.leaves) == 0 {
		if root {
			return nil, table.Refuse("This Parquet file has no columns. Write it with at least one.")
		}
		return nil, table.Refuse("This Parquet file has a group without columns in it. Leave it out, or write it as text of JSON.")
	}
	if err := distinct(n.children); err != nil || root {
		return n, err // the root is no list and no map, whatever it says
	}
	return n, n.arrange()
}

// column ends a node that is a column.
func (s *schemaReader) column(n *node, e *element) error {
	if len(s.leaves) == maxColumns {
		return table.Refuse("This Parquet file has more than %d columns, nested ones included. Write fewer.", maxColumns)
	}
	l := &leaf{physical: e.physical, maxDef: n.def, maxRep: n.rep}
	if l.physical == typeFixed {
		if e.length < 1 || e.length > maxFixedBytes {
			return table.Refuse("A column of this Parquet file has values of a fixed length of %d bytes; 1 to %d are read. Write it as another type.", e.length, maxFixedBytes)
		}
		l.length = int(e.length)
	}
	if l.write = writerOf(e); l.write == nil {
		return table.Refuse("A column of this Parquet file has a type that cannot be read. Write it as text, a number or a time.")
	}
	s.leaves = append(s.leaves, l)
	n.leaves = []*leaf{l}
	return nil
}

// arrange finds the groups that stand for a list or a map: LogicalTypes.md of the Parquet format, with its rules
// for older writers.
func (n *node) arrange() error {
	if n.element.logical == logicalVariant {
		return table.Refuse("A column of this Parquet file is a VARIANT, which cannot be read. Write it as text of JSON.")
	}
	if n.repetition != repeated {
		n.stand()
	}
	return nil
}

// stand makes a group the list or the map that it is annotated as.
func (n *node) stand() {
	if len(n.children) != 1 || n.children[0].repetition != repeated {
		return // none of the form that the format has
	}
	e, in := n.element, n.children[0]
	switch {
	case e.logical == logicalMap, e.logical == 0 && (e.converted == convertedMap || e.converted == convertedMapKeyValue):
		if in.shape == anObject && len(in.children) == 2 && in.children[0].repetition != repeated {
			n.shape, in.shape = itsOnly, entries
		}
	case e.logical == logicalList, e.logical == 0 && e.converted == convertedList:
		n.shape = itsOnly
		// The repeated group is the item itself where it has several children, one that repeats, or one of
		// these names. Such an item may be a list or a map.
		switch {
		case in.shape != anObject || len(in.children) != 1:
		case in.children[0].repetition == repeated:
			in.stand()
		case !in.is("array") && !in.is(string(e.name)+"_tuple"):
			in.shape = itsOnly
		}
	}
}

func (n *node) is(name string) bool {
	return string(n.key) == string(append(appendString(nil, []byte(name)), ':'))
}
