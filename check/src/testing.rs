//! A world in memory, and the tests that look at whole reports.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use outrigger_config::resources::Files;

use super::*;

struct Memory(BTreeMap<PathBuf, String>);

impl Files for Memory {
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let inside = self.0.keys().filter(|path| path.parent() == Some(folder));
        let names: Vec<_> = inside
            .filter_map(|path| path.file_name())
            .map(PathBuf::from)
            .collect();
        match names.is_empty() {
            true => Err(io::Error::from_raw_os_error(2)),
            false => Ok(names),
        }
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        let text = self.0.get(file).ok_or_else(|| io::Error::from_raw_os_error(2))?;
        Ok(text.clone().into_bytes())
    }
}

/// The lines of a report on these files, without the last one.
fn report(line: &str, environment: &[(&str, &str)], files: &[(&str, &str)]) -> Vec<String> {
    let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
    let files = files
        .iter()
        .map(|(path, text)| (PathBuf::from(path), (*text).to_owned()));
    let files = Memory(files.collect());
    let environment: std::collections::HashMap<String, String> = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let built_in: Vec<_> = catalogue::all().collect();
    let world = World {
        environment: &environment,
        files: &files,
        now: SystemTime::now(),
        built_in: &built_in,
    };
    let report = check(&Options::parse(&words).unwrap(), world);
    let mut lines: Vec<_> = report.text.lines().map(str::to_owned).collect();
    lines.pop();
    assert_eq!(report.is_clean, lines.is_empty());
    lines
}

fn of_resource(text: &str) -> Vec<String> {
    report("--app-id app --resources-path r", &[], &[("r/a.yaml", text)])
}

fn of_configuration(text: &str) -> Vec<String> {
    report("--app-id app --config c.yaml", &[], &[("c.yaml", text)])
}

const HEAD: &str = "apiVersion: dapr.io/v1alpha1\nkind: ";

