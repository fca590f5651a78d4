package wire

import (
	"fmt"
	"regexp"
	"strings"
)

// A Topic names the audience of records, such as "user:42", "team:7" or "system:all". It is the
// unit of permission and of order. Its form is kind:name; the kind is [a-z][a-z0-9-]{0,31}, the
// name [A-Za-z0-9._@-]{1,128}.
type Topic string

// TopicForm describes the form of a Topic.
const TopicForm = "kind:name, kind [a-z][a-z0-9-]{0,31} and name [A-Za-z0-9._@-]{1,128}, such as user:42"

var topicForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}:[A-Za-z0-9._@-]{1,128}$`)

// ParseTopic checks the form of s. Its error wraps ErrInvalidTopic.
func ParseTopic(s string) (Topic, error) {
	if !topicForm.MatchString(s) {
		return "", fmt.Errorf("%w %q: want %s", ErrInvalidTopic, clip(s, 80), TopicForm)
	}
	return Topic(s), nil
}

// In reports whether t is among topics: one topic ("user:42"), all of a kind ("team:*") or all ("*").
func (t Topic) In(topics string) bool {
	kind, all := strings.CutSuffix(topics, "*")
	return topics == string(t) || topics == "*" || all && strings.HasSuffix(kind, ":") && strings.HasPrefix(string(t), kind)
}
