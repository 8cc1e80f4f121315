//! Peers that break the rules.

use super::{Puppet, put_call};
use crate::framing::frame::{
    Kind, Settings, flag, put_block, put_head, put_ping, put_reset, put_window_update, reason,
};
use crate::framing::hpack::Encoder;
use crate::tests::App;
use crate::transport::Rpc;

#[tokio::test]
async fn violations_end_the_connection_with_their_code() {
    type Write = fn(&mut Vec<u8>);
    let cases: [(&str, Write, u32); 17] = [
        (
            "data on no stream",
            |out| put_head(out, 0, Kind::Data, 0, 0),
            reason::PROTOCOL_ERROR,
        ),
        (
            "data on an idle stream",
            |out| put_head(out, 0, Kind::Data, 0, 5),
            reason::PROTOCOL_ERROR,
        ),
        (
            "headers on an even stream",
            |out| put_block(out, 2, 0, b"\x82", 100),
            reason::PROTOCOL_ERROR,
        ),
        (
            "a block that cannot be read",
            |out| put_block(out, 1, 0, b"\x80", 100),
            reason::COMPRESSION_ERROR,
        ),
        (
            "a continuation of nothing",
            |out| put_head(out, 0, Kind::Continuation, 0, 1),
            reason::PROTOCOL_ERROR,
        ),
        (
            "a ping inside a block",
            |out| {
                put_head(out, 1, Kind::Headers, 0, 1);
                out.push(0x82);
                put_ping(out, 0, &[0; 8]);
            },
            reason::PROTOCOL_ERROR,
        ),
        (
            "a frame that is too long",
            |out| put_head(out, 1 << 20, Kind::Data, 0, 1),
            reason::FRAME_SIZE_ERROR,
        ),
        (
            "a ping on a stream",
            |out| put_head(out, 8, Kind::Ping, 0, 1),
            reason::PROTOCOL_ERROR,
        ),
        (
            "a short ping",
            |out| put_ping(out, 0, &[0; 7]),
            reason::FRAME_SIZE_ERROR,
        ),
        (
            "a push",
            |out| put_head(out, 0, Kind::Push, 0, 1),
            reason::PROTOCOL_ERROR,
        ),
        (
            "a reset of an idle stream",
            |out| put_reset(out, 7, 8),
            reason::PROTOCOL_ERROR,
        ),
        (
            "no window",
            |out| put_window_update(out, 0, 0),
            reason::PROTOCOL_ERROR,
        ),
        (
            "too large a window",
            |out| put_window_update(out, 0, (1 << 31) - 1),
            reason::FLOW_CONTROL_ERROR,
        ),
        (
            "too large a window for streams",
            |out| {
                put_call(out, &mut Encoder::new(), 1);
                put_window_update(out, 0, 1);
                let settings = Settings {
                    initial_window_size: Some(u32::MAX),
                    ..Settings::default()
                };
                settings.write(out);
            },
            reason::FLOW_CONTROL_ERROR,
        ),
        (
            "an acknowledgement with content",
            |out| put_head(out, 6, Kind::Settings, flag::ACK, 0),
            reason::FRAME_SIZE_ERROR,
        ),
        (
            "settings of odd length",
            |out| {
                put_head(out, 5, Kind::Settings, 0, 0);
                out.extend_from_slice(&[0; 5]);
            },
            reason::FRAME_SIZE_ERROR,
        ),
        (
            "padding beyond the frame",
            |out| {
                put_call(out, &mut Encoder::new(), 1);
                put_head(out, 2, Kind::Data, flag::PADDED, 1);
                out.extend_from_slice(&[9, 0]);
            },
            reason::PROTOCOL_ERROR,
        ),
    ];
    for (name, write, code) in cases {
        let mut puppet = Puppet::new(App::new(|_, _| std::future::pending())).await;
        puppet.send(write).await;
        puppet.send(|out| out.extend_from_slice(&[0; 64])).await;
        assert_eq!(puppet.goodbye().await.0, code, "{name}");
    }
}

