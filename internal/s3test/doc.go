// Package s3test starts S3 servers for tests: versitygw as a process on a folder, behind a proxy
// that counts requests and makes them fail.
//
// [Start] gives a server with one empty bucket. Its URL and CredentialsFile are what the settings
// storage.url and storage.credentials_file take; a child process may have Env instead. [Server.Fail]
// makes requests fail from then on, and [Server.Counts] says how many there were of each kind.
//
// The go command builds versitygw once and keeps it in its cache, from the module in the folder
// versitygw. The first build downloads that module's dependencies and takes minutes;
// internal/setup/setup.sh does it before the tests.
package s3test
