//! Peers that keep to the rules, and some that fall silent.

use std::sync::Arc;
use std::time::Duration;

use outrigger_svc::{Body, Drain};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Puppet, put_call};
use crate::framing::frame::{FrameHead, HEAD, Kind, Settings, flag, put_go_away, put_ping, reason};
use crate::framing::hpack::Encoder;
use crate::tests::{App, call_of, settings, soon, spawn_server};
use crate::{Framing, Link, Reply, ReplyStatus};

#[tokio::test]
async fn a_server_greets_before_the_client_does() {
    let (mut near, far) = tokio::io::duplex(1000);
    let drain = Drain::new();
    spawn_server(far, App::echo(), settings(Framing::Own), &drain);
    let mut head = [0; HEAD];
    soon(near.read_exact(&mut head)).await.unwrap();
    assert_eq!(FrameHead::read(&head).unwrap().kind, Kind::Settings);
}

#[tokio::test]
async fn a_call_by_hand_is_answered_in_three_frames() {
    let mut puppet = Puppet::new(App::echo()).await;
    puppet.send(|out| put_call(out, &mut Encoder::new(), 1)).await;
    let head = puppet.next(Kind::Headers).await;
    assert_eq!((head.head.stream, head.head.flags), (1, flag::END_HEADERS));
    let data = puppet.receive().await.unwrap();
    assert_eq!((data.head.kind, data.head.flags), (Kind::Data, 0));
    let end = puppet.receive().await.unwrap();
    assert_eq!(
        (end.head.kind, end.head.flags),
        (Kind::Headers, flag::END_HEADERS | flag::END_STREAM)
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_asked_and_then_given_up() {
    let mut puppet = Puppet::new(App::echo()).await;
    puppet.next(Kind::Settings).await;
    let start = tokio::time::Instant::now();
    let mut io = puppet.io;
    let mut bytes = Vec::new();
    io.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(15));
    let heads: Vec<_> = (0..bytes.len())
        .filter_map(|at| FrameHead::read(&bytes[at..]))
        .collect();
    assert!(
        heads
            .iter()
            .any(|head| head.kind == Kind::Ping && head.len == 8 && head.stream == 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_hear_the_goodbye_is_left() {
    for words in [&b""[..], b"PRI * HT", &super::greeting()] {
        let (mut near, far) = tokio::io::duplex(64 << 10);
        let drain = Drain::new();
        spawn_server(far, App::echo(), settings(Framing::Own), &drain);
        near.write_all(words).await.unwrap();
        let start = tokio::time::Instant::now();
        assert!(drain.run(Some(Duration::from_secs(60))).await);
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_asks_a_silent_server_and_gives_it_up() {
    let (near, mut far) = tokio::io::duplex(64 << 10);
    let link = Link::connect(near, "callee:1".into(), Arc::new(settings(Framing::Own)))
        .await
        .unwrap();
    let mut greeting = Vec::new();
    Settings::default().write(&mut greeting);
    far.write_all(&greeting).await.unwrap();
    let start = tokio::time::Instant::now();
    let error = link
        .call(&mut call_of("m", Body::empty()), None)
        .await
        .unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(15));
    assert_eq!(
        error.to_string(),
        "rpc error: code = Unavailable desc = error reading from server: keepalive ping failed to receive ACK within \
         timeout"
    );
    assert!(!link.is_open());
}

#[tokio::test]
async fn streams_beyond_a_goodbye_are_known_to_be_unprocessed() {
    let (near, mut far) = tokio::io::duplex(64 << 10);
    let link = Link::connect(near, "callee:1".into(), Arc::new(settings(Framing::Own)))
        .await
        .unwrap();
    let mut bytes = Vec::new();
    Settings::default().write(&mut bytes);
    put_go_away(&mut bytes, 0, reason::NO_ERROR, b"");
    let mut call = call_of("m", Body::empty());
    let (attempt, sent) = tokio::join!(
        soon(link.attempt(&mut call, Body::empty(), None, link.checkout())),
        far.write_all(&bytes)
    );
    sent.unwrap();
    assert!(attempt.unwrap_err().unprocessed);
    assert!(!link.is_open());
}

#[tokio::test]
async fn a_client_keeps_to_the_streams_that_a_server_takes() {
    let (near, far) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move {
        let mut connection = h2::server::Builder::new()
            .max_concurrent_streams(2)
            .handshake::<_, bytes::Bytes>(far)
            .await
            .unwrap();
        let mut open = Vec::new();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let head = http::Response::builder()
                .header("content-type", "application/grpc")
                .body(())
                .unwrap();
            let mut send = respond.send_response(head, false).unwrap();
            let mut message = Vec::new();
            let reply = Reply {
                status: ReplyStatus::new(200),
                ..Reply::default()
            };
            crate::codec::encode_response_chunk(&mut message, usize::MAX, &reply, false, None).unwrap();
            send.send_data(message.into(), false).unwrap();
            open.push(send);
        }
    });
    let link = Link::connect(near, "callee:1".into(), Arc::new(settings(Framing::Own)))
        .await
        .unwrap();
    let one = soon(link.call(&mut call_of("m", Body::empty()), None))
        .await
        .unwrap();
    let two = soon(link.call(&mut call_of("m", Body::empty()), None))
        .await
        .unwrap();
    let mut call = call_of("m", Body::empty());
    let mut three = std::pin::pin!(link.call(&mut call, None));
    for _ in 0..100 {
        assert!(futures_util::poll!(&mut three).is_pending());
        tokio::task::yield_now().await;
    }
    drop(one);
    assert_eq!(soon(three).await.unwrap().status.code, 200);
    drop(two);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_does_not_keep_a_closing_connection() {
    let (mut near, far) = tokio::io::duplex(100);
    let drain = Drain::new();
    spawn_server(far, App::echo(), settings(Framing::Own), &drain);
    let start = tokio::time::Instant::now();
    near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert!(soon(drain.run(None)).await);
    assert!(start.elapsed() <= Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_idle_says_goodbye_in_two_words() {
    let mut puppet = Puppet::new(App::echo()).await;
    puppet.send(|out| put_call(out, &mut Encoder::new(), 1)).await;
    let start = tokio::time::Instant::now();
    let first = loop {
        let received = puppet.receive_ever().await.unwrap();
        match received.head.kind {
            Kind::Ping => {
                puppet
                    .send(|out| put_ping(out, flag::ACK, &received.payload))
                    .await
            }
            Kind::GoAway => break received,
            _ => {}
        }
    };
    assert_eq!(start.elapsed(), Duration::from_secs(180));
    assert_eq!(first.payload[..4], [0x7f, 0xff, 0xff, 0xff]);
    let ping = puppet.next(Kind::Ping).await;
    puppet.send(|out| put_ping(out, flag::ACK, &ping.payload)).await;
    let second = puppet.next(Kind::GoAway).await;
    assert_eq!(second.payload[..4], [0, 0, 0, 1]);
    assert!(puppet.receive_ever().await.is_none());
    assert_eq!(start.elapsed(), Duration::from_secs(180));
}
