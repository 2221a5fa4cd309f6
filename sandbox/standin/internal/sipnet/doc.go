// Package sipnet is the SIP wire of the stand-in: sockets, transactions and
// the building of messages.
//
// Messages are parsed and rendered by emiago/sipgo. Its transport and
// transaction layers are not used: what the stand-in is measured by are the
// real service's quirks on the wire (silence where RFC 3261 wants an answer,
// three transmissions of an unacknowledged 200, CANCEL left unanswered after a
// dropped call, no automatic 100), and those sit exactly in these layers.
package sipnet
