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
// analyze, export, upload and download --json print
//
//	{"type":"taking","file":"orders.csv","done":1048576,"total":31457280,"doing":"reading"}
//	{"type":"job","file":"orders.csv","percent":61.4,"job":{…}}    the job's view, as in a record, and the percent to show
//	{"type":"note","text":"…"}                                     a sentence for a person
//
// and of each file what has become of it:
//
//	{"type":"profile","file":"orders.csv","job":"0701…","path":"…","profile":{…}}
//	{"type":"export","output":"orders.xlsx","job":"0701…","dataset":"0701…","artifact":"0701….export.xlsx",
//	 "size":1234,"sha256":"…","rows":100,"columns":7}
//	{"type":"upload","file":"orders.csv","job":"0701…","state":"succeeded"}
//	{"type":"download","output":"orders.xlsx","artifact":"0701….export.xlsx","size":1234,"sha256":"…"}
//
// taking shows a file that is read before it has a job, or what is written here. With --server a
// file is only hashed before it has a job, the job's own records show the upload, and the path of a
// profile is its address.
//
// up --json and gateway --json print one line once they serve, in which addr has the
// real port:
//
//	{"type":"up","addr":"127.0.0.1:8080","page":"…","jobs":"…","websocket":"…","asynq":"…","redis":"…",
//	 "redis_kind":"server","redis_url":"unix:///…","data":"tidemark-data","topic":"user:demo","auth":"dev","announcement":"…","worker":true}
//
// # Where jobs are
//
// Commands about jobs have a session.Store: an engine on Redis, or, with --server, a client of a
// gateway, which gives the same answers and the same errors. Commands about files are in package
// files; package screen shows how far jobs are.
package cli
