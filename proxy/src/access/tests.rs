use outrigger_config::configuration::{self, AccessOperation, AccessPolicy, Configuration};
use outrigger_config::daprd::AppProtocol;
use outrigger_config::env::EmptyEnv;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Who calls, where it matters which of the three parts differs.
const MYAPP: &str = "spiffe://public/ns/default/myapp";

fn section(access: &serde_json::Value) -> configuration::AccessControl {
    let resource = json!({"spec": {"accessControl": access}});
    let configuration = Configuration::from_json(&resource.to_string(), &EmptyEnv).unwrap();
    configuration.access_control.unwrap()
}

fn compile(access: &serde_json::Value, protocol: AppProtocol) -> AccessControl {
    AccessControl::compile(Some(&section(access)), protocol).unwrap()
}

fn allows(access: &AccessControl, peer: Option<&str>, operation: &str, protocol: Protocol) -> bool {
    let subject = Subject {
        peer,
        operation,
        protocol,
    };
    access.permit(subject, &Metrics::disabled()).is_ok()
}

fn operation(name: &str, verbs: &[&str], action: &str) -> serde_json::Value {
    json!({"name": name, "httpVerb": verbs, "action": action})
}

/// The policies of the vectors.
fn vectors() -> serde_json::Value {
    let policy = |app_id: &str, trust_domain: &str, default: &str, operations: serde_json::Value| {
        json!({"appId": app_id, "namespace": "default", "trustDomain": trust_domain, "defaultAction": default,
               "operations": operations})
    };
    let operations = json!([
        operation("/op1", &["POST", "GET"], "allow"),
        operation("/op1", &["PUT"], "allow"),
        operation("op2/*", &["*"], "allow"),
        operation("/op3/**", &["*"], "allow"),
        operation("/op4/a*c/x", &["*"], "allow"),
        operation("/op5/*/z", &["*"], "allow"),
        operation("/op6/x", &["*"], "allow"),
        operation("/op6/*", &["*"], "deny"),
        operation("/op7/*", &["*"], "deny"),
        operation("/op7/x", &["*"], "allow"),
        operation("/op8", &["get"], "allow"),
        operation("/op9", &[], "allow"),
        operation("/opA", &["GET", "*"], "deny"),
        operation("/CaseOp", &["*"], "allow"),
        operation("/opb/", &["*"], "allow"),
        operation("/opc*", &["*"], "allow"),
    ]);
    json!({"defaultAction": "deny", "policies": [
        policy("myapp", "public", "deny", operations),
        policy("myapp2", "public", "", json!([operation("/x", &["GET"], "deny")])),
        policy("myapp3", "public", "allow", json!([operation("/x", &["GET"], "deny")])),
    ]})
}

