//! The decisions of the reference, asked for by peers with certificates.

use outrigger_api::common::http_extension::Verb;
use outrigger_test_kit::{Daprd, GrpcAnswer, GrpcApp, GrpcCall, Result, Sentry, isolated};

use super::{Peer, callee, configuration, denial, http_app};

const RULES: &str = "
    defaultAction: deny
    policies:
    - appId: myapp
      defaultAction: deny
      trustDomain: public
      namespace: default
      operations:
      - {name: /op1, httpVerb: [POST, GET], action: allow}
      - {name: /op1, httpVerb: [PUT], action: allow}
      - {name: op2/*, httpVerb: ['*'], action: allow}
      - {name: /op3/**, httpVerb: ['*'], action: allow}
      - {name: /op4/a*c/x, httpVerb: ['*'], action: allow}
      - {name: /op5/*/z, httpVerb: ['*'], action: allow}
      - {name: /op6/x, httpVerb: ['*'], action: allow}
      - {name: /op6/*, httpVerb: ['*'], action: deny}
      - {name: /op7/*, httpVerb: ['*'], action: deny}
      - {name: /op7/x, httpVerb: ['*'], action: allow}
      - {name: /op8, httpVerb: [get], action: allow}
      - {name: /op9, action: allow}
      - {name: /opA, httpVerb: [GET, '*'], action: deny}
      - {name: /CaseOp, httpVerb: ['*'], action: allow}
      - {name: /opb/, httpVerb: ['*'], action: allow}
      - {name: /opc*, httpVerb: ['*'], action: allow}
    - {appId: myapp2, trustDomain: public, namespace: default, operations: [{name: /x, httpVerb: [GET], action: deny}]}
    - {appId: myapp3, defaultAction: allow, trustDomain: public, namespace: default,
       operations: [{name: /x, httpVerb: [GET], action: deny}]}
";

const ALLOW: bool = true;
const DENY: bool = false;

/// Caller, verb, methods, whether an HTTP app is reached, whether a gRPC app is.
type Row = (&'static str, Verb, &'static [&'static str], bool, bool);

#[rustfmt::skip] // A table: one decision, one line.
const TABLE: &[Row] = &[
    ("public/ns/default/myapp", Verb::Post, &["op1"], ALLOW, ALLOW),
    ("public/ns/default/myapp", Verb::Get, &["op1"], ALLOW, ALLOW),
    ("public/ns/default/myapp", Verb::Put, &["op1"], DENY, ALLOW),
    ("public/ns/default/myapp", Verb::Delete, &["op1"], DENY, ALLOW),
    ("public/ns/default/myapp", Verb::Get, &["op2", "op2/a"], ALLOW, ALLOW),
    ("public/ns/default/myapp", Verb::Get, &["op2/a/b"], DENY, DENY),
    ("public/ns/default/myapp", Verb::Get, &["op3", "op3/a", "op3/a/b/c"], ALLOW, ALLOW),
    ("public/ns/default/myapp", Verb::Get, &["op4/abc/x", "op4/ac/x", "op4/abc/x/y"], ALLOW, ALLOW),
    ("public/ns/default/myapp", Verb::Get, &["op4/abd/x"], DENY, DENY),
    ("public/ns/default/myapp", Verb::Get, &["op5/q/z", "op5/q", "op5/q/w", "op5/z"], DENY, DENY),
    ("public/ns/default/myapp", Verb::Get, &["op6/x"], ALLOW, ALLOW),
    ("public/ns/default/myapp", Verb::Get, &["op6/y"], DENY, DENY),
    ("public/ns/default/myapp", Verb::Get, &["op7/x", "op7/y"], DENY, DENY),
    ("public/ns/default/myapp", Verb::Get, &["op8"], DENY, ALLOW),
    ("public/ns/default/myapp", Verb::Get, &["op9"], DENY, ALLOW),
    ("public/ns/default/myapp", Verb::None, &["op9"], DENY, ALLOW),
    ("public/ns/default/myapp", Verb::Get, &["opA"], DENY, DENY),
    ("public/ns/default/myapp", Verb::Get, &["caseop", "CASEOP"], ALLOW, DENY),
    ("public/ns/default/myapp", Verb::Get, &["CaseOp"], ALLOW, ALLOW),
    ("public/ns/default/myapp", Verb::Get, &["opb", "opb/x"], DENY, DENY),
    ("public/ns/default/myapp", Verb::Get, &["opcfoo", "opc", "opcfoo/bar"], ALLOW, ALLOW),
    ("public/ns/default/myapp", Verb::Get, &["nothing"], DENY, DENY),
    ("public/ns/default/myapp2", Verb::Get, &["x", "y"], DENY, DENY),
    ("public/ns/default/myapp2", Verb::Post, &["x"], DENY, DENY),
    ("public/ns/default/myapp3", Verb::Get, &["x"], DENY, DENY),
    ("public/ns/default/myapp3", Verb::Get, &["y"], ALLOW, ALLOW),
    ("public/ns/default/myapp3", Verb::Post, &["x"], ALLOW, DENY),
    ("public/ns/ns2/myapp", Verb::Get, &["op1"], DENY, DENY),
    ("othertd/ns/default/myapp", Verb::Get, &["op1"], DENY, DENY),
    ("td3/ns/default/myapp3", Verb::Get, &["y"], DENY, DENY),
];

async fn ask(sentry: &Sentry, callee: &Daprd, expected: fn(&Row) -> bool, with_verb: bool) -> Result<()> {
    for row in TABLE {
        let &(id, verb, methods, ..) = row;
        let id = format!("spiffe://{id}");
        let peer = Peer::connect(sentry, callee, &id).await?;
        for method in methods {
            let reply = peer.call(verb, method, &[("x", "y")]).await?;
            let what = format!("{id} {} {method}", verb.as_str_name());
            if expected(row) {
                assert_eq!((reply.status, reply.message.as_str()), (0, ""), "{what}");
            } else {
                let verb = if with_verb { verb.as_str_name() } else { "NONE" };
                assert_eq!(
                    (reply.status, reply.message),
                    (7, denial(&id, method, verb)),
                    "{what}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn callers_of_an_http_app_reach_what_the_rules_of_paths_and_verbs_say() {
    isolated!(async {
        let (sentry, app) = (Sentry::start().await?, http_app().await?);
        let callee = callee(&sentry, &configuration(RULES))?
            .app("http", app.port())
            .start()
            .await?;
        ask(&sentry, &callee, |row| row.3, true).await
    });
}

#[test]
fn callers_of_a_grpc_app_reach_what_the_rules_of_paths_say() {
    isolated!(async {
        let sentry = Sentry::start().await?;
        let app = GrpcApp::start(async |_: GrpcCall| GrpcAnswer::bytes([""])).await?;
        let callee = callee(&sentry, &configuration(RULES))?
            .app("grpc", app.port())
            .start()
            .await?;
        ask(&sentry, &callee, |row| row.4, false).await
    });
}
