//! WebSocket from app to app, by a client and a server that know nothing of sidecars.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use outrigger_test_kit::{
    Daprd, DaprdBuilder, Direction, GrpcAnswer, GrpcApp, HttpApp, HttpRequest, HttpResponse, Result, Signal,
    until,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server::Request;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::task::AbortOnDropHandle;

use crate::suite::world::{World, resolving_to};

/// Longest wait for a message.
const SOON: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<TcpStream>;

#[allow(
    clippy::result_large_err,
    reason = "the library wants a response for a refusal"
)]
mod handshake {
    use tokio::net::TcpStream;
    use tokio::sync::mpsc;
    use tokio_tungstenite::accept_hdr_async;
    use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

    /// Accepts a socket with whatever protocol is wanted, and tells of the request; none for ordinary requests.
    pub(super) async fn accept(
        stream: TcpStream,
        opened: &mpsc::UnboundedSender<Request>,
    ) -> Option<super::Socket> {
        let answer = |request: &Request, mut response: Response| {
            opened.send(request.clone()).ok();
            let headers = response.headers_mut();
            headers.insert("x-app", "parrot".parse().expect("a header value"));
            if let Some(protocol) = request.headers().get("sec-websocket-protocol") {
                headers.insert("sec-websocket-protocol", protocol.clone());
            }
            Ok::<_, ErrorResponse>(response)
        };
        accept_hdr_async(stream, answer).await.ok()
    }
}

/// An app that greets with `hello`, and then sends back what it gets.
struct Parrot {
    port: u16,
    /// The requests that opened a socket.
    opened: mpsc::UnboundedReceiver<Request>,
    /// How the sockets ended.
    ended: mpsc::UnboundedReceiver<String>,
    /// Sockets read only while there is a permit.
    may_read: Arc<Semaphore>,
    _task: AbortOnDropHandle<()>,
}

// === impl Parrot ===

impl Parrot {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (tell_opened, opened) = mpsc::unbounded_channel();
        let (tell_ended, ended) = mpsc::unbounded_channel();
        let may_read = Arc::new(Semaphore::new(1));
        let gate = Arc::clone(&may_read);
        let task = tokio::spawn(async move {
            let mut sockets = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tell_opened, tell_ended, gate) =
                    (tell_opened.clone(), tell_ended.clone(), Arc::clone(&gate));
                sockets.spawn(async move {
                    // What a sidecar asks for on its own account is no WebSocket.
                    if let Some(socket) = handshake::accept(stream, &tell_opened).await {
                        tell_ended.send(repeat(socket, &gate).await).ok();
                    }
                });
            }
        });
        Ok(Self {
            port,
            opened,
            ended,
            may_read,
            _task: AbortOnDropHandle::new(task),
        })
    }

    async fn next_opened(&mut self) -> Result<Request> {
        timeout(SOON, self.opened.recv())
            .await?
            .context("the app has ended")
    }

    async fn next_ended(&mut self) -> Result<String> {
        timeout(SOON, self.ended.recv())
            .await?
            .context("the app has ended")
    }
}

/// Says how the socket ended.
async fn repeat(mut socket: Socket, may_read: &Semaphore) -> String {
    if let Err(error) = socket.send("hello".into()).await {
        return error.to_string();
    }
    loop {
        let _turn = may_read.acquire().await;
        let message = match socket.next().await {
            Some(Ok(Message::Close(frame))) => {
                let reason = frame.map(|frame| frame.reason.to_string());
                while let Some(Ok(_)) = socket.next().await {}
                return format!("closed: {}", reason.unwrap_or_default());
            }
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => message,
            Some(Ok(_)) => continue,
            Some(Err(error)) => return error.to_string(),
            None => return "end".to_owned(),
        };
        if let Err(error) = socket.send(message).await {
            return error.to_string();
        }
    }
}

fn request(path: &str, headers: &[(&str, &str)]) -> Result<Request> {
    let mut builder = Request::builder()
        .uri(format!("ws://sidecar{path}"))
        .header("Host", "sidecar")
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    Ok(builder.body(())?)
}

