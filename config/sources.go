package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tidemark-dev/tidemark/worker/export"
	"github.com/tidemark-dev/tidemark/worker/sqlsource"
)

// A sourceItem is a source as a file spells it.
type sourceItem struct {
	Name        string   `json:"name"`
	URL         string   `json:"url,omitempty"`
	URLFile     string   `json:"url_file,omitempty"`
	Table       string   `json:"table,omitempty"`
	Query       string   `json:"query,omitempty"`
	Key         []string `json:"key,omitempty"`
	Params      []string `json:"params,omitempty"`
	Topics      []string `json:"topics,omitempty"`
	Connections int      `json:"connections,omitempty"`
	Timeout     string   `json:"timeout,omitempty"`
}

var sourceFields = fieldsOf[sourceItem]()

// sources is a list in the file, and the same as one line of YAML or JSON elsewhere.
func sources(at func(*Config) *[]sqlsource.Source) codec {
	const form = "a list of sources, each with a name, url or url_file, table or query, and key"
	return codec{
		form:     form,
		verbatim: true,
		set: func(c *Config, raw any) error {
			items, err := parseItems[sourceItem](raw, "source", sourceFields)
			wrong := complaints(eachWanting(err, form))
			list := make([]sqlsource.Source, len(items))
			for i, s := range items {
				list[i] = sqlsource.Source{
					Name: s.Name, URL: s.URL, URLFile: s.URLFile, Table: s.Table, Query: s.Query, Key: s.Key, Params: s.Params, Topics: s.Topics, Connections: s.Connections,
				}
				if s.Timeout == "" {
					continue
				}
				if list[i].Timeout, err = parseDuration(s.Timeout); err != nil {
					wrong = append(wrong, fmt.Errorf("%s: timeout: want a duration, such as 90s or 10m", clip(s.Name, 64)))
				}
			}
			for _, one := range complaints(export.ValidateSources(list)) {
				wrong = append(wrong, errors.New(strings.TrimPrefix(one.Error(), "invalid Sources: ")))
			}
			if wrong == nil {
				*at(c) = list
			}
			return errors.Join(wrong...)
		},
		get:   func(c *Config) string { return printSources(*at(c), func(url string) string { return url }) },
		show:  func(c *Config) string { return printSources(*at(c), maskSource) },
		zero:  func(c *Config) bool { return len(*at(c)) == 0 },
		spoil: func(*Config) {},
	}
}

// printSources gives the list as one line of JSON; "" for none.
func printSources(list []sqlsource.Source, url func(string) string) string {
	if len(list) == 0 {
		return ""
	}
	items := make([]sourceItem, len(list))
	for i, s := range list {
		items[i] = sourceItem{s.Name, url(s.URL), s.URLFile, s.Table, s.Query, s.Key, s.Params, s.Topics, s.Connections, ""}
		if s.Timeout != 0 {
			items[i].Timeout = printDuration(s.Timeout)
		}
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(items) // texts and numbers
	return strings.TrimSuffix(b.String(), "\n")
}

// maskSource hides the password of a source's URL. A SQLite file has none.
func maskSource(url string) string {
	if strings.HasPrefix(url, "sqlite:") {
		return url
	}
	return Mask(url)
}
