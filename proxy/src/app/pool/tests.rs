use std::net::SocketAddr;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::app::testing;

fn pool(address: SocketAddr, settings: PoolSettings) -> Pool {
    let origin = Origin {
        host: address.ip().to_string().into(),
        port: address.port(),
        tls: false,
    };
    Pool::new(origin, testing::dialer(), settings)
}

fn get(path: &str) -> http::Request<Body> {
    http::Request::get(path)
        .header("host", "app")
        .body(Body::empty())
        .unwrap()
}

async fn text(response: http::Response<PooledBody>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

#[tokio::test]
async fn a_connection_is_used_again_when_the_body_has_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = pool(listener.local_addr().unwrap(), PoolSettings::default());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for path in ["/one", "/two"] {
            let head = read_head(&mut stream).await;
            assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{head}");
            assert!(head.contains("\r\nHost: app\r\n"), "{head}");
            stream.write_all(HELLO).await.unwrap();
        }
    });
    assert_eq!(text(pool.send(get("/one")).await.unwrap()).await, "hello");
    assert_eq!(text(pool.send(get("/two")).await.unwrap()).await, "hello");
    server.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_ended_while_idle_is_not_used() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = pool(listener.local_addr().unwrap(), PoolSettings::default());
    let server = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(HELLO).await.unwrap();
        }
    });
    assert_eq!(text(pool.send(get("/")).await.unwrap()).await, "hello");
    assert_eq!(text(pool.send(get("/")).await.unwrap()).await, "hello");
    server.await.unwrap();
}

#[tokio::test]
async fn a_request_that_was_sent_is_not_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = pool(listener.local_addr().unwrap(), PoolSettings::default());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        drop(stream);
        listener
    });
    let error = pool.send(get("/")).await.unwrap_err();
    assert_eq!(error.to_string(), "EOF");
    let listener = server.await.unwrap();
    let more = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
    assert!(more.is_err());
}

#[tokio::test]
async fn beyond_the_limit_a_request_waits_for_a_returned_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let limit = PoolSettings {
        max_connections: 1,
        ..PoolSettings::default()
    };
    let first = pool(listener.local_addr().unwrap(), limit);
    let second = first.for_worker();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..3 {
            read_head(&mut stream).await;
            stream.write_all(HELLO).await.unwrap();
        }
    });
    let response = first.send(get("/")).await.unwrap();
    let waiting = second.send(get("/"));
    let mut waiting = std::pin::pin!(waiting);
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert_eq!(text(response).await, "hello");
    assert_eq!(text(waiting.await.unwrap()).await, "hello");
    // The connection now lies with the second worker; the first takes it from there.
    assert_eq!(text(first.send(get("/")).await.unwrap()).await, "hello");
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = pool(listener.local_addr().unwrap(), PoolSettings::default());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(HELLO).await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        Instant::now()
    });
    let begun = Instant::now();
    assert_eq!(text(pool.send(get("/")).await.unwrap()).await, "hello");
    let closed = server.await.unwrap() - begun;
    assert!(closed >= Duration::from_secs(90), "{closed:?}");
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = pool(listener.local_addr().unwrap(), PoolSettings::default());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        let long = "x".repeat(5000);
        let head = format!("HTTP/1.1 200 OK\r\nlong: {long}\r\ncontent-length: 0\r\n\r\n");
        // The other end may have hung up before it has read all of it.
        drop(stream.write_all(head.as_bytes()).await);
    });
    let error = pool.send(get("/")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "net/http: server response headers exceeded the limit; aborted"
    );
    server.await.unwrap();
}
