//! Files that people write: resources of every kind and Configurations. Reading one never panics or hangs.

#![no_main]

use std::io;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use outrigger_config::configuration::Configuration;
use outrigger_config::env::EmptyEnv;
use outrigger_config::resources::{
    Component, Files, HttpEndpoint, Manifests, McpServer, Resiliency, Resource, Subscription,
    WatchedConfiguration, WorkflowAccessPolicy,
};

/// A folder with one file.
struct OneFile<'a>(&'a [u8]);

impl Files for OneFile<'_> {
    fn list(&self, _directory: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(vec![PathBuf::from("file.yaml")])
    }

    fn read(&self, _file: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.to_vec())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let files = OneFile(bytes);
    let manifests = Manifests::read(&files, &[PathBuf::from("resources")]).expect("the folder can be listed");
    select::<Component>(&manifests);
    select::<HttpEndpoint>(&manifests);
    select::<McpServer>(&manifests);
    select::<Resiliency>(&manifests);
    select::<Subscription>(&manifests);
    select::<WatchedConfiguration>(&manifests);
    select::<WorkflowAccessPolicy>(&manifests);
    if let Err(error) = Configuration::from_files(&["file.yaml".to_owned()], &files, &EmptyEnv) {
        assert!(!error.to_string().is_empty());
    }
});

fn select<R: Resource>(manifests: &Manifests) {
    let loaded = manifests.select::<R>();
    assert!(loaded.warnings.iter().all(|warning| !warning.is_empty()));
}
