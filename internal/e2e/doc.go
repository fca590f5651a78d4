// Package e2e holds tests that run the built program from outside, as strangers'
// clients do: a browser, tus-js-client, and a raw client in Node that is written from
// docs/protocol.md alone and shares no code with ours.
//
// A test starts the gateway and the worker as processes of their own on a folder of
// its own, puts a [wire] between client and gateway that throttles, cuts and refuses,
// and drives a Node script that prints what it sees as lines of JSON:
//
//	test ──commands──▶ script ──HTTP, WebSocket──▶ wire ──▶ gateway ─┐
//	     ◀───events───                                               ├─ data folder
//	     ◀───────────── records: "tidemark watch" ───────────────────┤  with its Redis
//	     ───── stop, go on ─────────────────────────────▶ worker ────┘
//
// Nothing waits for time to pass, apart from the ten seconds for which a network is
// gone. How far the analysis may come is the test's to say: the worker is stopped
// like a process that got no CPU (SIGSTOP), and goes on when told to.
//
// Node.js, the packages of gateway/web, Chromium and nginx are needed; internal/setup/setup.sh
// installs them. TIDEMARK_SCREENSHOTS names a folder for pictures of the page, which axe
// has looked at as well.
package e2e
