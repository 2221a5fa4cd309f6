/* Prints the offsets that this package uses. For a maintainer who moves to another PJSIP.
 *
 * In a pjproject checkout of the wheel's version, with an empty pjlib/include/pj/config_site.h:
 *
 *   ./configure --disable-video --disable-ssl
 *   cp pjmedia/src/pjmedia/stream.c all.c    # struct pjmedia_stream is private to it
 *   cat offsets.c >> all.c
 *   gcc -g -w -c -DPJ_AUTOCONF=1 -DPJ_IS_BIG_ENDIAN=0 -DPJ_IS_LITTLE_ENDIAN=1 \
 *       -Ipjlib/include -Ipjlib-util/include -Ipjnath/include -Ipjmedia/include -Ipjsip/include all.c
 *   gdb -batch -ex 'set print elements 0' -ex 'p offsets' all.o
 */
#include <pjsua-lib/pjsua.h>
#include <pjsua-lib/pjsua_internal.h>
#include <stddef.h>

#define OFFSET(type, field) { #type "." #field, offsetof(type, field) }
#define SIZE(type) { "sizeof " #type, sizeof(type) }

const struct { char what[64]; size_t value; } offsets[] = {
    /* settings.py */
    SIZE(pjsua_acc_config),
    OFFSET(pjsua_acc_config, require_100rel),
    OFFSET(pjsua_acc_config, use_timer),
    OFFSET(pjsua_acc_config, allow_contact_rewrite),
    OFFSET(pjsua_acc_config, allow_via_rewrite),
    OFFSET(pjsua_acc_config, use_rfc5626),
    OFFSET(pjsua_acc_config, rtp_cfg.port),
    OFFSET(pjsua_acc_config, rtp_cfg.bound_addr),
    OFFSET(pjsua_acc_config, use_srtp),
    OFFSET(pjsua_acc_config, srtp_secure_signaling),
    OFFSET(pjsip_cfg_t, endpt.disable_tcp_switch),
    SIZE(pjsua_codec_info),
    /* module.py, sip.py, headers.py */
    SIZE(pjsip_module),
    OFFSET(pjsip_module, on_rx_request),
    OFFSET(pjsip_rx_data, tp_info.transport),
    OFFSET(pjsip_rx_data, pkt_info.src_name),
    OFFSET(pjsip_rx_data, pkt_info.src_port),
    OFFSET(pjsip_rx_data, msg_info.msg_buf),
    OFFSET(pjsip_rx_data, msg_info.len),
    OFFSET(pjsip_tx_data, msg),
    OFFSET(pjsip_tx_data, buf.start),
    OFFSET(pjsip_tx_data, buf.cur),
    OFFSET(pjsip_tx_data, tp_info.transport),
    OFFSET(pjsip_tx_data, tp_info.dst_name),
    OFFSET(pjsip_tx_data, tp_info.dst_port),
    OFFSET(pjsip_transport, type_name),
    SIZE(pjsip_hdr),
    SIZE(pjsua_msg_data),
    OFFSET(pjsua_msg_data, hdr_list),
    OFFSET(pjsua_msg_data, content_type),
    OFFSET(pjsua_msg_data, msg_body),
    /* audio.py */
    OFFSET(struct pjsua_data, calls),
    SIZE(pjsua_call),
    OFFSET(pjsua_call, media),
    OFFSET(pjsua_call_media, strm.a.stream),
    OFFSET(struct pjmedia_stream, dtmf_duration),
    OFFSET(pjmedia_port, info.fmt.det.aud.clock_rate),
    OFFSET(pjmedia_port, info.fmt.det.aud.frame_time_usec),
    SIZE(pjmedia_frame),
    /* transport.py */
    OFFSET(struct pjsua_data, ua_cfg.cb.on_create_media_transport),
    OFFSET(pjmedia_transport, type),
    OFFSET(pjmedia_transport, op),
    SIZE(pjmedia_transport_op),
    OFFSET(pjmedia_transport_op, send_rtp),
    OFFSET(pjmedia_transport_op, send_rtcp),
    OFFSET(pjmedia_transport_op, attach2),
    OFFSET(pjmedia_transport_attach_param, rem_addr),
    OFFSET(pjmedia_transport_attach_param, rem_rtcp),
    OFFSET(pjmedia_transport_attach_param, user_data),
    OFFSET(pjmedia_transport_attach_param, rtcp_cb),
    OFFSET(pjmedia_transport_attach_param, rtp_cb2),
    SIZE(pjmedia_tp_cb_param),
    /* stats.py */
    SIZE(pjsua_stream_stat),
    SIZE(pjmedia_transport_info),
    OFFSET(pjmedia_transport_info, src_rtp_name),
    OFFSET(pjmedia_rtcp_stat, tx),
    OFFSET(pjmedia_rtcp_stat, rx),
    OFFSET(pjmedia_rtcp_stat, rtt),
    OFFSET(pjmedia_rtcp_stream_stat, pkt),
    OFFSET(pjmedia_rtcp_stream_stat, bytes),
    OFFSET(pjmedia_rtcp_stream_stat, discard),
    OFFSET(pjmedia_rtcp_stream_stat, loss),
    OFFSET(pjmedia_rtcp_stream_stat, reorder),
    OFFSET(pjmedia_rtcp_stream_stat, dup),
    OFFSET(pjmedia_rtcp_stream_stat, jitter),
    OFFSET(pj_math_stat, mean),
    SIZE(pjsua_stream_info),
    OFFSET(pjsua_stream_info, info.aud.proto),
    OFFSET(pjsua_stream_info, info.aud.dir),
    OFFSET(pjsua_stream_info, info.aud.local_addr),
    OFFSET(pjsua_stream_info, info.aud.rem_addr),
    OFFSET(pjsua_stream_info, info.aud.fmt.encoding_name),
    OFFSET(pjsua_stream_info, info.aud.fmt.clock_rate),
    OFFSET(pjsua_stream_info, info.aud.tx_pt),
    OFFSET(pjsua_stream_info, info.aud.tx_event_pt),
    OFFSET(pjsua_stream_info, info.aud.ssrc),
};
