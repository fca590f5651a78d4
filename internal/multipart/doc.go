// Package multipart writes objects of S3 whose bytes arrive in pieces, at any of several processes.
//
// An object that is not whole yet has a state beside it: a small JSON object that says which bytes
// are durable. A process that adds bytes holds the state, and a process that was lost is noticed by
// whichever wants it next. The bucket alone decides; no other service, and no clock, is trusted.
//
//	<dir>/open/<name>.json           the state
//	<dir>/tails/<name>/<fence>-<x>   bytes at the end that are less than a part
//	<target>                         the object, once all bytes are there
//
// # The fence
//
// Every change of a state is a conditional write: it is made if nobody has changed the state since
// it was read. A hold has a number, the fence, which grows with each hold. So a holder that was
// frozen, and passed over, changes nothing when it wakes: its next write fails with [ErrLost].
//
// A process that wants a held state asks for it, in the state. A holder that lives looks each
// second, makes its bytes durable and lets go. One that has not done so 5 s later is passed over.
//
// # Late parts
//
// S3 accepts a part whenever it comes, and a part replaces an earlier one with its number. So a
// part counts only once the state names it with its ETag, the object is made of those parts alone,
// and no two holders use a number: a part number that a lost holder may have sent is left out.
// A part or a tail that comes late therefore changes no object. [Store.Sweep] deletes it.
//
// # Bounds
//
// All parts of an object have one size, 8 to 64 MiB by the object's size, but the last. An object
// has at most 10,000 parts, of which 1,000 are for numbers that are left out; so it has at most
// [MaxBytes]. A writer keeps up to one part in memory, and all writers of a Store together 256 MiB.
package multipart
