package session

import (
	"errors"
	"fmt"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
)

// ErrInterrupted is the cause of the context of a process that a signal stops.
var ErrInterrupted = errors.New("interrupted")

// ErrTransient says that the Redis at hand would end with the command.
var ErrTransient = errors.New("there is no Redis that outlasts this command")

// ErrNoArtifact says that there is no artifact of an ID, or the user may not know of it.
var ErrNoArtifact error = noArtifact{}

type noArtifact struct{}

func (noArtifact) Error() string { return "no such artifact" }
func (noArtifact) Unwrap() error { return engine.ErrNotFound }

// A UsageError is about the arguments.
type UsageError struct{ err error }

func (e *UsageError) Error() string { return e.err.Error() }
func (e *UsageError) Unwrap() error { return e.err }

// Usage makes a UsageError.
func Usage(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// A JobEndedError says that a job did not succeed.
type JobEndedError struct{ Job engine.Job }

func (e *JobEndedError) Error() string {
	j := e.Job
	text := fmt.Sprintf("job %s", j.ID)
	if j.Title != "" {
		text += fmt.Sprintf(" (%s)", screen.OneLine(j.Title))
	}
	how := "has failed"
	if j.State == engine.Canceled {
		how = "was canceled"
	}
	text += fmt.Sprintf(" %s at %s", how, screen.Percent(j.Percent))
	if j.Error != nil {
		text += ": " + screen.OneLine(j.Error.Message)
	}
	return text
}
