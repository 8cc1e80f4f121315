use std::sync::{Arc, Mutex};

use aws_credential_types::provider::ProvideCredentials as _;
use outrigger_component::{Properties, SendHttp};
use outrigger_svc::{Body, BoxError, BoxFuture, Request, Response, collect_limited};

use super::*;

/// The metadata server of a machine and the server that gives roles, and what they were asked.
#[derive(Debug, Default)]
struct Machine(Mutex<Vec<String>>);

impl SendHttp for Machine {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, BoxError>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = collect_limited(body, 1 << 16).await?;
            let body = String::from_utf8_lossy(&body);
            let authorization = head
                .headers
                .get("authorization")
                .map(|text| text.to_str().unwrap_or_default());
            let signer = authorization
                .and_then(|text| text.split(['=', '/']).nth(1))
                .unwrap_or_default();
            let url = head.uri.to_string();
            self.0
                .lock()
                .unwrap()
                .push(format!("{} {url} {signer} {body}", head.method));
            let answer = match url.trim_end_matches('/').rsplit('/').next().unwrap_or_default() {
                "token" => "t",
                "security-credentials" | "security-credentials-extended" => "machine-role",
                "machine-role" => {
                    r#"{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"MACHINE","SecretAccessKey":"s","Token":"t",
                        "LastUpdated":"2020-01-01T00:00:00Z","Expiration":"2999-01-01T00:00:00Z"}"#
                }
                "sts.eu-west-3.amazonaws.com" => {
                    "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ROLE</AccessKeyId>\
                     <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
                     <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
                }
                _ => return Ok(http::Response::builder().status(404).body(Body::empty())?),
            };
            Ok(http::Response::builder()
                .header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
                .body(Body::from(answer))?)
        })
    }
}

fn access<const N: usize>(settings: [(&str, &str); N]) -> Result<Access, RolesAnywhere> {
    Access::read(&Properties::from(settings).fields().unwrap())
}

/// The key that signs with these settings, and what servers were asked to get it.
async fn key(access: &Access) -> (String, Vec<String>) {
    let machine = Arc::new(Machine::default());
    let http = HttpClient::new(Arc::clone(&machine) as Arc<dyn SendHttp>);
    // No variables and no files of the machine that the test runs on.
    let loader = aws_config::defaults(BehaviorVersion::latest()).empty_test_environment();
    let config = access.config_from(loader, http).await;
    let provider = config.credentials_provider().unwrap();
    let credentials = provider.provide_credentials().await.unwrap();
    let asked = machine.0.lock().unwrap().clone();
    (credentials.access_key_id().to_owned(), asked)
}

#[tokio::test]
async fn keys_go_before_roles_and_roles_before_the_surroundings() {
    let keys = access([
        ("awsRegion", "eu-west-3"),
        ("accessKey", "OWN"),
        ("secretKey", "s"),
        ("assumeRoleArn", "arn:r"),
    ]);
    let (id, asked) = key(&keys.unwrap()).await;
    assert_eq!((id.as_str(), asked.len()), ("OWN", 0), "{asked:?}");

    let role = access([
        ("region", "eu-west-3"),
        ("assumeRoleArn", "arn:aws:iam::1:role/r"),
        ("assumeRoleSessionName", "mine"),
        ("endpoint", "http://127.0.0.1:1"),
    ]);
    let (id, asked) = key(&role.unwrap()).await;
    assert_eq!(id, "ROLE", "{asked:?}");
    let last = asked.last().unwrap();
    assert!(
        last.starts_with("POST https://sts.eu-west-3.amazonaws.com/ MACHINE "),
        "{last}"
    );
    assert!(
        last.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr"),
        "{last}"
    );
    assert!(last.contains("RoleSessionName=mine"), "{last}");
}

#[tokio::test]
async fn without_settings_the_machine_is_asked() {
    let (id, asked) = key(&access([("region", "eu-west-3")]).unwrap()).await;
    assert_eq!(id, "MACHINE", "{asked:?}");
}

#[test]
fn roles_anywhere_is_refused_rather_than_left_out() {
    let anywhere = [
        ("trustProfileArn", "p"),
        ("trustAnchorArn", "a"),
        ("assumeRoleArn", "r"),
    ];
    assert_eq!(access(anywhere).unwrap_err(), RolesAnywhere);
    assert!(access([("trustProfileArn", "p"), ("trustAnchorArn", "a")]).is_ok());
}

#[test]
fn secrets_are_not_in_the_debug_form() {
    let access = access([
        ("accessKey", "AKIDX"),
        ("secretKey", "hush"),
        ("sessionToken", "quiet"),
    ])
    .unwrap();
    let text = format!("{access:?}");
    assert!(!text.contains("hush") && !text.contains("quiet"), "{text}");
}
