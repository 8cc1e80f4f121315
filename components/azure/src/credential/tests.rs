use std::sync::Arc;

use outrigger_component::Properties;
use outrigger_test_kit::Directory;

use super::*;
use outrigger_component::testing::{Server, Told};

const SCOPE: &str = "https://storage.azure.com/.default";
const APPLICATION: [(&str, &str); 3] = [
    ("azureTenantId", "t"),
    ("spnClientId", "c"),
    ("azureClientSecret", "hush&"),
];

fn settings<const N: usize>(
    settings: [(&str, &str); N],
    variables: &[(&str, &str)],
) -> Result<LoginSettings, LoginError> {
    let properties = Properties::from(settings);
    LoginSettings::read(&properties.fields().unwrap(), |name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

fn token(lifetime: &str) -> Told {
    let body = format!(r#"{{"access_token":"tok","expires_in":{lifetime}}}"#);
    (200, vec![], body)
}

fn login(server: &Arc<Server>, settings: Result<LoginSettings, LoginError>) -> Login {
    Login::new(settings.unwrap(), server.client())
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    for (given, expected) in [
        (("azureEnvironment", "Moon"), "invalid Azure cloud: Moon"),
        (
            ("azureAuthMethods", "cli,magic"),
            "invalid Azure auth method: magic",
        ),
        (
            ("entraIDAuthMethods", "None"),
            "all Azure auth methods have been disabled with auth method 'None'",
        ),
        (
            ("azureAuthMethods", "creds"),
            "no Azure credentials are configured",
        ),
    ] {
        assert_eq!(settings([given], &[]).unwrap_err().to_string(), expected);
    }
    for method in ["cert", "spiffe"] {
        let error = settings([("azureAuthMethods", method)], &[]).unwrap_err();
        assert!(matches!(error, LoginError::Unsupported(_)), "{error}");
    }
    assert!(settings([("azureCertificate", "pem")], &[]).is_err());
}

#[test]
fn ways_have_their_order() {
    let workload = [
        ("AZURE_FEDERATED_TOKEN_FILE", "/f"),
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_CLIENT_ID", "c"),
    ];
    let all = settings(APPLICATION, &workload).unwrap();
    let expected = "[client credentials, workload identity, managed identity, command line interface]";
    assert_eq!(format!("{:?}", all.sources), expected);
    let some = settings([("azureAuthMethods", "cli, mi")], &[]).unwrap();
    assert_eq!(
        format!("{:?}", some.sources),
        "[command line interface, managed identity]"
    );
    let china = settings([("azureCloud", "AzureChinaCloud")], &[]).unwrap();
    assert_eq!(china.authority, "https://login.chinacloudapi.cn");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_kept_until_shortly_before_its_end() {
    let server = Server::new(|_, _| token("3600"));
    let login = login(&server, settings(APPLICATION, &[]));
    for _ in 0..3 {
        assert_eq!(login.token(SCOPE).await.unwrap(), "tok");
    }
    assert_eq!(server.asked().len(), 1);
    let asked = &server.asked()[0];
    assert_eq!(asked.url, "https://login.microsoftonline.com/t/oauth2/v2.0/token");
    assert!(asked.body.contains("client_secret=hush%26"), "{}", asked.body);
    assert!(
        asked
            .body
            .contains("scope=https%3A%2F%2Fstorage.azure.com%2F.default"),
        "{}",
        asked.body
    );
    tokio::time::advance(Duration::from_secs(3301)).await;
    let bearer = login.bearer(SCOPE).await.unwrap();
    assert_eq!(
        (bearer.to_str().unwrap(), bearer.is_sensitive()),
        ("Bearer tok", true)
    );
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_first_way_that_works_is_kept() {
    let server = Server::new(
        |asked, _| match asked.url.starts_with("http://169.254.169.254/") {
            true => token(r#""3600""#),
            false => (
                401,
                vec![],
                r#"{"error":"invalid_client","error_description":"AADSTS7000215"}"#.to_owned(),
            ),
        },
    );
    let login = login(&server, settings(APPLICATION, &[]));
    assert_eq!(login.token(SCOPE).await.unwrap(), "tok");
    assert_eq!(login.token("https://other/.default").await.unwrap(), "tok");
    let urls: Vec<_> = server.asked().into_iter().map(|asked| asked.url).collect();
    let machine = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=";
    assert_eq!(urls.len(), 3);
    assert_eq!(
        urls[1],
        format!("{machine}https%3A%2F%2Fstorage.azure.com&client_id=c")
    );
    assert_eq!(urls[2], format!("{machine}https%3A%2F%2Fother&client_id=c"));
    assert_eq!(server.asked()[1].headers["metadata"], "true");
}

#[tokio::test]
async fn a_workload_shows_the_token_of_its_cluster() {
    let directory = Directory::new().unwrap();
    let file = directory.write("token", "of-the-cluster\n").unwrap();
    let variables = [
        ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
        ("AZURE_AUTHORITY_HOST", "https://login.example/"),
    ];
    let server = Server::new(|_, _| token("60"));
    let own = [
        ("azureTenantId", "t"),
        ("azureClientId", "c"),
        ("azureAuthMethods", "wi"),
    ];
    let login = login(&server, settings(own, &variables));
    assert_eq!(login.token(SCOPE).await.unwrap(), "tok");
    let asked = &server.asked()[0];
    assert_eq!(asked.url, "https://login.example/t/oauth2/v2.0/token");
    assert!(
        asked.body.contains("client_assertion=of-the-cluster"),
        "{}",
        asked.body
    );
}

#[tokio::test]
async fn app_service_gives_tokens_by_its_own_server() {
    let variables = [
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:42/msi"),
        ("IDENTITY_HEADER", "word"),
    ];
    let server = Server::new(|_, _| {
        (
            200,
            vec![],
            r#"{"access_token":"tok","expires_on":"32503680000"}"#.to_owned(),
        )
    });
    let login = login(&server, settings([("azureAuthMethods", "mi")], &variables));
    assert_eq!(login.token(SCOPE).await.unwrap(), "tok");
    let asked = &server.asked()[0];
    assert_eq!(
        asked.url,
        "http://127.0.0.1:42/msi?api-version=2019-08-01&resource=https%3A%2F%2Fstorage.azure.com"
    );
    assert_eq!(asked.headers["x-identity-header"], "word");
}

#[tokio::test]
async fn what_no_way_gives_is_told_with_all_reasons() {
    let server = Server::new(|_, _| (400, vec![], r#"{"error":"invalid_request"}"#.to_owned()));
    let only = [
        APPLICATION[0],
        APPLICATION[1],
        APPLICATION[2],
        ("azureAuthMethods", "creds,mi"),
    ];
    let login = login(&server, settings(only, &[]));
    let text = login.token(SCOPE).await.unwrap_err().to_string();
    let expected = "failed to get an Azure token: client credentials: 400 Bad Request: invalid_request; managed \
                    identity: 400 Bad Request: invalid_request";
    assert_eq!(text, expected);
    assert!(!format!("{login:?}").contains("hush"));
}
