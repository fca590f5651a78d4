package config

import (
	"encoding/json"
	"errors"

	"github.com/tidemark-dev/tidemark/gateway"
)

// An enqueueItem is a gateway.EnqueueType as a file spells it.
type enqueueItem struct {
	Type            string    `json:"type"`
	Queue           string    `json:"queue,omitempty"`
	MaxAttempts     int       `json:"max_attempts,omitempty"`
	MaxPayloadBytes itemBytes `json:"max_payload_bytes,omitempty"`
}

// itemBytes is a size among the members of an item.
type itemBytes int

// UnmarshalJSON reads 64KiB, in quotes, or a number of bytes.
func (n *itemBytes) UnmarshalJSON(text []byte) error {
	var written string
	if json.Unmarshal(text, &written) != nil {
		written = string(text)
	}
	size, err := parseSize(written)
	if err != nil {
		return errors.New("max_payload_bytes: want a size, such as 64KiB or a number of bytes")
	}
	*n = itemBytes(size)
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (n itemBytes) MarshalJSON() ([]byte, error) { return json.Marshal(printSize(int64(n))) }

var enqueueFields = fieldsOf[enqueueItem]()

// enqueueTypes is a list in the file, and the same as one line of YAML or JSON elsewhere.
func enqueueTypes(at func(*Config) *[]gateway.EnqueueType) codec {
	const form = "a list of job types, each with a type, and queue, max_attempts and max_payload_bytes if they are not the defaults"
	return codec{
		form:     form,
		verbatim: true,
		set: func(c *Config, raw any) error {
			items, err := parseItems[enqueueItem](raw, "job type", enqueueFields)
			if err != nil {
				return eachWanting(err, form)
			}
			list := make([]gateway.EnqueueType, len(items))
			for i, t := range items {
				list[i] = gateway.EnqueueType{Type: t.Type, Queue: t.Queue, MaxAttempts: t.MaxAttempts, MaxPayloadBytes: int(t.MaxPayloadBytes)}
			}
			*at(c) = list
			return nil
		},
		get:   func(c *Config) string { return printEnqueueTypes(*at(c)) },
		zero:  func(c *Config) bool { return len(*at(c)) == 0 },
		spoil: func(*Config) {},
	}
}

// printEnqueueTypes gives the list as one line of JSON; "" for none.
func printEnqueueTypes(list []gateway.EnqueueType) string {
	if len(list) == 0 {
		return ""
	}
	items := make([]enqueueItem, len(list))
	for i, t := range list {
		items[i] = enqueueItem{t.Type, t.Queue, t.MaxAttempts, itemBytes(t.MaxPayloadBytes)}
	}
	text, _ := json.Marshal(items) // texts and numbers
	return string(text)
}
