// Package media is the phone side of the stand-in's audio: SDP, RTP, SRTP,
// telephone-event, G.711, G.722, and the mix of room audio sent to the phone.
//
// Everything observable (SDP bytes, codec choice, DTMF packets and timing) is
// written from recordings of the real SIP service; where no recording exists
// the comment says so.
//
// # Building
//
// The package uses cgo: libopus (pkg-config opus) and libspandsp for G.722.
// On Debian: apt-get install libopus-dev libspandsp-dev pkg-config.
//
// Every go command that compiles this package should carry
//
//	-tags nolibopusfile
//
// (or GOFLAGS=-tags=nolibopusfile). Without the tag the Opus binding also
// compiles its Ogg file reader and then needs libopusfile-dev. Nothing here
// uses that reader, so both builds behave the same.
//
// # Clocks and buffers
//
// Audio inside the package is mono int16. [Session.ReadPCM] and
// [Mixer.PlayPCM] speak 48000 Hz; the mix runs at the phone codec's own rate
// (8000 or 16000 Hz), because Opus decodes straight to that rate. One
// goroutine reads the socket, one sends RTP every 20 ms; the reader of
// ReadPCM is paced by ReadPCM itself.
package media