#[test]
fn every_vector_is_decided_as_in_the_reference() {
    const ALLOW: bool = true;
    const DENY: bool = false;
    #[rustfmt::skip] // A table: caller, verb, methods, decision for an HTTP app, for a gRPC app.
    let table: &[(&str, Verb, &[&str], bool, bool)] = &[
        (MYAPP, Verb::POST, &["op1"], ALLOW, ALLOW),
        (MYAPP, Verb::GET, &["op1"], ALLOW, ALLOW),
        (MYAPP, Verb::PUT, &["op1"], DENY, ALLOW),
        (MYAPP, Verb::DELETE, &["op1"], DENY, ALLOW),
        (MYAPP, Verb::GET, &["op2", "op2/a"], ALLOW, ALLOW),
        (MYAPP, Verb::GET, &["op2/a/b"], DENY, DENY),
        (MYAPP, Verb::GET, &["op3", "op3/a", "op3/a/b/c"], ALLOW, ALLOW),
        (MYAPP, Verb::GET, &["op4/abc/x", "op4/ac/x", "op4/abc/x/y"], ALLOW, ALLOW),
        (MYAPP, Verb::GET, &["op4/abd/x"], DENY, DENY),
        (MYAPP, Verb::GET, &["op5/q/z", "op5/q", "op5/q/w", "op5/z"], DENY, DENY),
        (MYAPP, Verb::GET, &["op6/x"], ALLOW, ALLOW),
        (MYAPP, Verb::GET, &["op6/y"], DENY, DENY),
        (MYAPP, Verb::GET, &["op7/x", "op7/y"], DENY, DENY),
        (MYAPP, Verb::GET, &["op8"], DENY, ALLOW),
        (MYAPP, Verb::GET, &["op9"], DENY, ALLOW),
        (MYAPP, Verb::NONE, &["op9"], DENY, ALLOW),
        (MYAPP, Verb::GET, &["opA"], DENY, DENY),
        (MYAPP, Verb::GET, &["caseop", "CASEOP"], ALLOW, DENY),
        (MYAPP, Verb::GET, &["CaseOp"], ALLOW, ALLOW),
        (MYAPP, Verb::GET, &["opb", "opb/x"], DENY, DENY),
        (MYAPP, Verb::GET, &["opcfoo", "opc", "opcfoo/bar"], ALLOW, ALLOW),
        (MYAPP, Verb::GET, &["nothing"], DENY, DENY),
        ("spiffe://public/ns/default/myapp2", Verb::GET, &["x", "y"], DENY, DENY),
        ("spiffe://public/ns/default/myapp2", Verb::POST, &["x"], DENY, DENY),
        ("spiffe://public/ns/default/myapp3", Verb::GET, &["x"], DENY, DENY),
        ("spiffe://public/ns/default/myapp3", Verb::GET, &["y"], ALLOW, ALLOW),
        ("spiffe://public/ns/default/myapp3", Verb::POST, &["x"], ALLOW, DENY),
        ("spiffe://public/ns/ns2/myapp", Verb::GET, &["op1"], DENY, DENY),
        ("spiffe://othertd/ns/default/myapp", Verb::GET, &["op1"], DENY, DENY),
        ("spiffe://td3/ns/default/myapp3", Verb::GET, &["y"], DENY, DENY),
        ("spiffe://public/ns/default/stranger", Verb::GET, &["op1"], DENY, DENY),
    ];
    let http = compile(&vectors(), AppProtocol::Http);
    let grpc = compile(&vectors(), AppProtocol::Grpc);
    for &(peer, verb, methods, for_http, for_grpc) in table {
        for method in methods {
            let row = format!("{peer} {verb} {method}");
            assert_eq!(
                allows(&http, Some(peer), method, Protocol::Http(verb)),
                for_http,
                "{row}, HTTP"
            );
            assert_eq!(
                allows(&grpc, Some(peer), method, Protocol::Grpc),
                for_grpc,
                "{row}, gRPC"
            );
        }
    }
}

#[test]
fn a_rule_is_for_what_is_below_it_and_wildcards_for_what_is_above_too() {
    let policy = |name: &str| {
        json!({"defaultAction": "deny", "policies": [{"appId": "myapp", "namespace": "default",
               "trustDomain": "public", "defaultAction": "deny", "operations": [operation(name, &["*"], "allow")]}]})
    };
    let table: &[(&str, &str, bool)] = &[
        ("/public", "/public/x/y", true),
        ("/public", "publicx", false),
        ("/op/*", "op", true),
        ("/op/*", "op/a/b", false),
        ("/op/**", "op", true),
        ("/a/*/z", "a/*/z", true),
        ("/a/*/z", "a/b/z", false),
        ("/a/***", "a", true),
        ("/**", "anything/at/all", true),
        ("/*", "anything", true),
        ("/*", "anything/else", false),
        ("", "", true),
        ("/", "", true),
        ("/", "x", false),
        ("/x/", "x", false),
        ("/ÄPFEL", "äpfel", true),
        ("/äpfel", "ÄPFEL", true),
        ("/*.js", "a.min.JS", true),
        ("/a*b*c", "a-b-b", false),
        ("/a*b*c", "abbc", true),
    ];
    for &(pattern, method, allowed) in table {
        let access = compile(&policy(pattern), AppProtocol::H2c);
        let outcome = allows(&access, Some(MYAPP), method, Protocol::Http(Verb::GET));
        assert_eq!(outcome, allowed, "{pattern} {method}");
    }
}

