//! Which sockets a sidecar finds, and what it says of them.

use outrigger_test_kit::{Directory, PluggableComponent, isolated, until};

use super::{Rig, resource, sidecar};

#[test]
fn a_socket_brings_a_component_type_and_the_metadata_show_what_it_can() {
    isolated!(async {
        let rig = Rig::start().await?;
        let log = &rig.daprd.process;
        for service in ["SecretStore", "StateStore"] {
            log.wait_for_line(&format!(
                "pluggable component 'mystore' was successfully registered for 'dapr.proto.components.v1.{service}'"
            ))
            .await?;
        }
        let metadata = rig.daprd.get("/v1.0/metadata").await?.json()?;
        let expected = serde_json::json!([{
            "name": "mystore",
            "type": "state.mystore",
            "version": "v1",
            "capabilities": ["ETAG", "TRANSACTIONAL", "ACTOR"],
        }]);
        assert_eq!(metadata["components"], expected);
        let init = &rig.component.calls("StateStore/Init")[0];
        assert_eq!(init.instance.as_deref(), Some("mystore"));
        assert_eq!(rig.component.calls("SecretStore/Init").len(), 0);
        Ok(())
    });
}

#[test]
fn files_that_are_no_sockets_are_told_of_and_passed_over() {
    isolated!(async {
        let folder = Directory::new()?;
        let file = folder.write("notes.txt", "no socket")?;
        let _component = PluggableComponent::start(folder.path(), "MyStore")?;
        let daprd = sidecar(&folder)?
            .resource("store.yaml", &resource("shop", "state.MYSTORE"))?
            .start()
            .await?;
        let line = format!("could not use socket for file {}", file.display());
        assert_eq!(daprd.process.lines_with(&line).len(), 1);
        Ok(())
    });
}

#[test]
fn a_socket_without_a_listener_ends_the_search_and_not_the_sidecar() {
    isolated!(async {
        let folder = Directory::new()?;
        let _alive = PluggableComponent::start(folder.path(), "alive")?;
        let mut gone = PluggableComponent::start(folder.path(), "gone")?;
        gone.stop();
        until("the listener to be gone", async || {
            tokio::net::UnixStream::connect(gone.socket())
                .await
                .is_err()
                .then_some(())
        })
        .await?;
        let daprd = sidecar(&folder)?.start().await?;
        let lines = daprd
            .process
            .lines_with("could not initialize pluggable components unable to list services: rpc error: code = Unavailable");
        assert_eq!(lines.len(), 1, "{}", daprd.process.tail());
        assert!(daprd.process.lines_with("was successfully registered").is_empty());
        Ok(())
    });
}

#[test]
fn a_component_without_a_socket_is_of_an_unknown_type() {
    isolated!(async {
        let folder = Directory::new()?;
        let mut daprd = sidecar(&folder)?
            .resource("store.yaml", &resource("shop", "state.mystore"))?
            .spawn()?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let lines = daprd
            .process
            .lines_with("couldn't find state store state.mystore/v1");
        assert!(!lines.is_empty(), "{}", daprd.process.tail());
        Ok(())
    });
}