#[tokio::test]
async fn floods_end_the_connection() {
    type Write = fn(&mut Vec<u8>, u32);
    let cases: [(&str, Write); 6] = [
        ("settings", |out, _| Settings::default().write(out)),
        ("priorities", |out, _| {
            put_head(out, 5, Kind::Priority, 0, 1);
            out.extend_from_slice(&[0, 0, 0, 0, 1]);
        }),
        ("unknown frames", |out, _| {
            out.extend_from_slice(&[0, 0, 0, 77, 0, 0, 0, 0, 0])
        }),
        ("empty data", |out, number| {
            if number == 0 {
                put_call(out, &mut Encoder::new(), 1);
            }
            put_head(out, 0, Kind::Data, 0, 1);
        }),
        ("resets", |out, number| {
            let mut encoder = Encoder::new();
            encoder.limit_table(0);
            put_call(out, &mut encoder, 2 * number + 1);
            put_reset(out, 2 * number + 1, reason::CANCEL);
        }),
        ("continuations", |out, number| {
            let kind = if number == 0 {
                Kind::Headers
            } else {
                Kind::Continuation
            };
            put_head(out, 0, kind, 0, 1);
        }),
    ];
    for (name, write) in cases {
        let mut puppet = Puppet::new(App::new(|_, _| std::future::pending())).await;
        for number in 0..5000 {
            puppet.send(|out| write(out, number)).await;
        }
        assert_eq!(puppet.goodbye().await.0, reason::ENHANCE_YOUR_CALM, "{name}");
    }
}

#[tokio::test]
async fn too_many_pings_are_named_in_the_goodbye() {
    let mut puppet = Puppet::new(App::echo()).await;
    for number in 0..4 {
        puppet.send(|out| put_ping(out, 0, &[number; 8])).await;
    }
    for number in 0..4 {
        let pong = puppet.next(Kind::Ping).await;
        assert_eq!((pong.head.flags, pong.payload), (flag::ACK, vec![number; 8]));
    }
    assert_eq!(
        puppet.goodbye().await,
        (reason::ENHANCE_YOUR_CALM, "too_many_pings".to_owned())
    );
}

#[tokio::test]
async fn pings_that_answer_messages_are_welcome() {
    let mut puppet = Puppet::new(App::echo()).await;
    let mut encoder = Encoder::new();
    for number in 0..20_u32 {
        puppet
            .send(|out| put_call(out, &mut encoder, 2 * number + 1))
            .await;
        puppet.next(Kind::Data).await;
        puppet.send(|out| put_ping(out, 0, b"bdp ping")).await;
        assert_eq!(puppet.next(Kind::Ping).await.payload, b"bdp ping");
    }
}

#[tokio::test]
async fn a_header_list_over_the_limit_costs_only_its_stream() {
    let mut puppet = Puppet::with(App::echo(), |settings| settings.max_header_list = 1000).await;
    let mut encoder = Encoder::new();
    puppet
        .send(|out| {
            let mut block = Vec::new();
            encoder.call(&mut block, Rpc::Stream, "callee:1", None);
            block.extend_from_slice(b"\x00\x01a\x7f\xff\x06");
            block.extend_from_slice(&[b'x'; 127 + 0x37f]);
            put_block(out, 1, 0, &block, 16_384);
            put_call(out, &mut encoder, 3);
        })
        .await;
    assert_eq!(puppet.next(Kind::Reset).await.head.stream, 1);
    assert_eq!(puppet.next(Kind::Headers).await.head.stream, 3);
}

#[tokio::test]
async fn more_data_than_the_window_allows_costs_the_stream() {
    let app = App::new(|_, _| std::future::pending());
    let mut puppet = Puppet::with(app, |settings| {
        settings.stream_window = 10_000;
        settings.connection_window = 65_535;
    })
    .await;
    let mut encoder = Encoder::new();
    let put_much = |out: &mut Vec<u8>, stream| {
        put_head(out, 11_000, Kind::Data, 0, stream);
        out.extend_from_slice(&[0; 11_000]);
    };
    puppet
        .send(|out| {
            let mut block = Vec::new();
            encoder.call(&mut block, Rpc::Stream, "callee:1", None);
            put_block(out, 1, 0, &block, 16_384);
            put_much(out, 1);
        })
        .await;
    let reset = puppet.next(Kind::Reset).await;
    assert_eq!((reset.head.stream, reset.payload), (1, vec![0, 0, 0, 3]));
    // What comes late on the stream counts for the connection, and is given back to it.
    puppet.send(|out| put_much(out, 1)).await;
    assert_eq!(puppet.next(Kind::WindowUpdate).await.head.stream, 0);
}
