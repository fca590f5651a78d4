#!/bin/sh
# Makes sure that what the tests need beside Go is here: on Debian and Ubuntu,
# as root or with sudo, by installing what is missing; elsewhere by naming it
# and exiting 1. The npm packages of gateway/web and internal/filetest/node, through
# npm, and the S3 server of the tests, through Go, come last. When everything is here it
# changes nothing and says nothing.
#
# To add a requirement, add a line to the table and, where `command -v` is not
# enough, a probe.
set -eu

# what is needed | probe: succeeds when it is here | Debian packages
requirements() {
	cat <<'TABLE'
a C compiler with its library's headers (for go test -race)|has_c_compiler|gcc libc6-dev
redis-server 6.2 or newer|has_redis|redis-server
redis-sentinel|command -v redis-sentinel|redis-sentinel
Node.js 18 or newer|has_node|nodejs
npm|command -v npm|npm
Chromium or Chrome (on Ubuntu, a snap or google-chrome-stable)|has_chromium|chromium
nginx|has_nginx|nginx
zstd|command -v zstd|zstd
PostgreSQL's server 13 or newer|has_postgres|postgresql
TABLE
}

# Go is asked which compiler it would call; a compiler without the C library's
# headers is common in small images and fails only once cgo is reached.
has_c_compiler() {
	# A CC may carry arguments, so it is split into words.
	# shellcheck disable=SC2046
	printf '#include <stdlib.h>\n#include <pthread.h>\n' | $(go env CC) -x c -E -
}

# Older releases of Debian and Ubuntu carry a Redis from before 6.2.
has_redis() {
	redis-server --version | sed 's/.* v=//' |
		awk -F . '{ ok = $1 > 6 || ($1 == 6 && $2 >= 2) } END { exit !ok }'
}

# Debian 11 and Ubuntu 22.04 carry a Node.js from before 18.
has_node() {
	node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 18 ? 0 : 1)'
}

# The names that the browser tests look for, too.
has_chromium() {
	command -v chromium || command -v chromium-browser || command -v google-chrome
}

# Debian puts it where only root looks.
has_nginx() {
	command -v nginx || test -x /usr/sbin/nginx
}

# Debian puts it where nothing looks, a folder a version. The tests start servers
# of their own from there.
has_postgres() {
	for initdb in /usr/lib/postgresql/*/bin/initdb $(command -v initdb); do
		if [ -x "$initdb" ] && "$initdb" --version | awk '{ exit !($NF + 0 >= 13) }'; then
			return 0
		fi
	done
	return 1
}

# Fills `missing` (one requirement a line) and `packages` (words).
probe_all() {
	missing='' packages=''
	while IFS='|' read -r what probe debian; do
		if ! eval "$probe" </dev/null >/dev/null 2>&1; then
			missing="$missing  - $what (Debian and Ubuntu: $debian)
"
			packages="$packages $debian"
		fi
	done <<TABLE
$(requirements)
TABLE
}

# Says what is missing and what can be done about it, and gives up.
give_up() {
	printf 'setup: %s; missing for the tests:\n%s' "$1" "$missing" >&2
	echo 'Install what is named, see that it is on the PATH, and run this again.' >&2
	exit 1
}

# Prints the command that root's rights come by: nothing for root. A password is
# asked for only where somebody sits at a terminal.
find_root() {
	if [ "$(id -u)" -eq 0 ]; then
		return 0
	fi
	command -v sudo >/dev/null || return 1
	if sudo -n true 2>/dev/null || { [ -t 0 ] && [ -z "${CI:-}" ] && sudo -v; }; then
		echo sudo
		return 0
	fi
	return 1
}

# Debian's packages start their service once installed, and at every boot. The
# tests run servers of their own, and a developer's ports 6379 and 80 are not ours
# to take: a policy that says "do not start" stands while apt-get runs, and what
# came in is disabled. A policy that is already there is the administrator's and
# stays as it is.
policy=/usr/sbin/policy-rc.d
policy_is_ours=''

# PostgreSQL's package also makes a first database cluster, with a service of its
# own; this file, which stands while apt-get runs, says not to.
no_cluster=/etc/postgresql-common/createcluster.d/tidemark-setup.conf

lift_policy() {
	if [ -n "$policy_is_ours" ]; then
		$as_root rm -f "$policy"
		policy_is_ours=''
	fi
	$as_root rm -f "$no_cluster"
}

install_packages() {
	trap lift_policy EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	if [ ! -e "$policy" ]; then
		policy_is_ours=yes
		printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null || return 1
		$as_root chmod 755 "$policy" || return 1
	fi

	$as_root mkdir -p "$(dirname "$no_cluster")" || return 1
	echo 'create_main_cluster = false' | $as_root tee "$no_cluster" >/dev/null || return 1

	# sudo drops the environment, so the settings are part of the command.
	apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120"
	$apt update </dev/null || return 1
	# shellcheck disable=SC2086
	$apt install -y --no-install-recommends $packages </dev/null || return 1

	lift_policy
	if command -v systemctl >/dev/null; then
		for package in $packages; do
			case $package in
			redis-*) $as_root systemctl disable "$package" >/dev/null 2>&1 || true ;;
			nginx-*) $as_root systemctl disable nginx >/dev/null 2>&1 || true ;;
			postgresql) $as_root systemctl disable postgresql >/dev/null 2>&1 || true ;;
			esac
		done
	fi
}

# The packages of a folder: of gateway/web, which the tests of the page and the
# browser tests use, or of internal/filetest/node, which read files that Tidemark
# writes; none of them is needed to build or run Tidemark. A copy of the lock file
# that they came from lies beside them: ages say nothing once git has switched
# branches.
install_npm_packages() {
	folder=$(dirname "$0")/../../$1
	installed=$folder/node_modules/.installed-lock.json
	if cmp -s "$folder/package-lock.json" "$installed"; then
		return 0
	fi
	echo "setup: installing the npm packages of $1"
	if ! npm ci --prefix "$folder" --include=dev --no-audit --no-fund --no-update-notifier --loglevel=error </dev/null >&2; then
		echo 'setup: npm ci failed (see above); is its registry within reach?' >&2
		exit 1
	fi
	cp "$folder/package-lock.json" "$installed"
}

# The S3 server of the tests, which the go command builds once and keeps in its cache. The tests
# ask for the same, see internal/s3test.
build_s3_server() {
	if ! (cd "$(dirname "$0")/../s3test/versitygw" && GOFLAGS='' GOWORK=off CGO_ENABLED=0 go tool -n versitygw >/dev/null); then
		echo 'setup: building the S3 server of the tests failed (see above); is the Go module proxy within reach?' >&2
		exit 1
	fi
}

probe_all
if [ -n "$missing" ]; then
	command -v apt-get >/dev/null || give_up 'there is no apt-get here to install with'
	as_root=$(find_root) || give_up 'installing needs root or sudo without a password'

	printf 'setup: installing%s\n' "$packages"
	install_packages || give_up 'apt-get failed (see above)'

	probe_all
	if [ -n "$missing" ]; then
		give_up 'the packages are installed, but something still does not serve'
	fi
fi
install_npm_packages gateway/web
install_npm_packages internal/filetest/node
build_s3_server
