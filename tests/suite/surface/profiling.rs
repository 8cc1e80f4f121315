//! The profiling port, read as `go tool pprof` reads it.

use std::io::Read as _;

use anyhow::Context as _;
use outrigger_profile::Profile;
use outrigger_test_kit::http::get;
use outrigger_test_kit::{Daprd, HttpReply, Result, free_port, isolated};
use prost::Message as _;
use tokio::net::TcpStream;

fn decode(reply: &HttpReply) -> Result<Profile> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&reply.body[..])
        .read_to_end(&mut bytes)
        .context("no gzip")?;
    let profile = Profile::decode(&bytes[..])?;
    assert_eq!(profile.string_table.first().map(String::as_str), Some(""));
    // Every reference leads somewhere.
    for sample in &profile.sample {
        assert_eq!(sample.value.len(), profile.sample_type.len());
        for id in &sample.location_id {
            let location = profile.location.iter().find(|location| location.id == *id);
            for line in &location.context("no such location")?.line {
                let function = profile
                    .function
                    .iter()
                    .find(|function| function.id == line.function_id);
                let function = function.context("no such function")?;
                assert!(!profile.text(function.name).is_empty());
            }
        }
    }
    Ok(profile)
}

fn types(profile: &Profile) -> Vec<(&str, &str)> {
    profile
        .sample_type
        .iter()
        .map(|kind| (profile.text(kind.kind), profile.text(kind.unit)))
        .collect()
}

#[test]
fn cpu_and_memory_are_profiled_in_the_form_of_pprof() {
    isolated!(async {
        let port = free_port()?;
        let daprd = Daprd::builder("a")?
            .flag("enable-profiling", true)
            .flag("profile-port", port)
            .env("DAPR_API_TOKEN", "secret")
            .start()
            .await?;
        let line = format!("msg=\"HTTP profiling server listening on: 127.0.0.1:{port}\"");
        daprd.process.wait_for_line(&line).await?;
        let url = |path: &str| format!("http://127.0.0.1:{port}/debug/pprof/{path}");

        let profiled = tokio::spawn(get(url("profile?seconds=2")));
        while !profiled.is_finished() {
            daprd.get("/v1.0/metadata").await?;
        }
        let profile = decode(&profiled.await??)?;
        assert_eq!(types(&profile), [("samples", "count"), ("cpu", "nanoseconds")]);
        assert_eq!(profile.period, 10_000_000);
        assert!(profile.duration_nanos >= 2_000_000_000);
        assert!(!profile.sample.is_empty() && !profile.mapping.is_empty());
        let threads: Vec<_> = profile
            .sample
            .iter()
            .filter_map(|sample| sample.label.first())
            .map(|label| profile.text(label.text))
            .collect();
        assert!(
            threads.iter().any(|name| name.starts_with("worker-")),
            "{threads:?}"
        );

        let heap = decode(&get(url("heap")).await?)?;
        assert_eq!(heap.text(heap.default_sample_type), "inuse_space");
        let resident: i64 = heap.sample.iter().filter_map(|sample| sample.value.last()).sum();
        assert!(resident > 1 << 20, "{resident} bytes");
        for name in ["goroutine", "threadcreate", "allocs"] {
            assert!(!decode(&get(url(name)).await?)?.sample.is_empty(), "{name}");
        }
        let command = get(url("cmdline")).await?.text();
        assert!(command.split('\0').any(|word| word == "--app-id=a"), "{command}");
        assert_eq!(get(url("")).await?.status, 200);
        assert_eq!(get(url("nothing")).await?.text(), "Unknown profile\n");
        assert_eq!(get(url("trace")).await?.status, 501);
        Ok(())
    });
}

#[test]
fn two_cpu_profiles_at_once_are_refused_and_a_stop_does_not_wait_for_one() {
    isolated!(async {
        let port = free_port()?;
        let mut daprd = Daprd::builder("a")?
            .flag("enable-profiling", true)
            .flag("profile-port", port)
            .start()
            .await?;
        let url =
            move |seconds: u32| format!("http://127.0.0.1:{port}/debug/pprof/profile?seconds={seconds}");
        // Whichever comes first refuses the other; the long one asks again.
        let long = tokio::spawn(async move {
            loop {
                let reply = get(url(600)).await?;
                if reply.status == 200 {
                    return anyhow::Ok(reply);
                }
            }
        });
        let refused = outrigger_test_kit::until("a refusal", async || {
            let reply = get(url(1)).await.ok()?;
            (reply.status == 500).then_some(reply)
        })
        .await?;
        assert_eq!(
            refused.text(),
            "Could not enable CPU profiling: cpu profiling already in use\n"
        );
        assert_eq!(refused.header("x-go-pprof"), Some("1"));
        assert_eq!(daprd.process.stop().await?.code(), Some(0));
        decode(&long.await??)?;
        Ok(())
    });
}

#[test]
fn the_port_is_closed_unless_it_is_asked_for() {
    isolated!(async {
        let port = free_port()?;
        let _daprd = Daprd::builder("a")?.flag("profile-port", port).start().await?;
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
        Ok(())
    });
}
