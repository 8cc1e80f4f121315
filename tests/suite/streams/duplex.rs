//! Both directions of one call at once.

use outrigger_test_kit::http::{HttpConnection, Piece};
use outrigger_test_kit::{HttpApp, HttpRequest, HttpResponse, Result};
use tokio::time::{Duration, timeout};

use crate::suite::world::World;

#[tokio::test]
async fn each_piece_is_answered_before_the_next_is_sent() -> Result<()> {
    let app = HttpApp::start_streaming(async |request: HttpRequest, mut pieces| {
        if request.path() != "/chat" {
            return HttpResponse::new(404, "");
        }
        let (response, sender) = HttpResponse::stream(200);
        tokio::spawn(async move {
            while let Some(piece) = pieces.recv().await {
                if sender.send(Piece::Data(piece)).await.is_err() {
                    return;
                }
            }
        });
        response
    })
    .await?;
    let world = World::start(app.port()).await?;
    // Over the link, and locally.
    for daprd in [&world.caller, &world.callee] {
        let mut connection = HttpConnection::open(daprd.http_port).await?;
        let request = HttpRequest::new("POST", "/v1.0/invoke/callee/method/chat")
            .header("Transfer-Encoding", "chunked");
        connection.send_head(&request).await?;
        let talk = async {
            for number in 0..50 {
                let word = format!("word {number}");
                connection.send_chunk(word.as_bytes()).await?;
                if number == 0 {
                    assert_eq!(connection.reply_head().await?.status, 200);
                }
                assert_eq!(connection.piece().await?.as_deref(), Some(word.as_bytes()));
            }
            connection.send_chunk(b"").await?;
            assert_eq!(connection.piece().await?, None);
            Result::<_>::Ok(())
        };
        timeout(Duration::from_secs(20), talk).await??;
    }
    Ok(())
}
