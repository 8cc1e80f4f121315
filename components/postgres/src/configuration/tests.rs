//! The store against a real server.

use std::time::Duration;

use outrigger_component::Condition;
use outrigger_component::conformance::configuration::{Traits, Writer, run};
use outrigger_component::conformance::init;
use outrigger_test_kit::servers::Postgres;
use outrigger_test_kit::until;
use tokio::time::timeout;

use super::*;

type Outcome = Result<(), BoxError>;

/// A user of the database.
struct User(tokio_postgres::Client);

/// What users make: the table, and a trigger that tells of changes.
const TABLE: &str = "CREATE TABLE settings (key varchar NOT NULL, value varchar, version varchar, metadata json); \
    CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ \
    BEGIN \
      PERFORM pg_notify('news', json_build_object('table', TG_TABLE_NAME, 'action', TG_OP, 'data', \
        CASE TG_OP WHEN 'DELETE' THEN row_to_json(OLD) ELSE row_to_json(NEW) END)::text); \
      RETURN NULL; \
    END $$; \
    CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON settings FOR EACH ROW EXECUTE FUNCTION tell()";

impl User {
    async fn sign_in(server: &Postgres) -> Result<Self, BoxError> {
        let (client, carrier) =
            tokio_postgres::connect(&server.connection_string(), tokio_postgres::NoTls).await?;
        tokio::spawn(carrier);
        Ok(Self(client))
    }

    async fn say(&self, text: &str) -> Outcome {
        Ok(self.0.batch_execute(text).await?)
    }
}

impl Writer for User {
    fn put<'a>(&'a self, key: &'a str, value: &'a str, version: &'a str) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let insert = "INSERT INTO settings (key, value, version) VALUES ($1, $2, $3)";
            self.0.execute(insert, &[&key, &value, &version]).await?;
            Ok(())
        })
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            self.0
                .execute("DELETE FROM settings WHERE key = $1", &[&key])
                .await?;
            Ok(())
        })
    }
}

async fn open_with(
    server: &Postgres,
    settings: &[(&str, &str)],
) -> Result<Arc<PostgresConfiguration>, BoxError> {
    let connection = server.connection_string();
    let settings = settings
        .iter()
        .copied()
        .chain([("connectionString", connection.as_str())]);
    open(init(settings)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_a_configuration_store() -> Outcome {
    let Some(server) = Postgres::start().await? else {
        return Ok(());
    };
    let user = User::sign_in(&server).await?;
    user.say(TABLE).await?;
    let store = open_with(&server, &[("table", "settings"), ("notifyChannel", "news")]).await?;
    let traits = Traits {
        store: "configuration.postgresql",
        // The row as it was is told.
        tells_deletions: false,
    };
    run(store, Arc::new(user), traits).await;
    Ok(())
}

#[tokio::test]
async fn rows_have_metadata_and_the_highest_version_counts() -> Outcome {
    let Some(server) = Postgres::start().await? else {
        return Ok(());
    };
    let user = User::sign_in(&server).await?;
    user.say("CREATE SCHEMA app; CREATE TABLE app.settings (key varchar, value varchar, version varchar, metadata json)")
        .await?;
    user.say("INSERT INTO app.settings VALUES ('a', 'old', '9', null), ('a', 'new', '10', '{\"x\":\"y\",\"z\":null}'), ('b', null, null, null)")
        .await?;
    let store = open_with(&server, &[("table", "app.settings")]).await?;
    let ignored = Metadata::from([("a".to_owned(), "b".to_owned())]);
    let items = store.get(&[], &ignored).await?;
    assert_eq!(items.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(
        (items["a"].value.as_str(), items["a"].version.as_str()),
        ("new", "10")
    );
    let expected = [("x", "y"), ("z", "")].map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(items["a"].metadata, Metadata::from(expected));
    assert_eq!(items["b"].value, "");
    let error = store
        .get(&["a b".to_owned()], &Metadata::new())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "invalid key : 'a b'");
    let (updates, _news) = mpsc::channel(1);
    let error = store.subscribe(&[], &Metadata::new(), updates).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "unable to subscribe to \"app.settings\". notifyChannel must be set in component metadata or request metadata"
    );
    let error = store.unsubscribe("x").await.unwrap_err();
    assert_eq!(error.to_string(), "unable to find subscription with ID : x");
    let error = open_with(&server, &[("table", "none")]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "postgreSQL configuration table 'none' does not exist"
    );
    Ok(())
}

#[tokio::test]
async fn subscriptions_outlive_the_server() -> Outcome {
    let Some(mut server) = Postgres::start().await? else {
        return Ok(());
    };
    let user = User::sign_in(&server).await?;
    user.say(TABLE).await?;
    let (tell, mut told) = mpsc::unbounded_channel();
    let connection = server.connection_string();
    let mut made_from = init([("table", "settings"), ("connectionString", connection.as_str())]);
    made_from.condition = Condition::new(move |reason| {
        tell.send(reason.map(str::to_owned)).ok();
    });
    let store = open(made_from).await?;
    let (updates, mut news) = mpsc::channel(10);
    let channel = Metadata::from([("PGNOTIFYCHANNEL".to_owned(), "news".to_owned())]);
    let keys = ["a".to_owned()];
    let id = store.subscribe(&keys, &channel, updates).await?;
    user.put("a", "1", "1").await?;
    let update = timeout(Duration::from_secs(10), news.recv()).await?.unwrap();
    assert_eq!(
        (update.id.as_str(), update.items["a"].value.as_str()),
        (id.as_str(), "1")
    );

    server.server.kill().await?;
    let reason = until("the news of the loss", async || told.try_recv().ok().flatten()).await?;
    assert_eq!(reason, "the connection that listens for changes is lost");
    server.restart().await?;
    // What it is now is told, since nobody knows what was missed; then changes are heard again.
    let update = timeout(Duration::from_secs(20), news.recv()).await?.unwrap();
    assert_eq!(update.items["a"].value, "1");
    let user = User::sign_in(&server).await?;
    user.put("a", "2", "2").await?;
    let update = timeout(Duration::from_secs(10), news.recv()).await?.unwrap();
    assert_eq!(update.items["a"].value, "2");
    store.close().await?;
    let end = timeout(Duration::from_secs(10), news.recv()).await?;
    assert_eq!(end, None);
    Ok(())
}