/// Opens a socket by way of a sidecar.
async fn open(daprd: &Daprd, path: &str, headers: &[(&str, &str)]) -> Result<(Socket, http::Response<()>)> {
    let stream = TcpStream::connect(("127.0.0.1", daprd.http_port)).await?;
    let (socket, response) = timeout(SOON, client_async(request(path, headers)?, stream)).await??;
    Ok((socket, response.map(drop)))
}

/// The answer of a sidecar that opens no socket.
async fn refusal(daprd: &Daprd, path: &str, headers: &[(&str, &str)]) -> Result<(u16, String)> {
    let stream = TcpStream::connect(("127.0.0.1", daprd.http_port)).await?;
    match timeout(SOON, client_async(request(path, headers)?, stream)).await? {
        Err(Error::Http(response)) => Ok((
            response.status().as_u16(),
            String::from_utf8_lossy(response.body().as_deref().unwrap_or_default()).into_owned(),
        )),
        other => anyhow::bail!("no refusal: {other:?}"),
    }
}

async fn next(socket: &mut Socket) -> Result<Message> {
    timeout(SOON, socket.next())
        .await?
        .context("the socket has ended")?
        .context("it broke")
}

async fn say(socket: &mut Socket, message: impl Into<Message>) -> Result<()> {
    let message = message.into();
    socket.send(message.clone()).await?;
    ensure!(next(socket).await? == message, "another message came back");
    Ok(())
}

const PATH: &str = "/v1.0/invoke/callee/method/chat/room?who=me";

#[tokio::test]
async fn a_conversation_passes_two_sidecars_and_counts_as_one_call() -> Result<()> {
    let mut app = Parrot::start().await?;
    let world = World::start(app.port).await?;
    // By path and by header; to another app, and to the own one.
    let by_header = [("dapr-app-id", "callee")];
    for (daprd, path, headers) in [
        (&world.caller, PATH, &[][..]),
        (&world.caller, "/chat/room?who=me", &by_header[..]),
        (&world.callee, PATH, &[][..]),
    ] {
        let headers: Vec<_> = headers
            .iter()
            .copied()
            .chain([
                ("Sec-WebSocket-Protocol", "chat"),
                ("X-Mine", "1"),
                ("Cookie", "c=1"),
            ])
            .collect();
        let (mut socket, response) = open(daprd, path, &headers).await?;
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
        assert_eq!(response.headers()["x-app"], "parrot");
        let seen = app.next_opened().await?;
        assert_eq!(
            seen.uri().path_and_query().map(|target| target.as_str()),
            Some("/chat/room?who=me")
        );
        for (name, value) in [
            ("x-mine", "1"),
            ("cookie", "c=1"),
            ("dapr-callee-app-id", "callee"),
        ] {
            assert_eq!(seen.headers()[name], value, "{name}");
        }
        assert_eq!(seen.headers()["dapr-caller-app-id"], daprd.app_id.as_str());
        assert!(!seen.headers().contains_key("dapr-app-id"));

        // The app is the first to speak.
        assert_eq!(next(&mut socket).await?, "hello".into());
        say(&mut socket, "a text").await?;
        for length in [0, 1, 125, 126, 65_535, 65_536, 3_000_000] {
            say(&mut socket, vec![b'x'; length]).await?;
        }
        socket.send(Message::Ping("are you there".into())).await?;
        assert_eq!(next(&mut socket).await?, Message::Pong("are you there".into()));
        let frame = CloseFrame {
            code: CloseCode::Library(4242),
            reason: "enough".into(),
        };
        socket.send(Message::Close(Some(frame.clone()))).await?;
        assert_eq!(next(&mut socket).await?, Message::Close(Some(frame)));
        assert_eq!(app.next_ended().await?, "closed: enough");
        let end = timeout(SOON, socket.next()).await?;
        ensure!(end.is_none(), "the end, not {end:?}");
    }

    let status = [
        ("status", "101"),
        ("method", "GET"),
        ("path", "/v1.0/invoke/callee/method/chat/room"),
    ];
    let served = world
        .caller
        .metric("dapr_http_server_request_count", &status)
        .await?;
    assert_eq!(served, Some(1.0));
    let sent = [("dst_app_id", "callee")];
    let sent = world
        .caller
        .metric("dapr_runtime_service_invocation_req_sent_total", &sent)
        .await?;
    assert_eq!(sent, Some(2.0));
    let received = [("src_app_id", "caller")];
    let received = world
        .callee
        .metric("dapr_runtime_service_invocation_req_recv_total", &received)
        .await?;
    assert_eq!(received, Some(2.0));
    Ok(())
}

