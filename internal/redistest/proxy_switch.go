package redistest

import (
	"bytes"
	"context"
)

// Switch makes connections that are opened from now on reach another target, as a proxy of a
// managed Redis does after a switchover. Those that are open stay where they are.
func (p *Proxy) Switch(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// RewriteReplies has replies say something else. A text that arrives in two parts is let
// through as it is. It replaces what was to be rewritten before.
func (p *Proxy) RewriteReplies(oldText, newText string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rewrite = [2]string{oldText, newText}
}

func (p *Proxy) rewritten(chunk []byte, dir int) []byte {
	p.mu.Lock()
	rewrite := p.rewrite
	p.mu.Unlock()
	if dir == toServer || rewrite[0] == "" {
		return chunk
	}
	return bytes.ReplaceAll(chunk, []byte(rewrite[0]), []byte(rewrite[1]))
}

// AwaitLeft waits until no connection to a target is open, and reports whether that was
// before ctx ended.
func (p *Proxy) AwaitLeft(ctx context.Context, target string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waitLocked(ctx, func() bool {
		for l := range p.links {
			if l.target == target {
				return false
			}
		}
		return true
	})
}
