package call

import (
	"encoding/base64"
	"errors"
	"testing"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/psrpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// The recorded error_details (status proto, base64) are the truth.
func TestInviteError(t *testing.T) {
	for _, c := range []struct {
		code     int
		reason   string
		want     psrpc.ErrorCode
		recorded string
	}{
		{302, "Moved Temporarily", psrpc.NotFound, "CAUSSnVuZXhwZWN0ZWQgc3RhdHVzIGZyb20gSU5WSVRFIHJlc3BvbnNlOiBzaXAgc3RhdHVzOiAzMDI6IE1vdmVkIFRlbXBvcmFyaWx5Gj8KJXR5cGUuZ29vZ2xlYXBpcy5jb20vbGl2ZWtpdC5TSVBTdGF0dXMSFgiuAhIRTW92ZWQgVGVtcG9yYXJpbHk="},
		{404, "Not Found", psrpc.NotFound, "CAUSKUlOVklURSBmYWlsZWQ6IHNpcCBzdGF0dXM6IDQwNDogTm90IEZvdW5kGjcKJXR5cGUuZ29vZ2xlYXBpcy5jb20vbGl2ZWtpdC5TSVBTdGF0dXMSDgiUAxIJTm90IEZvdW5k"},
		{486, "User is sleeping", psrpc.FailedPrecondition, "CAkSMElOVklURSBmYWlsZWQ6IHNpcCBzdGF0dXM6IDQ4NjogVXNlciBpcyBzbGVlcGluZxo+CiV0eXBlLmdvb2dsZWFwaXMuY29tL2xpdmVraXQuU0lQU3RhdHVzEhUI5gMSEFVzZXIgaXMgc2xlZXBpbmc="},
		{487, "Request Terminated", psrpc.Aborted, "CAoSS3VuZXhwZWN0ZWQgc3RhdHVzIGZyb20gSU5WSVRFIHJlc3BvbnNlOiBzaXAgc3RhdHVzOiA0ODc6IFJlcXVlc3QgVGVybWluYXRlZBpACiV0eXBlLmdvb2dsZWFwaXMuY29tL2xpdmVraXQuU0lQU3RhdHVzEhcI5wMSElJlcXVlc3QgVGVybWluYXRlZA=="},
		{504, "Gateway Time-out", psrpc.DeadlineExceeded, "CAQSSXVuZXhwZWN0ZWQgc3RhdHVzIGZyb20gSU5WSVRFIHJlc3BvbnNlOiBzaXAgc3RhdHVzOiA1MDQ6IEdhdGV3YXkgVGltZS1vdXQaPgoldHlwZS5nb29nbGVhcGlzLmNvbS9saXZla2l0LlNJUFN0YXR1cxIVCPgDEhBHYXRld2F5IFRpbWUtb3V0"},
		{600, "Busy Everywhere", psrpc.ResourceExhausted, "CAgSSHVuZXhwZWN0ZWQgc3RhdHVzIGZyb20gSU5WSVRFIHJlc3BvbnNlOiBzaXAgc3RhdHVzOiA2MDA6IEJ1c3kgRXZlcnl3aGVyZRo9CiV0eXBlLmdvb2dsZWFwaXMuY29tL2xpdmVraXQuU0lQU3RhdHVzEhQI2AQSD0J1c3kgRXZlcnl3aGVyZQ=="},
		{603, "Decline", psrpc.PermissionDenied, "CAcSQHVuZXhwZWN0ZWQgc3RhdHVzIGZyb20gSU5WSVRFIHJlc3BvbnNlOiBzaXAgc3RhdHVzOiA2MDM6IERlY2xpbmUaNQoldHlwZS5nb29nbGVhcGlzLmNvbS9saXZla2l0LlNJUFN0YXR1cxIMCNsEEgdEZWNsaW5l"},
		{699, "Strange", psrpc.InvalidArgument, "CAMSQHVuZXhwZWN0ZWQgc3RhdHVzIGZyb20gSU5WSVRFIHJlc3BvbnNlOiBzaXAgc3RhdHVzOiA2OTk6IFN0cmFuZ2UaNQoldHlwZS5nb29nbGVhcGlzLmNvbS9saXZla2l0LlNJUFN0YXR1cxIMCLsFEgdTdHJhbmdl"},
	} {
		check(t, InviteError(c.code, c.reason), c.want, c.recorded)
	}
	check(t, SIPError("call transfer failed", 202, "Accepted"), psrpc.Unknown,
		"CAISL2NhbGwgdHJhbnNmZXIgZmFpbGVkOiBzaXAgc3RhdHVzOiAyMDI6IEFjY2VwdGVkGjYKJXR5cGUuZ29vZ2xlYXBpcy5jb20vbGl2ZWtpdC5TSVBTdGF0dXMSDQjKARIIQWNjZXB0ZWQ=")
	check(t, SIPError("", 603, "Decline"), psrpc.PermissionDenied,
		"CAcSGHNpcCBzdGF0dXM6IDYwMzogRGVjbGluZRo1CiV0eXBlLmdvb2dsZWFwaXMuY29tL2xpdmVraXQuU0lQU3RhdHVzEgwI2wQSB0RlY2xpbmU=")
}

func check(t *testing.T, err error, want psrpc.ErrorCode, recorded string) {
	t.Helper()
	var pe psrpc.Error
	if !errors.As(err, &pe) || pe.Code() != want {
		t.Errorf("%v: code %v, want %v", err, pe, want)
		return
	}
	st, _ := status.FromError(err)
	got, _ := proto.Marshal(st.Proto())
	if enc := base64.StdEncoding.EncodeToString(got); enc != recorded {
		t.Errorf("%v: details\n%s, recorded\n%s", err, enc, recorded)
	}
}

func TestRefusedReason(t *testing.T) {
	for code, want := range map[int]livekit.DisconnectReason{
		302: livekit.DisconnectReason_CLIENT_INITIATED, 500: livekit.DisconnectReason_CLIENT_INITIATED,
		403: livekit.DisconnectReason_USER_REJECTED, 486: livekit.DisconnectReason_USER_REJECTED,
		603: livekit.DisconnectReason_USER_REJECTED, 404: livekit.DisconnectReason_USER_UNAVAILABLE,
		480: livekit.DisconnectReason_USER_UNAVAILABLE,
	} {
		if got := RefusedReason(code); got != want {
			t.Errorf("%d: %v, want %v", code, got, want)
		}
	}
}
