package auth

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// The roles that a token may have.
const (
	// RoleViewer reads every topic.
	RoleViewer = "viewer"
	// RoleAdmin may do everything.
	RoleAdmin = "admin"
)

var rightNames = map[string]Rights{"read": Read, "enqueue": Enqueue, "control": Control}

// principal is whom a token names whose signature, iss, aud and nbf are valid. Anything that is malformed is an error,
// which names the claim.
func principal(c jwt.MapClaims, now time.Time) (*Principal, error) {
	issued, expires, err := lifetime(c, now)
	if err != nil {
		return nil, err
	}
	subject, _ := c["sub"].(string)
	own, err := wire.ParseTopic("user:" + subject)
	if err != nil {
		return nil, fmt.Errorf("sub %q: want [A-Za-z0-9._@-]{1,128}", clip(subject))
	}
	if id, there := c["jti"]; there {
		if text, _ := id.(string); text == "" {
			return nil, errors.New("jti: want a text, or none")
		}
	}
	p := &Principal{Subject: subject, Issued: issued, Expires: expires, Grants: []Grant{{Topics: string(own), Rights: Read | Enqueue | Control}}}
	granted, err := grants(c["grants"])
	if err != nil {
		return nil, err
	}
	p.Grants = append(p.Grants, granted...)
	roles, err := texts(c["roles"])
	if err != nil {
		return nil, errors.New("roles: want a list of viewer and admin")
	}
	for _, role := range roles {
		switch role {
		case RoleAdmin:
			p.Admin = true
		case RoleViewer:
			p.Grants = append(p.Grants, Grant{Topics: "*", Rights: Read})
		default:
			return nil, errors.New("roles: want viewer or admin")
		}
	}
	return p, nil
}

// lifetime checks exp, iat and nbf, and returns the times of iat and exp. exp is at most MaxTokenLife after iat,
// which is at most ClockLeeway ahead, so no token is valid for longer than both together.
func lifetime(c jwt.MapClaims, now time.Time) (issued, expires time.Time, err error) {
	at := func(name string) (time.Time, error) {
		// Far beyond any date, and far within what time.Time can add to.
		const most = 1e11
		seconds, isNumber := c[name].(float64)
		if !isNumber || seconds <= 0 || seconds > most {
			return time.Time{}, fmt.Errorf("%s: want a number of seconds since 1970", name)
		}
		return time.UnixMilli(int64(seconds * 1000)), nil
	}
	if expires, err = at("exp"); err == nil {
		issued, err = at("iat")
	}
	if _, there := c["nbf"]; err == nil && there { // the parser has compared it
		_, err = at("nbf")
	}
	switch {
	case err != nil:
	case !now.Before(expires):
		err = errors.New("exp: it has passed")
	case issued.After(now.Add(ClockLeeway)):
		err = errors.New("iat: it is ahead")
	case expires.Sub(issued) > MaxTokenLife:
		err = errors.New("exp: want at most 24 h after iat")
	}
	return issued, expires, err
}

// grants reads the claim of that name: lists of rights by topic or pattern.
func grants(claim any) ([]Grant, error) {
	if claim == nil {
		return nil, nil
	}
	byTopics, isObject := claim.(map[string]any)
	if !isObject {
		return nil, errors.New("grants: want an object of topics and lists of rights")
	}
	if len(byTopics) > MaxTokenGrants {
		return nil, fmt.Errorf("grants: %d of them; at most %d", len(byTopics), MaxTokenGrants)
	}
	var all []Grant
	for _, topics := range slices.Sorted(maps.Keys(byTopics)) {
		if !grantable(topics) {
			return nil, errors.New("grants: want a topic, such as user:42, all of a kind, such as team:*, or *")
		}
		names, err := texts(byTopics[topics])
		var rights Rights
		for _, name := range names {
			right, known := rightNames[name]
			if !known {
				err = errors.New("unknown")
			}
			rights |= right
		}
		if err != nil || rights == 0 {
			return nil, errors.New("grants: want a list of read, enqueue and control for each")
		}
		all = append(all, Grant{Topics: topics, Rights: rights})
	}
	return all, nil
}

// grantable reports whether topics has a form of Grant.Topics.
func grantable(topics string) bool {
	one, kind := strings.CutSuffix(topics, ":*")
	if kind {
		one += ":any"
	}
	_, err := wire.ParseTopic(one)
	return err == nil || topics == "*"
}

// texts reads a list of texts; nil is an empty one.
func texts(claim any) ([]string, error) {
	list, isList := claim.([]any)
	if claim != nil && !isList {
		return nil, errors.New("no list")
	}
	all := make([]string, len(list))
	for i, item := range list {
		text, isText := item.(string)
		if !isText {
			return nil, errors.New("no text")
		}
		all[i] = text
	}
	return all, nil
}
