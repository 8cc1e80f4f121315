//! News on the stream of a gRPC client.

use std::time::Duration;

use http::HeaderMap;
use outrigger_api::runtime as api;
use outrigger_test_kit::grpc::GrpcStream;
use outrigger_test_kit::servers::Redis;
use outrigger_test_kit::{Daprd, GrpcClient, Result, isolated, until};
use prost::Message;

use super::sidecar;

const SUBSCRIBE: &str = "/dapr.proto.runtime.v1.Dapr/SubscribeConfiguration";
const UNSUBSCRIBE: &str = "/dapr.proto.runtime.v1.Dapr/UnsubscribeConfiguration";

/// Begins a subscription of the key `color`, and gives its id with the stream.
async fn subscribe(client: &GrpcClient, path: &str) -> Result<(GrpcStream, String)> {
    let request = api::SubscribeConfigurationRequest {
        store_name: "cfg".to_owned(),
        keys: vec!["color".to_owned()],
        ..Default::default()
    };
    let mut stream = client.open(path, HeaderMap::new()).await?;
    stream.send(&request.encode_to_vec()).await?;
    stream.half_close();
    let first = next(&mut stream).await?.unwrap_or_default();
    assert!(!first.id.is_empty() && first.items.is_empty(), "{first:?}");
    Ok((stream, first.id))
}

async fn next(stream: &mut GrpcStream) -> Result<Option<api::SubscribeConfigurationResponse>> {
    let message = stream.next().await?;
    Ok(message
        .map(api::SubscribeConfigurationResponse::decode)
        .transpose()?)
}

async fn unsubscribed(daprd: &Daprd, count: f64) -> Result<()> {
    let labels = [
        ("component", "cfg"),
        ("operation", "unsubscribe"),
        ("success", "true"),
    ];
    until(format_args!("{count} ends of subscriptions"), async || {
        let found = daprd
            .metric("dapr_component_configuration_count", &labels)
            .await
            .ok()?;
        (found == Some(count)).then_some(())
    })
    .await
}

#[test]
fn a_stream_has_its_id_first_and_then_news_until_it_ends() {
    isolated!(async {
        let Some(redis) = Redis::start().await? else {
            return Ok(());
        };
        let mut daprd = sidecar(&redis)?.start().await?;
        let client = daprd.grpc().await?;
        let (mut stream, id) = subscribe(&client, SUBSCRIBE).await?;
        redis.cli(&["SET", "color", "red||1"]).await?;
        let news = next(&mut stream).await?.unwrap_or_default();
        assert_eq!((&news.id, news.items["color"].value.as_str()), (&id, "red"));
        assert_eq!(news.items["color"].version, "1");

        // By its id.
        let end = api::UnsubscribeConfigurationRequest {
            store_name: "cfg".to_owned(),
            id: id.clone(),
        };
        let ended: api::UnsubscribeConfigurationResponse =
            client.unary(UNSUBSCRIBE, HeaderMap::new(), &end).await?;
        assert_eq!((ended.ok, ended.message.as_str()), (true, ""));
        assert_eq!(stream.finish().await?.status, 0);
        unsubscribed(&daprd, 1.0).await?;
        let ended: api::UnsubscribeConfigurationResponse =
            client.unary(UNSUBSCRIBE, HeaderMap::new(), &end).await?;
        let expected =
            format!("failed to unsubscribe to configuration request {id}: subscription does not exist");
        assert_eq!((ended.ok, ended.message), (false, expected));

        // By a client that goes away.
        let leaving = daprd.grpc().await?;
        let (stream, _) = subscribe(&leaving, &format!("{SUBSCRIBE}Alpha1")).await?;
        drop((stream, leaving));
        unsubscribed(&daprd, 2.0).await?;

        // By the end of the sidecar, which waits for nobody.
        let (mut stream, _) = subscribe(&client, SUBSCRIBE).await?;
        let began = tokio::time::Instant::now();
        let (status, last) = tokio::join!(daprd.process.stop(), next(&mut stream));
        assert_eq!(status?.code(), Some(0));
        assert_eq!(last?, None);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        Ok(())
    });
}
