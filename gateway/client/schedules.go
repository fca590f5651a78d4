package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// PutSchedule makes or replaces a schedule, as package engine does. What it returns has no
// payload. Errors to branch on: wire.ErrInvalid, wire.ErrInvalidTopic, ErrRefused,
// wire.ErrUnreachable, after which it may or may not have been made, and
// wire.ErrOutOfMemory.
func (c *Client) PutSchedule(ctx context.Context, s wire.Schedule) (_ wire.Scheduled, created bool, err error) {
	fail := func(err error) (wire.Scheduled, bool, error) {
		return wire.Scheduled{}, false, fmt.Errorf("put schedule %s of %s: %w", s.Name, s.Topic, err)
	}
	if err := s.Validate(); err != nil {
		return fail(err)
	}
	body := s
	body.Topic, body.Name = "", "" // the path has them
	var answer wire.ScheduleAnswer
	status, err := c.exchange(ctx, http.MethodPut, schedulePath(s.Topic, s.Name), body, &answer)
	if err != nil {
		return fail(err)
	}
	return answer.Schedule, status == http.StatusCreated, nil
}

// DeleteSchedule ends a schedule, as package engine does. Errors to branch on:
// wire.ErrInvalid, wire.ErrInvalidTopic, wire.ErrNoSchedule, ErrRefused,
// wire.ErrUnreachable.
func (c *Client) DeleteSchedule(ctx context.Context, topic wire.Topic, name string) error {
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return err
	}
	if err := wire.CheckScheduleName(name); err != nil {
		return err
	}
	err := c.call(ctx, http.MethodDelete, schedulePath(topic, name), nil, nil)
	if errors.Is(err, wire.ErrNotFound) {
		err = wire.ErrNoSchedule
	}
	if err != nil {
		return fmt.Errorf("delete schedule %s of %s: %w", name, topic, err)
	}
	return nil
}

// Schedules lists a topic's schedules by name, without their payloads. Errors to branch
// on: wire.ErrInvalidTopic, ErrRefused, wire.ErrUnreachable.
func (c *Client) Schedules(ctx context.Context, topic wire.Topic) ([]wire.Scheduled, error) {
	if _, err := wire.ParseTopic(string(topic)); err != nil {
		return nil, err
	}
	var answer wire.SchedulesAnswer
	if err := c.call(ctx, http.MethodGet, schedulePath(topic, ""), nil, &answer); err != nil {
		return nil, fmt.Errorf("list schedules of %s: %w", topic, err)
	}
	return answer.Schedules, nil
}

// schedulePath is where a topic's schedules are, or the one of a name.
func schedulePath(topic wire.Topic, name string) string {
	path := "/v1/topics/" + url.PathEscape(string(topic)) + "/schedules"
	if name != "" {
		path += "/" + name
	}
	return path
}