#[test]
fn without_mtls_the_default_of_all_decides() {
    let denying = compile(&vectors(), AppProtocol::Http);
    assert!(!allows(&denying, None, "op1", Protocol::Http(Verb::GET)));
    let policies = json!({"policies": [{"appId": "myapp", "namespace": "default", "trustDomain": "public",
                          "defaultAction": "deny"}]});
    let open = compile(&policies, AppProtocol::Http);
    assert!(
        allows(&open, None, "x", Protocol::Http(Verb::GET)),
        "an omitted default allows"
    );
    assert!(!allows(&open, Some(MYAPP), "x", Protocol::Http(Verb::GET)));
}

#[test]
fn defaults_that_are_missing_or_empty_have_their_own_meaning() {
    let policy = json!([{"appId": "other", "namespace": "default", "trustDomain": "public"}]);
    let table = [
        (json!({}), true),
        (json!({"defaultAction": "AlloW"}), true),
        (json!({"defaultAction": "permit"}), false),
        (json!({"defaultAction": ""}), false),
        (json!({"defaultAction": "", "policies": []}), true),
        (json!({"defaultAction": "", "policies": policy}), false),
        (json!({"defaultAction": "", "trustDomain": ""}), true),
        (
            json!({"defaultAction": "", "trustDomain": "", "policies": []}),
            true,
        ),
    ];
    for (access, allowed) in table {
        let compiled = compile(&access, AppProtocol::Http);
        assert_eq!(
            allows(&compiled, Some(MYAPP), "x", Protocol::Http(Verb::GET)),
            allowed,
            "{access}"
        );
    }
    assert!(
        AccessControl::compile(None, AppProtocol::Http)
            .unwrap()
            .0
            .is_none()
    );
}

#[test]
fn the_last_policy_of_a_caller_replaces_those_before() {
    let policy = |default: &str| json!({"appId": "myapp", "namespace": "default", "trustDomain": "public", "defaultAction": default});
    let access = json!({"defaultAction": "deny", "policies": [policy("deny"), policy("allow")]});
    let compiled = compile(&access, AppProtocol::Http);
    assert!(allows(&compiled, Some(MYAPP), "x", Protocol::Http(Verb::GET)));
}

#[test]
fn a_refusal_has_the_text_that_callers_know() {
    let access = compile(&vectors(), AppProtocol::Http);
    let refusal = |peer, operation, protocol| {
        let subject = Subject {
            peer,
            operation,
            protocol,
        };
        access
            .permit(subject, &Metrics::disabled())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refusal(Some(MYAPP), "Nothing/X", Protocol::Http(Verb::PATCH)),
        "rpc error: code = PermissionDenied desc = access control policy has denied access to \
         id: spiffe://public/ns/default/myapp operation: Nothing/X verb: PATCH"
    );
    assert_eq!(
        refusal(None, "/pkg.Service/Method", Protocol::Grpc),
        "rpc error: code = PermissionDenied desc = access control policy has denied access to \
         id:  operation: /pkg.Service/Method verb: NONE"
    );
    for id in [
        "spiffe://public/myapp",
        "spiffe://public/ns/default",
        "spiffe://public/sa/default/myapp",
    ] {
        assert_eq!(
            refusal(Some(id), "op1", Protocol::Http(Verb::GET)),
            format!("rpc error: code = PermissionDenied desc = malformed SPIFFE ID: {id}")
        );
    }
    // Without access control nobody looks at the id.
    assert!(allows(
        &AccessControl::default(),
        Some("spiffe://public/myapp"),
        "x",
        Protocol::Grpc
    ));
    // A fourth segment is the app, whatever follows.
    let long = "spiffe://public/ns/default/myapp/more";
    assert!(allows(&access, Some(long), "op1", Protocol::Http(Verb::GET)));
}