#[tokio::test]
async fn whoever_breaks_off_ends_it_for_the_other() -> Result<()> {
    let mut app = Parrot::start().await?;
    let world = World::start(app.port).await?;
    // The client goes away without a word.
    let (mut socket, _) = open(&world.caller, PATH, &[]).await?;
    say_hello(&mut socket).await?;
    socket.get_ref().set_zero_linger()?;
    drop(socket);
    app.next_ended().await?;
    // The network between the sidecars breaks.
    let (mut socket, _) = open(&world.caller, PATH, &[]).await?;
    say_hello(&mut socket).await?;
    world.link.cut();
    app.next_ended().await?;
    let end = timeout(SOON, socket.next()).await?;
    assert!(matches!(end, Some(Err(_)) | None), "{end:?}");
    // A new socket finds its way. This time the app goes.
    let (mut socket, _) = open(&world.caller, PATH, &[]).await?;
    say_hello(&mut socket).await?;
    drop(app);
    let end = timeout(SOON, socket.next()).await?;
    assert!(matches!(end, Some(Err(_)) | None), "{end:?}");
    Ok(())
}

async fn say_hello(socket: &mut Socket) -> Result<()> {
    ensure!(next(socket).await? == "hello".into(), "the greeting");
    say(socket, "x").await
}

#[tokio::test]
async fn bytes_behind_the_101_are_not_looked_at_and_a_client_may_end_its_half() -> Result<()> {
    // No WebSocket at all: the client speaks, ends its half, and only then the app answers.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let _app = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                if !head.starts_with(b"GET /raw ") {
                    return stream
                        .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                        .await;
                }
                let switch =
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                stream.write_all(switch.as_bytes()).await?;
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await?;
                all.reverse();
                stream.write_all(&all).await?;
                stream.shutdown().await
            });
        }
    }));
    let world = World::start(port).await?;
    let mut stream = TcpStream::connect(("127.0.0.1", world.caller.http_port)).await?;
    let head = "GET /v1.0/invoke/callee/method/raw HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    let answer = String::from_utf8(answer)?.to_ascii_lowercase();
    assert!(
        answer.starts_with("http/1.1 101 switching protocols\r\n"),
        "{answer}"
    );
    for (line, count) in [
        ("connection: upgrade", 1),
        ("upgrade: websocket", 1),
        ("content-length", 0),
    ] {
        let found = answer
            .split("\r\n")
            .filter(|other| other.starts_with(line))
            .count();
        assert_eq!(found, count, "{line} in {answer}");
    }
    let bytes: Vec<u8> = (0..200_000_u32).map(|index| ((index * 7) >> 3) as u8).collect();
    stream.write_all(&bytes).await?;
    stream.shutdown().await?;
    let mut all = Vec::new();
    timeout(SOON, stream.read_to_end(&mut all)).await??;
    all.reverse();
    assert!(all == bytes, "{} bytes came back", all.len());
    Ok(())
}

#[tokio::test]
async fn a_reader_that_is_slow_holds_back_the_other_end() -> Result<()> {
    let app = Parrot::start().await?;
    let world = World::start(app.port).await?;
    let (mut socket, _) = open(&world.caller, PATH, &[]).await?;
    say_hello(&mut socket).await?;
    let turn = Arc::clone(&app.may_read).acquire_owned();
    // The app is just reading; it takes one more message and then stops.
    let (turn, ()) = tokio::try_join!(async { Ok(turn.await?) }, say(&mut socket, "y"))?;
    let piece = vec![b'x'; 1 << 20];
    let mut sent = 0;
    let held = timeout(Duration::from_secs(2), async {
        while socket.send(piece.clone().into()).await.is_ok() {
            sent += 1;
        }
    })
    .await;
    assert!(held.is_err(), "nothing holds the client back");
    assert!(sent < 64, "{sent} MiB are on the way");
    assert!(world.link.carried(Direction::ToServer) < 64 << 20);
    drop(turn);
    for _ in 0..sent {
        let message = next(&mut socket).await?;
        assert_eq!(message.len(), piece.len());
    }
    Ok(())
}

