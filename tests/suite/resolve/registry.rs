//! The registry of a machine: sidecars find each other without a network.

use std::os::unix::fs::PermissionsExt;

use outrigger_test_kit::{Directory, HttpApp, Signal, isolated, until};

use super::{cut_the_wire, files, meeting, named, sidecar};

#[test]
fn without_any_network_sidecars_of_a_machine_find_each_other() {
    isolated!(async {
        cut_the_wire()?;
        let (directory, app) = (Directory::new()?, named("callee").await?);
        // All addresses: the way of those who set nothing.
        let caller = sidecar("caller", &directory)?
            .flag("dapr-internal-grpc-listen-address", "")
            .start()
            .await?;
        let nobody = caller.invoke("callee", "x").await?;
        assert_eq!(nobody.status, 500);
        assert!(
            nobody.text().contains("couldn't find service: callee"),
            "{}",
            nobody.text()
        );
        let _callee = sidecar("callee", &directory)?
            .flag("dapr-internal-grpc-listen-address", "")
            .app("http", app.port())
            .start()
            .await?;
        assert_eq!(caller.invoke("callee", "x").await?.text(), "callee");
        let told = caller.process.lines_with("no interface carries multicast");
        assert_eq!(told.len(), 1, "{}", caller.process.tail());
        Ok(())
    });
}

