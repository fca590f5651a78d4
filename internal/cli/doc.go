// Package cli is the command line.
//
// A command writes its result to standard output and everything else, bars and
// errors included, to standard error; watch, whose result is how jobs go, writes that
// to standard output. Bars are for terminals; elsewhere there are lines, a line for
// each milestone and at most one a second for a job's progress.
//
// # Lines of JSON
//
// watch --json prints one JSON object a line. A record of the topic is printed byte
// for byte as it stands in the stream; its type begins with "job." or
// "notification.". Between the records stand
//
//	{"type":"snapshot","reason":"fresh","part":1,"jobs":[…]}       the present state of the jobs, in parts; part 1 begins it
//	                                                               anew. reason is fresh, trimmed or rewritten. The last part
//	                                                               has "final":true and "cursor": what follows begins there
//	{"type":"live","cursor":"…"}                                   all there was has been printed
//	{"type":"interrupted","cursor":"…","error":"…"}                Redis or the server is away; the printing goes on by itself
//
// cursor is what --after takes to go on from there.
//
// analyze --json prints
//
//	{"type":"taking","file":"orders.csv","done":1048576,"total":31457280}
//	{"type":"job","file":"orders.csv","percent":61.4,"job":{…}}    the job's view, as in a record, and the percent to show
//	{"type":"note","text":"…"}                                     a sentence for a person
//	{"type":"profile","file":"orders.csv","job":"0701…","path":"…","profile":{…}}
//
// taking shows a file that is read before it has a job. With --server it is only hashed, the
// job's own records show the upload, and path is the profile's address.
//
// up --json and gateway --json print one line once they serve, in which addr has the
// real port:
//
//	{"type":"up","addr":"127.0.0.1:8080","page":"…","jobs":"…","websocket":"…","asynq":"…","redis":"…",
//	 "redis_kind":"server","redis_url":"unix:///…","data":"tidemark-data","topic":"user:demo","auth":"dev","announcement":"…","worker":true}
//
// # Where jobs are
//
// Commands about jobs have a store: an engine on Redis, or, with --server, a client of a
// gateway, which gives the same answers and the same errors. analyze has a place besides,
// which takes files and gives profiles: here or there.
//
// What is shown of a job's percent never falls: the engine keeps the highest, and a
// board keeps what this process has shown.
package cli