#[tokio::test]
async fn what_is_asked_of_other_calls_is_asked_before_the_101() -> Result<()> {
    let mut app = Parrot::start().await?;
    let token = |caller: DaprdBuilder| caller.env("DAPR_API_TOKEN", "secret");
    let one = |callee: DaprdBuilder| callee.flag("app-max-concurrency", 1);
    let mut world = World::start_with(app.port, token, one).await?;
    let (status, _) = refusal(&world.caller, PATH, &[]).await?;
    assert_eq!(status, 401);
    assert!(app.opened.is_empty(), "the app knows nothing of it");

    let secret = [("dapr-api-token", "secret")];
    let (mut socket, _) = open(&world.caller, PATH, &secret).await?;
    say_hello(&mut socket).await?;
    assert!(!app.next_opened().await?.headers().contains_key("dapr-api-token"));
    // It has the only place among the calls of the app, as long as it is open.
    let second = open(&world.caller, PATH, &secret);
    let mut second = Box::pin(second);
    assert!(
        timeout(Duration::from_millis(300), second.as_mut())
            .await
            .is_err()
    );
    socket.close(None).await?;
    while let Some(Ok(_)) = socket.next().await {}
    let (mut socket, _) = second.as_mut().await?;
    drop(second);
    say_hello(&mut socket).await?;

    // A sidecar that stops lets it end.
    world.caller.process.signal(Signal::Terminate).await?;
    until("the end of the listener", async || {
        TcpStream::connect(("127.0.0.1", world.caller.http_port))
            .await
            .is_err()
            .then_some(())
    })
    .await?;
    say(&mut socket, "still there").await?;
    socket.close(None).await?;
    while let Some(Ok(_)) = socket.next().await {}
    assert_eq!(world.caller.process.exit().await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn who_may_not_call_is_refused_before_the_101() -> Result<()> {
    let mut app = Parrot::start().await?;
    let policy = resolving_to(1)
        + "  accessControl:\n    defaultAction: deny\n    trustDomain: public\n    policies:\n    - {appId: caller, \
           defaultAction: deny, trustDomain: public, namespace: default, operations: [{name: /open, httpVerb: [GET], \
           action: allow}]}\n";
    let guarded = |callee: DaprdBuilder| callee.configuration(&policy).expect("the file can be written");
    let world = World::start_with(app.port, |caller| caller, guarded).await?;
    let (status, _) = refusal(&world.caller, PATH, &[]).await?;
    assert_eq!(status, 403);
    assert!(app.opened.is_empty(), "the app knows nothing of it");
    let (mut socket, _) = open(&world.caller, "/v1.0/invoke/callee/method/open", &[]).await?;
    say_hello(&mut socket).await?;
    app.next_opened().await?;
    Ok(())
}

#[tokio::test]
async fn who_cannot_follow_says_so() -> Result<()> {
    // An app that stays with HTTP answers for itself.
    let app = HttpApp::start(async |request: HttpRequest| {
        let wish = request.headers.get("upgrade").unwrap_or("none");
        HttpResponse::new(426, format!("upgrade: {wish}"))
    })
    .await?;
    let world = World::start(app.port()).await?;
    let (status, body) = refusal(&world.caller, PATH, &[]).await?;
    assert!(
        status == 426 && body.contains("upgrade: websocket"),
        "{status} {body}"
    );

    // A sidecar of another kind takes the method for one of an app's.
    let peer = GrpcApp::start(async |_| {
        GrpcAnswer::bytes([""; 0]).ending(
            2,
            "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found",
        )
    })
    .await?;
    let caller = Daprd::builder("caller")?
        .configuration(&resolving_to(peer.port()))?
        .start()
        .await?;
    let (status, text) = refusal(&caller, "/v1.0/invoke/other/method/chat", &[]).await?;
    assert_eq!(status, 500);
    assert_eq!(
        text,
        "{\"errorCode\":\"ERR_DIRECT_INVOKE\",\"message\":\"failed to invoke, id: other, err: the sidecar of app \
         'other' does not support WebSocket\"}"
    );
    Ok(())
}