#[test]
fn an_end_leaves_nothing_behind_and_a_kill_only_until_the_next_look() {
    isolated!(async {
        let directory = Directory::new()?;
        let mut first = sidecar("first", &directory)?.start().await?;
        let mut second = sidecar("second", &directory)?.start().await?;
        let names = files(&directory)?;
        assert_eq!(names.len(), 2);
        assert!(
            names[0].starts_with("first.") && names[1].starts_with("second."),
            "{names:?}"
        );
        first.process.stop().await?;
        assert_eq!(files(&directory)?.len(), 1);
        second.process.signal(Signal::Kill).await?;
        second.process.exit().await?;
        assert_eq!(files(&directory)?.len(), 1);
        let third = sidecar("third", &directory)?.start().await?;
        let names = files(&directory)?;
        assert!(names.len() == 1 && names[0].starts_with("third."), "{names:?}");
        let contents = std::fs::read_to_string(directory.path().join("registry").join(&names[0]))?;
        let address = format!(r#""address":"127.0.0.1:{}""#, third.internal_port);
        assert!(contents.contains(&address), "{contents}");
        Ok(())
    });
}

#[test]
fn a_callee_that_was_killed_and_starts_elsewhere_is_found_again() {
    isolated!(async {
        cut_the_wire()?;
        let (directory, app) = (Directory::new()?, named("callee").await?);
        let caller = sidecar("caller", &directory)?.start().await?;
        let mut callee = sidecar("callee", &directory)?
            .app("http", app.port())
            .start()
            .await?;
        for _ in 0..3 {
            assert_eq!(caller.invoke("callee", "x").await?.status, 200);
            callee.process.signal(Signal::Kill).await?;
            callee.process.exit().await?;
            callee = sidecar("callee", &directory)?
                .app("http", app.port())
                .start()
                .await?;
            // A call that set out before the news keeps its address, as with one instance it must.
            until("the next run to be found", async || {
                (caller.invoke("callee", "x").await.ok()?.status == 200).then_some(())
            })
            .await?;
        }
        assert_eq!(files(&directory)?.len(), 2);
        Ok(())
    });
}

#[test]
fn apps_of_one_name_are_told_apart_by_their_namespaces() {
    isolated!(async {
        let directory = Directory::new()?;
        let (here, there) = (named("here").await?, named("there").await?);
        let caller = sidecar("caller", &directory)?.start().await?;
        let _here = sidecar("callee", &directory)?
            .app("http", here.port())
            .start()
            .await?;
        let _there = sidecar("callee", &directory)?
            .env("NAMESPACE", "other")
            .app("http", there.port())
            .start()
            .await?;
        for _ in 0..10 {
            assert_eq!(caller.invoke("callee", "x").await?.text(), "here");
            assert_eq!(caller.invoke("callee.other", "x").await?.text(), "there");
        }
        Ok(())
    });
}

#[test]
fn a_restart_in_the_same_process_keeps_its_place() {
    isolated!(async {
        cut_the_wire()?;
        let (directory, app) = (Directory::new()?, named("callee").await?);
        let caller = sidecar("caller", &directory)?.start().await?;
        let callee = sidecar("callee", &directory)?
            .app("http", app.port())
            .start()
            .await?;
        assert_eq!(caller.invoke("callee", "x").await?.status, 200);
        callee.process.signal(Signal::Hangup).await?;
        let line = "dapr initialized. Status: Running.";
        callee.process.wait_for_lines(line, 2).await?;
        assert_eq!(caller.invoke("callee", "x").await?.status, 200);
        assert_eq!(files(&directory)?.len(), 2);
        Ok(())
    });
}

#[test]
fn with_the_registry_off_a_machine_without_multicast_is_refused_as_specified() {
    isolated!(async {
        cut_the_wire()?;
        let directory = Directory::new()?;
        let mut alone = sidecar("alone", &directory)?
            .flag("local-registry", "off")
            .spawn()?;
        assert_eq!(alone.process.exit().await?.code(), Some(1));
        let fatal = "[INIT_COMPONENT_FAILURE]: initialization error occurred for nr (mdns/v1): No supported interface";
        assert_eq!(
            alone.process.lines_with(fatal).len(),
            1,
            "{}",
            alone.process.tail()
        );
        assert!(!directory.path().join("registry").exists());
        Ok(())
    });
}

#[test]
fn a_resolver_that_the_configuration_names_is_the_only_one() {
    isolated!(async {
        let directory = Directory::new()?;
        let _daprd = sidecar("a", &directory)?
            .configuration("spec: {nameResolution: {component: mdns}}")?
            .start()
            .await?;
        assert!(!directory.path().join("registry").exists());
        Ok(())
    });
}

#[test]
fn a_folder_that_others_may_write_to_is_not_used() {
    isolated!(async {
        let (directory, app) = (Directory::new()?, HttpApp::echo().await?);
        std::fs::create_dir(meeting(&directory))?;
        std::fs::set_permissions(meeting(&directory), std::fs::Permissions::from_mode(0o777))?;
        let caller = sidecar("caller", &directory)?.start().await?;
        let _callee = sidecar("callee", &directory)?
            .app("http", app.port())
            .start()
            .await?;
        assert_eq!(caller.process.lines_with("is open to other users").len(), 1);
        assert!(files(&directory)?.is_empty());
        until("the callee to be found by multicast", async || {
            (caller.invoke("callee", "x").await.ok()?.status == 200).then_some(())
        })
        .await
    });
}

#[test]
fn what_stands_in_the_registry_proves_nothing() {
    isolated!(async {
        use outrigger_test_kit::Sentry;

        let directory = Directory::new()?;
        let (sentry, real, thief_app) = (
            Sentry::start().await?,
            named("real").await?,
            named("thief").await?,
        );
        let caller = sidecar("caller", &directory)?.mtls(&sentry).start().await?;
        let thief = sidecar("thief", &directory)?
            .mtls(&sentry)
            .app("http", thief_app.port())
            .start()
            .await?;
        // The file of a sidecar that claims to be another app.
        let names = files(&directory)?;
        let name = names
            .iter()
            .find(|name| name.starts_with("thief."))
            .expect("it is entered");
        let folder = directory.path().join("registry");
        let text = std::fs::read_to_string(folder.join(name))?;
        let forged = folder.join(format!("forged-{name}"));
        std::fs::write(&forged, text.replace("\"thief\"", "\"vault\""))?;
        // The file of a sidecar that is alive is locked by it.
        let forged = std::fs::File::open(forged)?;
        forged.lock()?;

        let refused = caller.invoke("vault", "x").await?;
        assert_eq!(refused.status, 500, "{}", refused.text());
        assert!(
            refused.text().contains("authentication handshake failed"),
            "{}",
            refused.text()
        );
        let _real = sidecar("vault", &directory)?
            .mtls(&sentry)
            .app("http", real.port())
            .start()
            .await?;
        until("the real one to be found", async || {
            (caller.invoke("vault", "x").await.ok()?.text() == "real").then_some(())
        })
        .await?;
        for _ in 0..5 {
            assert_eq!(caller.invoke("vault", "x").await?.text(), "real");
        }
        drop(thief);
        Ok(())
    });
}