#[test]
fn policies_without_a_caller_are_all_named() {
    let access = section(&json!({"policies": [
        {"appId": "a", "namespace": "n"},
        {"appId": "b", "trustDomain": "t"},
        {"namespace": "n", "trustDomain": "t"},
        {"appId": "c"},
    ]}));
    let error = AccessControl::compile(Some(&access), AppProtocol::Http).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid access control spec. missing trustdomain for apps: [a c], missing namespace for apps: [b c], \
         missing app name on at least one of the app policies: true"
    );
}

#[test]
fn decisions_are_counted_for_the_caller_and_whose_default_they_rest_on() {
    let metrics = Metrics::new(&outrigger_telemetry::metrics::MetricsSettings {
        app_id: "callee".into(),
        ..Default::default()
    })
    .unwrap();
    let access = compile(&vectors(), AppProtocol::Http);
    let myapp2 = "spiffe://public/ns/default/myapp2";
    for (peer, operation, verb) in [
        (Some(MYAPP), "op1", Verb::GET),
        (Some(MYAPP), "nothing", Verb::GET),
        (Some(myapp2), "x", Verb::GET),
        (None, "op1", Verb::GET),
        (Some("spiffe://public/short"), "op1", Verb::GET),
    ] {
        let subject = Subject {
            peer,
            operation,
            protocol: Protocol::Http(verb),
        };
        access.permit(subject, &metrics).ok();
    }
    let text = String::from_utf8(metrics.encode().to_vec()).unwrap();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("dapr_runtime_acl"))
        .collect();
    assert_eq!(
        lines,
        [
            r#"dapr_runtime_acl_app_policy_action_allowed_total{app_id="myapp",namespace="default",trustDomain="public"} 1"#,
            r#"dapr_runtime_acl_app_policy_action_blocked_total{app_id="myapp",namespace="default",trustDomain="public"} 1"#,
            r#"dapr_runtime_acl_global_policy_action_blocked_total{app_id="",namespace="",trustDomain=""} 1"#,
            r#"dapr_runtime_acl_global_policy_action_blocked_total{app_id="myapp2",namespace="default",trustDomain="public"} 1"#,
        ]
    );
}

fn any_policy() -> impl Strategy<Value = AccessPolicy> {
    let action = || prop_oneof![Just("allow"), Just("deny"), Just(""), Just("ALLOW")];
    let verb = prop_oneof![Just("GET"), Just("POST"), Just("*"), Just("get")];
    let operation = ("[/abB*]{0,8}", proptest::collection::vec(verb, 0..3), action());
    let operation = operation.prop_map(|(name, verbs, action)| AccessOperation {
        name,
        http_verbs: verbs.into_iter().map(str::to_owned).collect(),
        action: action.to_owned(),
    });
    let operations = proptest::collection::vec(operation, 0..6);
    ("[ab]", "[tu]", action(), operations).prop_map(|(app_id, trust_domain, default, operations)| {
        AccessPolicy {
            app_id,
            default_action: default.to_owned(),
            trust_domain,
            namespace: "n".to_owned(),
            operations,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn compiled_policies_decide_as_the_written_rules_do(
        default in prop_oneof![Just("allow"), Just("deny"), Just("")],
        policies in proptest::option::of(proptest::collection::vec(any_policy(), 0..3)),
        is_http_app: bool,
        method in "[/abAB*.]{0,8}",
        number in proptest::option::of(0..4_i32),
        has_peer: bool,
    ) {
        let section = configuration::AccessControl {
            default_action: default.to_owned(),
            trust_domain: "public".to_owned(),
            policies,
        };
        let protocol = if is_http_app { AppProtocol::Http } else { AppProtocol::Grpc };
        let access = AccessControl::compile(Some(&section), protocol).unwrap();
        let operation = outrigger_kit::method::normalise(&method).unwrap();
        let verb = number.map(Verb);
        let peer = has_peer.then_some(("t", "n", "a"));
        let id = has_peer.then_some("spiffe://t/ns/n/a");
        let expected = naive::allows(&section, is_http_app, peer, &operation, verb);
        let decided = allows(&access, id, &operation, verb.map_or(Protocol::Grpc, Protocol::Http));
        prop_assert_eq!(decided, expected.unwrap_or(true), "{:?} {:?}", section, operation);
    }
}
