use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Child, Command, Stdio};

use super::testing::Temporary;
use super::*;

fn record(app_id: &str, port: u16) -> Record {
    Record {
        app_id: app_id.to_owned(),
        namespace: "default".to_owned(),
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        announced: None,
        process: Process::current(),
        scope: process::scope(),
    }
}

fn folder() -> (Temporary, PathBuf) {
    let place = Temporary::new();
    let path = place.path().join("registry");
    folder::open(&path).unwrap();
    (place, path)
}

fn names(registry: &LocalRegistry) -> Vec<String> {
    registry.known().into_iter().map(|record| record.app_id).collect()
}

/// A process that lives until it is killed.
fn sleeper() -> (Child, Process) {
    let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    (child, Process { pid, started: None })
}

fn put(folder: &Path, record: &Record) -> PathBuf {
    let path = folder.join(record.file_name());
    fs::write(&path, record.to_text()).unwrap();
    path
}

#[tokio::test]
async fn sidecars_see_each_other_come_and_go() {
    let (_place, folder) = folder();
    let first = LocalRegistry::open(folder.clone(), record("first", 1)).unwrap();
    assert_eq!(names(&first), ["first"]);
    let mut changes = first.changes();
    let keeping = async {
        first.keep_up().await;
    };
    let story = async {
        let second = LocalRegistry::open(folder.clone(), record("second", 2)).unwrap();
        assert_eq!(names(&second), ["first", "second"]);
        changes.changed().await.unwrap();
        assert_eq!(names(&first), ["first", "second"]);
        drop(second);
        changes.changed().await.unwrap();
        assert_eq!(names(&first), ["first"]);
    };
    tokio::select! {
        () = keeping => {}
        () = story => {}
    }
    drop(first);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[tokio::test]
async fn files_of_dead_processes_are_swept_away() {
    let (_place, folder) = folder();
    let (mut child, process) = sleeper();
    let dead = Record {
        process,
        ..record("dead", 2)
    };
    let path = put(&folder, &dead);
    let registry = LocalRegistry::open(folder, record("own", 1)).unwrap();
    assert_eq!(names(&registry), ["dead", "own"]);
    child.kill().unwrap();
    child.wait().unwrap();
    registry.scan();
    assert_eq!(names(&registry), ["own"]);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_process_number_that_was_given_again_is_not_believed() {
    let (_place, folder) = folder();
    let own = Process::current();
    let earlier = Process {
        started: own.started.map(|started| started - 1),
        ..own
    };
    put(
        &folder,
        &Record {
            process: earlier,
            ..record("earlier", 2)
        },
    );
    let registry = LocalRegistry::open(folder, record("own", 1)).unwrap();
    assert_eq!(names(&registry), ["own"]);
}

#[tokio::test]
async fn a_port_belongs_to_the_process_that_started_last() {
    let (_place, folder) = folder();
    let (mut child, process) = sleeper();
    // Both numbers are alive, so only the port tells that one of the files is outdated.
    put(
        &folder,
        &Record {
            process,
            ..record("own-port", 1)
        },
    );
    put(
        &folder,
        &Record {
            process: Process {
                started: None,
                ..Process::current()
            },
            ..record("old", 2)
        },
    );
    put(&folder, &Record { ..record("new", 2) });
    let registry = LocalRegistry::open(folder, record("own", 1)).unwrap();
    assert_eq!(names(&registry), ["new", "own"]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn what_is_no_record_of_this_machine_is_left_alone() {
    let (place, folder) = folder();
    let elsewhere = put(place.path(), &record("linked", 2));
    symlink(elsewhere, folder.join("a.sidecar")).unwrap();
    fs::write(folder.join("b.sidecar"), "{}").unwrap();
    fs::write(folder.join("c.sidecar"), vec![b' '; 5000]).unwrap();
    fs::create_dir(folder.join("d.sidecar")).unwrap();
    fs::write(folder.join("e.txt"), record("text", 3).to_text()).unwrap();
    put(
        &folder,
        &Record {
            scope: "net-1-pid-1".to_owned(),
            ..record("container", 4)
        },
    );
    let registry = LocalRegistry::open(folder.clone(), record("own", 1)).unwrap();
    assert_eq!(names(&registry), ["own"]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 7);
}

#[tokio::test]
async fn the_file_is_whole_and_for_the_user_only() {
    let (_place, folder) = folder();
    let own = record("../own", 1);
    let registry = LocalRegistry::open(folder.clone(), own.clone()).unwrap();
    let listed: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(listed, [folder.join(own.file_name())]);
    assert_eq!(
        fs::metadata(&listed[0]).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(fs::read_to_string(&listed[0]).unwrap(), own.to_text());
    drop(registry);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_tidied_up_is_written_again() {
    let (_place, folder) = folder();
    let registry = LocalRegistry::open(folder.clone(), record("own", 1)).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    tokio::time::timeout(SWEEP * 2 + SETTLE * 2, registry.keep_up())
        .await
        .unwrap_err();
    assert!(registry.own_path().exists());
    assert_eq!(names(&registry), ["own"]);
}

#[test]
fn a_registry_can_be_switched_off() {
    let neighbour = Neighbour {
        address: SocketAddr::from(([127, 0, 0, 1], 1)),
        namespace: "default".to_owned(),
        folder: Meeting::Nowhere,
    };
    assert!(LocalRegistry::start("own", &neighbour, None).unwrap().is_none());
}
