use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use super::testing::Temporary;
use super::*;

fn record(app_id: &str, port: u16) -> Record {
    Record {
        app_id: app_id.to_owned(),
        namespace: "default".to_owned(),
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        announced: None,
        pid: std::process::id(),
        scope: scope(),
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

/// Writes a record that nobody has locked.
fn put(folder: &Path, record: &Record) -> PathBuf {
    let path = folder.join(record.file_name());
    fs::write(&path, record.to_text()).unwrap();
    path
}

/// Writes a record whose process lives until the result is dropped.
fn put_alive(folder: &Path, record: &Record) -> File {
    let file = File::open(put(folder, record)).unwrap();
    file.lock().unwrap();
    file
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
async fn files_of_dead_processes_are_swept_away_wherever_they_ran() {
    let (_place, folder) = folder();
    let process = put_alive(&folder, &record("dying", 2));
    let container = Record {
        scope: "net-1".to_owned(),
        ..record("container", 3)
    };
    put(&folder, &container);
    let registry = LocalRegistry::open(folder.clone(), record("own", 1)).unwrap();
    assert_eq!(names(&registry), ["dying", "own"]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    drop(process);
    registry.scan();
    assert_eq!(names(&registry), ["own"]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[tokio::test]
async fn a_killed_process_leaves_a_file_that_nobody_believes() {
    let (_place, folder) = folder();
    let path = put(&folder, &record("dying", 2));
    // The lock is the first process's alone.
    let mut holder = Command::new("flock")
        .arg("--close")
        .arg(&path)
        .args(["-c", "echo locked; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 7];
    holder.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    let registry = LocalRegistry::open(folder, record("own", 1)).unwrap();
    assert_eq!(names(&registry), ["dying", "own"]);
    holder.kill().unwrap();
    holder.wait().unwrap();
    drop(holder.stdin.take());
    registry.scan();
    assert_eq!(names(&registry), ["own"]);
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
    let container = Record {
        scope: "net-1".to_owned(),
        ..record("container", 4)
    };
    let _container = put_alive(&folder, &container);
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
