#!/bin/sh
# Prints the head of a result file: what was run, on which commit, on which
# machine. The arguments are the command, as it would be typed again.
#
# No host name, user or path is printed: the file is made to be published.
set -eu

commit=$(git rev-parse --quiet --verify HEAD 2>/dev/null || echo unknown)
# New results lie in the tree while they are written and do not count as changes.
changes=$(git status --porcelain -- . ':!docs/results' 2>/dev/null | wc -l)
if [ "$changes" -gt 0 ]; then
	commit="$commit, with $((changes)) uncommitted changes"
fi

if [ -r /proc/cpuinfo ]; then
	cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
	memory=$(awk '/^MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo)
	load=$(cut -d ' ' -f 1-3 /proc/loadavg)
else
	cpu=$(sysctl -n machdep.cpu.brand_string 2>/dev/null || true)
	memory=$(sysctl -n hw.memsize 2>/dev/null | awk '{ printf "%.1f GiB", $1 / 1073741824 }')
	load=$(uptime | sed 's/.*averages*: *//')
fi

cat <<HEAD
# command: $*
# commit:  $commit
# time:    $(date -u +%Y-%m-%dT%H:%M:%SZ)
# machine: $(getconf _NPROCESSORS_ONLN) cores, ${cpu:-unnamed CPU}, ${memory:-unknown memory}, load ${load:-unknown}
# system:  $(uname -srm), $(go version | cut -d ' ' -f 3)
# redis:   $(redis-server --version 2>/dev/null || echo none on the PATH)

HEAD
