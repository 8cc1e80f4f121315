//! An app that takes its time.

use anyhow::Context as _;
use outrigger_test_kit::http::{HttpConnection, Piece, PieceSender};
use outrigger_test_kit::{Daprd, DaprdBuilder, HttpApp, HttpRequest, HttpResponse, Result};
use tokio::sync::mpsc;

/// An app whose answer to `/slow` is held back until the test lets it go.
pub(super) struct SlowApp {
    app: HttpApp,
    answers: mpsc::Receiver<PieceSender>,
}

// === impl SlowApp ===

impl SlowApp {
    pub(super) async fn start() -> Result<Self> {
        let (sender, answers) = mpsc::channel(8);
        let app = HttpApp::start(move |request: HttpRequest| {
            let sender = sender.clone();
            async move {
                if request.path() != "/slow" {
                    return HttpResponse::ok("quick");
                }
                let (response, pieces) = HttpResponse::stream(200);
                sender.send(pieces).await.expect("the test waits for it");
                response
            }
        })
        .await?;
        Ok(Self { app, answers })
    }

    pub(super) fn daprd(&self) -> Result<DaprdBuilder> {
        Ok(Daprd::builder("a")?.app("http", self.app.port()))
    }

    /// Sends a call of `/slow` and waits until the app has it; returns where its answer is put.
    pub(super) async fn call(&mut self, daprd: &Daprd) -> Result<(HttpConnection, PieceSender)> {
        let mut connection = HttpConnection::open(daprd.http_port).await?;
        connection
            .send_head(&HttpRequest::new("GET", "/v1.0/invoke/a/method/slow"))
            .await?;
        let pieces = self.answers.recv().await.context("the app has ended")?;
        // The head of an answer may wait for its first bytes.
        pieces.send(Piece::Data("begin".into())).await?;
        assert_eq!(connection.reply_head().await?.status, 200);
        assert_eq!(connection.piece().await?.unwrap_or_default(), "begin");
        Ok((connection, pieces))
    }
}