#[test]
fn a_good_folder_is_clean() {
    let text = format!(
        "{HEAD}Component\nmetadata: {{name: s}}\nspec:\n  type: State.Redis\n  version: v1\n---\n\
         {HEAD}Component\nmetadata: {{name: state}}\nspec: {{type: state.redis, version: v1, initTimeout: 5s, metadata: [\
         {{name: redisHost, value: 'h:1'}}]}}\nscopes: [app]\n"
    );
    let expected = [r#"r/a.yaml:5: unknown component type "State.Redis"; did you mean "state.redis"?"#];
    assert_eq!(of_resource(&text), expected);
    let text = text.replace("State.Redis", "state.Redis");
    assert!(of_resource(&text).is_empty());
}

#[test]
fn a_type_whose_socket_is_there_is_known() {
    let text = format!(
        "{HEAD}Component\nmetadata: {{name: s}}\nspec:\n  type: state.MyStore\n  version: v7\n  metadata: [{{name: a, \
         value: b}}]\n"
    );
    let files = [("r/a.yaml", text.as_str()), ("/sockets/mystore.sock", "")];
    let folder = [("DAPR_COMPONENTS_SOCKETS_FOLDER", "/sockets")];
    let line = "--app-id app --resources-path r";
    assert!(report(line, &folder, &files).is_empty());
    assert_eq!(
        report(line, &[], &files)[0],
        r#"r/a.yaml:5: unknown component type "state.MyStore""#
    );
}

#[test]
fn fields_and_metadata_that_nobody_knows_are_told_with_what_was_meant() {
    let text = format!(
        "{HEAD}Component\nmetadata: {{name: s}}\nspec:\n  type: middleware.http.uppercase\n  verion: v1\n  \
         initTimeout: 5x\n  metadata:\n  - name: dirction\n    value: both\n  - {{name: dirction, vlue: x}}\n"
    );
    let expected = [
        r#"r/a.yaml:6: unknown field spec.verion; did you mean "version"?"#,
        r#"r/a.yaml:7: spec.initTimeout: time: unknown unit "x" in duration "5x""#,
        r#"r/a.yaml:9: middleware.http.uppercase has no metadata property "dirction"; did you mean "direction"?"#,
        r#"r/a.yaml:11: metadata property "dirction" stands twice; the last one counts"#,
        r#"r/a.yaml:11: middleware.http.uppercase has no metadata property "dirction"; did you mean "direction"?"#,
        r#"r/a.yaml:11: unknown field spec.metadata[1].vlue; did you mean "value"?"#,
    ];
    assert_eq!(of_resource(&text), expected);
}

#[test]
fn secrets_are_looked_for_where_they_should_be() {
    let store = |name: &str, kind: &str, metadata: &str| {
        format!(
            "{HEAD}Component\nmetadata: {{name: {name}}}\nspec: {{type: secretstores.local.{kind}, version: v1, metadata: [{metadata}]}}\n---\n"
        )
    };
    let user = |store: &str, secret: &str| {
        format!(
            "{HEAD}Component\nmetadata: {{name: u}}\nspec:\n  type: state.redis\n  version: v1\n  metadata:\n  \
                 - {{name: redisPassword, secretKeyRef: {secret}}}\nauth: {{secretStore: {store}}}\n"
        )
    };
    let stores = store("env", "env", "")
        + &store("files", "file", "{name: secretsFile, value: s.json}")
        + &store(
            "multi",
            "file",
            "{name: secretsFile, value: s.json}, {name: multiValued, value: 'true'}",
        );
    let ask = |store: &str, secret: &str| {
        let files = [
            ("r/a.yaml", stores.as_str()),
            ("r/b.yaml", &user(store, secret)),
            ("s.json", r#"{"redis": {"pass": "x"}, "b": "y", "list": ["z"]}"#),
        ];
        let files = files.map(|(path, text)| (path, text.to_owned()));
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        report("--app-id app --resources-path r", &[("HERE", "1")], &files)
    };
    assert!(ask("env", "{name: HERE}").is_empty());
    assert!(ask("files", "{name: 'redis:pass'}").is_empty());
    assert!(ask("files", "{name: 'list:0'}").is_empty());
    assert!(ask("multi", "{name: redis, key: pass}").is_empty());
    assert_eq!(
        ask("multi", "{name: redis, key: pas}"),
        [r#"r/b.yaml:8: secret "redis" of store multi has no key "pas"; did you mean "pass"?"#]
    );
    assert_eq!(
        ask("multi", "{name: list}"),
        [r#"r/b.yaml:8: secret "list" is not in store multi (s.json)"#]
    );
    assert_eq!(
        ask("env", "{name: AWAY}"),
        [r#"r/b.yaml:8: secret "AWAY" is not in the environment"#]
    );
    assert_eq!(
        ask("env", "{name: DAPR_X}"),
        [r#"r/b.yaml:8: secret "DAPR_X" is the sidecar's own, and empty for others"#]
    );
    assert_eq!(
        ask("files", "{name: 'redis:pas'}"),
        [r#"r/b.yaml:8: secret "redis:pas" is not in store files (s.json); did you mean "redis:pass"?"#]
    );
    assert_eq!(
        ask("fils", "{name: x}"),
        [r#"r/b.yaml:9: secret store "fils" does not exist; did you mean "files"?"#]
    );
    assert_eq!(
        ask("''", "{name: x}"),
        [r#"r/b.yaml:8: secret "x" has no store: auth.secretStore is missing"#]
    );
}

#[test]
fn names_that_are_taken_and_scopes_of_nobody_are_told() {
    let component = |name: &str, scopes: &str| {
        format!(
            "{HEAD}Component\nmetadata: {{name: {name}}}\nspec: {{type: state.redis, version: v1}}\nscopes: {scopes}\n---\n"
        )
    };
    let text = component("a", "[app]")
        + &component("a", "[other]")
        + &component("a", "[]")
        + &component("b", "[other, ap]");
    let expected = [
        r#"r/a.yaml:15: Component "a" is defined at r/a.yaml:3 already"#,
        r#"r/a.yaml:23: scopes: nothing else names the app "ap"; did you mean "app"?"#,
    ];
    assert_eq!(of_resource(&text), expected);
}

#[test]
fn policies_and_targets_must_exist() {
    let text = format!(
        "{HEAD}Resiliency\nmetadata: {{name: r}}\nspec:\n  policies:\n    timeouts: {{fast: 5s, bad: 5q}}\n    retries:\n      \
         important: {{policy: constnt, duration: 100, maxRetries: 3}}\n    circuitBreakers:\n      calm: {{trip: \
         consecutiveFailures > 0.5}}\n      usual: {{}}\n  targets:\n    apps:\n      app: {{timeout: fsat, retry: \
         important, circuitBreaker: x}}\n    components:\n      nothing: {{outbound: {{retry: DaprBuiltInServiceRetries}}}}\n    \
         actors: {{}}\n"
    );
    let expected = [
        r#"r/a.yaml:6: spec.policies.timeouts.bad: time: unknown unit "q" in duration "5q""#,
        r#"r/a.yaml:8: spec.policies.retries.important.policy: "constnt" is none of constant, exponential; did you mean "constant"?"#,
        r#"r/a.yaml:10: trip of circuitBreaker "calm": ERROR: <input>:1:21: found no matching overload for '_>_' applied to '(int, double)'"#,
        r#"r/a.yaml:14: circuitBreaker policy "x" does not exist"#,
        r#"r/a.yaml:14: timeout policy "fsat" does not exist; did you mean "fast"?"#,
        r#"r/a.yaml:16: target component "nothing" does not exist"#,
    ];
    assert_eq!(of_resource(&text), expected);
}

#[test]
fn a_configuration_must_fit_to_what_is_loaded() {
    let text = "kind: Configuration\nspec:\n  tracing: {samplingRate: 2, stdot: true}\n  features:\n  - {name: HotRelaod, enabled: true}\n  \
         httpPipeline:\n    handlers:\n    - {name: up, type: middleware.http.uppercase}\n  accessControl:\n    defaultAction: alow\n    \
         policies:\n    - appId: a\n      operations:\n      - {name: /x, httpVerb: [get], action: allow}\n  api:\n    \
         allowed: [{name: stat, version: v1, protocol: GRPC}]\n  nameResolution: {component: mdsn}\n";
    let expected = [
        r#"c.yaml:3: spec.tracing.samplingRate "2" is no number from 0 to 1"#,
        r#"c.yaml:3: spec.tracing.samplingRate is a number, not a text: put it in quotes"#,
        r#"c.yaml:3: unknown field spec.tracing.stdot; did you mean "stdout"?"#,
        r#"c.yaml:5: unknown feature "HotRelaod"; did you mean "HotReload"?"#,
        r#"c.yaml:8: middleware component "up" does not exist"#,
        r#"c.yaml:10: accessControl.defaultAction "alow" is neither allow nor deny: it denies; did you mean "allow"?"#,
        r#"c.yaml:12: access policy of app "a" has no namespace"#,
        r#"c.yaml:12: access policy of app "a" has no trustDomain"#,
        r#"c.yaml:14: httpVerb "get" matches no call; did you mean "GET"?"#,
        r#"c.yaml:16: API protocol "GRPC" is neither http nor grpc"#,
        r#"c.yaml:16: there is no API "stat"; did you mean "state"?"#,
        r#"c.yaml:17: unknown name resolver "mdsn"; did you mean "mdns"?"#,
    ];
    assert_eq!(of_configuration(text), expected);
}

#[test]
fn options_that_contradict_each_other_are_told() {
    let line = "--app-id app --app-port 3500 --dapr-http-port 3500 --enable-mtls --metrics-port 50001";
    let expected = [
        "command line: --dapr-grpc-port and --metrics-port are both 50001",
        "command line: --enable-mtls needs --sentry-address",
        "command line: --enable-mtls needs DAPR_TRUST_ANCHORS in the environment",
        "command line: the 'dapr-http-port' argument value 3500 conflicts with 'app-port'",
    ];
    assert_eq!(report(line, &[], &[]), expected);
    let line = "--app-id app --enable-app-health-check --config none.yaml --resources-path nowhere";
    let expected = [
        "command line: --enable-app-health-check does nothing without --app-port",
        "none.yaml: cannot be read: no such file or directory",
        "nowhere: the folder cannot be read: no such file or directory",
    ];
    assert_eq!(report(line, &[], &[]), expected);
}

#[test]
fn certificates_near_their_end_and_keys_of_others_are_told() {
    let pem = |days: i64| {
        let mut parameters = rcgen::CertificateParams::new(vec!["h".to_owned()]).unwrap();
        let now = time::OffsetDateTime::now_utc();
        (parameters.not_before, parameters.not_after) =
            (now - time::Duration::days(90), now + time::Duration::days(days));
        let key = rcgen::KeyPair::generate().unwrap();
        (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let endpoint = |certificate: &str, key: &str| {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        format!(
            "{HEAD}HTTPEndpoint\nmetadata: {{name: e}}\nspec:\n  baseUrl: https://h\n  clientTLS:\n    certificate: {{value: {}}}\n    \
             privateKey: {{value: {}}}\n",
            quoted(certificate),
            quoted(key)
        )
    };
    let ((good, key), (near, _), (over, _)) = (pem(90), pem(10), pem(-1));
    assert!(of_resource(&endpoint(&good, &key)).is_empty());
    let found = of_resource(&endpoint(&near, &key));
    assert!(
        found[0].starts_with("r/a.yaml:7: clientTLS.certificate: certificate "),
        "{found:?}"
    );
    assert!(found[0].ends_with(" expires in 9 days"), "{found:?}");
    assert_eq!(
        found[1],
        "r/a.yaml:8: clientTLS.privateKey does not belong to clientTLS.certificate"
    );
    let found = report("--app-id app", &[("DAPR_TRUST_ANCHORS", &over)], &[]);
    assert!(
        found[0].starts_with("environment: DAPR_TRUST_ANCHORS: certificate "),
        "{found:?}"
    );
    assert!(found[0].ends_with(" has expired"), "{found:?}");
    let found = report("--app-id app", &[("DAPR_TRUST_ANCHORS", "x")], &[]);
    assert_eq!(
        found,
        ["environment: DAPR_TRUST_ANCHORS holds no certificate in PEM form"]
    );
}

#[test]
fn json_has_the_same_content() {
    let words = [
        "--app-id",
        "app",
        "--resources-path",
        "nowhere",
        "--output",
        "json",
    ]
    .map(str::to_owned);
    let world = World {
        environment: &outrigger_config::env::EmptyEnv,
        files: &Memory(BTreeMap::new()),
        now: SystemTime::now(),
        built_in: &[],
    };
    let report = check(&Options::parse(&words).unwrap(), world);
    assert_eq!(
        report.text,
        "{\"files\":0,\"mistakes\":[{\"file\":\"nowhere\",\"line\":null,\"message\":\"the folder cannot be read: no such file or directory\"}]}\n"
    );
}
