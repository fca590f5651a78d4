package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a configuration file: a user who names a data file by mistake
// hears of it instead of waiting for its parsing.
const maxFileBytes = 1 << 20

var errTooLarge = errors.New("it is larger than 1 MiB")

// fileTree is what viper does not tell of a file, and a look at the file's own tree does.
type fileTree struct {
	// lines are where the settings stand.
	lines map[string]int
	// values are those of verbatim settings.
	values map[string]any
	// problems are what in the file is no setting; viper takes any key in any case.
	problems []Problem
}

// readFile gives v the settings of a file.
func readFile(v *viper.Viper, path string) (fileTree, error) {
	f, err := os.Open(path)
	if err != nil {
		return fileTree{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return fileTree{}, err
	}
	if len(text) > maxFileBytes {
		return fileTree{}, errTooLarge
	}
	v.SetConfigType("yaml")
	if err := v.ReadConfig(bytes.NewReader(text)); err != nil {
		return fileTree{}, err
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	switch err := d.Decode(&document); {
	case errors.Is(err, io.EOF):
		return fileTree{}, nil // empty, or comments alone
	case err != nil:
		return fileTree{}, err
	}
	s := scan{path: path, fileTree: fileTree{lines: map[string]int{}, values: map[string]any{}}}
	s.section("", document.Content[0])
	var second yaml.Node
	if err := d.Decode(&second); !errors.Is(err, io.EOF) {
		s.complain(second.Line, "", "a second document begins here; put all settings into the first")
	}
	return s.fileTree, nil
}

// fileProblem words why a configuration file cannot be used.
func fileProblem(path string, named Origin, err error) Problem {
	p := Problem{Source: path}
	var pe *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Allowed = "there is no such file; name another or leave it out"
	case errors.As(err, &pe):
		p.Allowed = pe.Err.Error() + "; name a file that can be read"
	case errors.Is(err, errTooLarge):
		p.Allowed = err.Error() + ": is this the configuration file?"
	default:
		var parse viper.ConfigParseError
		if errors.As(err, &parse) {
			err = parse.Unwrap()
		}
		p.Allowed = "not YAML: " + yamlFault(err) + "; see `tidemark config print` for the settings"
	}
	if named.Where != "" {
		p.Allowed += " (" + named.Where + ")"
	}
	return p
}

// yamlFault words an error of the parser. What a value without quotes begins with may be taken for an anchor's name,
// and that may be a part of a secret.
func yamlFault(err error) string {
	text := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", " "), "yaml: ")
	if strings.Contains(text, "anchor '") {
		return "a value that begins with * or & needs quotes"
	}
	return text
}

// scan walks the tree of a file.
type scan struct {
	path string
	fileTree
}

func (s *scan) complain(line int, key, allowed string) {
	s.problems = append(s.problems, Problem{Source: fmt.Sprintf("%s:%d", s.path, line), Key: key, Allowed: allowed})
}

func (s *scan) section(name string, n *yaml.Node) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // a heading without settings
	}
	if n.Kind != yaml.MappingNode {
		s.complain(n.Line, name, "want settings, one a line, such as \"worker:\" and below it \"  lease: 4s\"")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		path := key.Value
		if name != "" {
			path = name + "." + path
		}
		switch {
		case find(path) != nil:
			// A key without a value is not set.
			if value.Tag == "!!null" {
				continue
			}
			s.lines[path] = key.Line
			if find(path).verbatim {
				var v any
				if err := value.Decode(&v); err != nil {
					s.complain(key.Line, path, strings.TrimPrefix(err.Error(), "yaml: "))
				}
				s.values[path] = v
			}
		case isSection(path):
			s.section(path, value)
		default:
			s.complain(key.Line, path, "no such setting"+didYouMean(path))
		}
	}
}
