package cli

import (
	"errors"
	"strings"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway/client"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
	"github.com/tidemark-dev/tidemark/internal/redisproc"
)

// The exit codes; the help of the root command lists them for users.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitJobEnded    = 4
	exitUnreachable = 5
	exitInterrupted = 130
)

func exitCode(err error) int {
	var (
		asked *session.UsageError
		ended *session.JobEndedError
	)
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case err == nil:
		return exitOK
	case is(session.ErrInterrupted):
		return exitInterrupted
	case errors.As(err, &asked),
		is(config.ErrInvalid, engine.ErrInvalid, engine.ErrInvalidTopic, engine.ErrInvalidCursor, engine.ErrInvalidJobID):
		return exitUsage
	case is(engine.ErrNotFound):
		return exitNotFound
	case errors.As(err, &ended):
		return exitJobEnded
	case is(engine.ErrUnreachable, session.ErrTransient, redisproc.ErrSilent):
		return exitUnreachable
	}
	return exitError
}

// message is what the user reads of an error: one line, with what to do, unless
// there are several things wrong with the configuration.
func message(err error) string {
	if err == nil {
		return ""
	}
	var (
		settings *config.Error
		asked    *session.UsageError
		answered *client.Error // the gateway that gave it knows its Redis, and the user does not
	)
	switch {
	case errors.As(err, &settings):
		return strings.ReplaceAll(settings.Error(), "\n", "\ntidemark: ")
	case errors.As(err, &asked):
		first, _, _ := strings.Cut(asked.Error(), "\n") // cobra's suggestions take lines of their own
		return first + `; see "tidemark --help"`
	}
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	switch {
	case errors.Is(err, engine.ErrNoSchedule):
		text += `; "tidemark schedules" lists those of the topic`
	case errors.Is(err, engine.ErrNoDataset):
		text += `; "tidemark datasets" lists those of the topic`
	case errors.Is(err, session.ErrNoArtifact):
		text += `; "tidemark job JOB" shows those of a job`
	case errors.Is(err, engine.ErrNotFound):
		text += `; "tidemark jobs" lists those of the topic`
	case errors.Is(err, client.ErrUnreachable):
		text += "; check that it runs there, or leave --server out to open the data folder or a Redis"
	case errors.Is(err, engine.ErrUnreachable) && !errors.As(err, &answered):
		text += "; check that it runs there, or leave --redis out to use the data folder's own"
	}
	return text
}
