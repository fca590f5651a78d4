#!/bin/sh
# From `go get` to a job of your own on a page of your own, step by step as the README has it under
# "Ten minutes", with the program and the page that stand there and in docs/protocol.md:
#
#   examples/ten-minutes.sh [FOLDER]
#
# It works in FOLDER, or in a new temporary one, and serves until Ctrl-C. ADDR is where the gateway
# listens, 127.0.0.1:8080 unless set, and PAGE where the page is, localhost:8000.
#
# The module is not published yet. So the script installs the command from this checkout, and the
# program's go.mod replaces the module by it. Everything else is what the README says.
set -eu

module=github.com/tidemark-dev/tidemark
checkout=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$(mktemp -d)}
addr=${ADDR:-127.0.0.1:8080}
page=${PAGE:-localhost:8000}

say() { printf '\n== %s\n' "$*"; }

# block FILE HEADING LANGUAGE prints the first block of a language under a heading, for these addresses.
block() {
	awk -v heading="$2" -v fence="\`\`\`$3" '
		$0 == heading { under = 1; next }
		under && $0 == fence { inside = 1; next }
		inside && $0 == "```" { exit }
		inside' "$1" | sed "s|127\\.0\\.0\\.1:8080|$addr|g; s|localhost:8000|$page|g" | grep .
}

running=
stop() {
	trap - INT TERM EXIT
	for pid in $running; do kill "$pid" 2>/dev/null || true; done
	wait
}
trap stop EXIT
trap 'stop; exit 0' INT TERM

mkdir -p "$folder/orders"
cd "$folder"

say "go install $module@latest"
(cd "$checkout" && GOBIN="$folder/bin" go install -buildvcs=false .)

say "tidemark up, which lets the page of http://$page connect"
mkfifo up program
"$folder/bin/tidemark" up --json --data "$folder/tidemark-data" --addr "$addr" --set "auth.origins=http://$page" >up &
running=$!
exec 3<up
read -r whereabouts <&3 # it is up once it says where
redis=$(printf '%s\n' "$whereabouts" | sed -n 's|.*"redis_url":"\([^"]*\)".*|\1|p')
if [ -z "$redis" ]; then
	echo "There is no redis-server or valkey-server here, and no other program reaches an embedded Redis: install one." >&2
	exit 1
fi

say "a module of your own: go mod init, go get $module"
cd orders
go mod init example.com/orders
go mod edit -replace "$module=$checkout"
cp "$checkout/go.sum" .
block "$checkout/README.md" '## Ten minutes' go >main.go
block "$checkout/docs/protocol.md" '## The smallest right client' js >follow.js
block "$checkout/docs/protocol.md" '## The smallest right client' html >index.html
go get "$module@v0.0.0" # any version is the checkout
go vet .
go build -o orders .

say "go run . $redis"
./orders "$redis" >../program 2>&1 &
running="$! $running"
exec 4<../program
while read -r line <&4; do
	printf '%s\n' "$line"
	case $line in *"made job "*) break ;; esac
done
job=${line##*made job }
cat <&4 & # what else it says
running="$running $!"

say "your page: http://$page/"
say "tidemark watch $job"
"$folder/bin/tidemark" watch "$job" --server "http://$addr"

say "done: Ctrl-C stops all of it; the files are in $folder"
wait
