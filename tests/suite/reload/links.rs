//! Folders that are replaced as a whole by a symbolic link, as Kubernetes does with ConfigMaps.

use std::os::unix::fs::symlink;
use std::path::Path;

use outrigger_test_kit::{Daprd, Directory, Result, isolated};

use super::{answered_by, endpoint, restarts, server};

/// Lets a link lead elsewhere in one step.
fn swap(link: &Path, to: &str) -> Result<()> {
    let next = link.with_file_name("next");
    symlink(to, &next)?;
    Ok(std::fs::rename(next, link)?)
}

#[test]
fn a_config_map_is_taken_when_its_data_link_is_swapped() {
    isolated!(async {
        let (one, two) = (server("one").await?, server("two").await?);
        let folder = Directory::new()?;
        folder.write("..2026_1/web.yaml", endpoint("web", one.port()))?;
        symlink("..2026_1", folder.path().join("..data"))?;
        symlink("..data/web.yaml", folder.path().join("web.yaml"))?;
        let daprd = Daprd::builder("a")?
            .flag("resources-path", folder.path().display())
            .start()
            .await?;
        answered_by(&daprd, "one").await?;
        folder.write("..2026_2/web.yaml", endpoint("web", two.port()))?;
        swap(&folder.path().join("..data"), "..2026_2")?;
        std::fs::remove_dir_all(folder.path().join("..2026_1"))?;
        answered_by(&daprd, "two").await?;
        daprd.ready().await?;
        assert_eq!(restarts(&daprd.process), 1);
        Ok(())
    });
}

#[test]
fn a_folder_behind_a_link_is_followed_to_its_next_place_and_watched_there() {
    isolated!(async {
        let (one, two, three) = (server("one").await?, server("two").await?, server("three").await?);
        let folder = Directory::new()?;
        folder.write("1/resources/web.yaml", endpoint("web", one.port()))?;
        folder.write("2/resources/web.yaml", endpoint("web", two.port()))?;
        let current = folder.path().join("current");
        symlink("1", &current)?;
        let daprd = Daprd::builder("a")?
            .flag("resources-path", current.join("resources").display())
            .start()
            .await?;
        answered_by(&daprd, "one").await?;
        swap(&current, "2")?;
        answered_by(&daprd, "two").await?;
        folder.write("2/resources/web.yaml", endpoint("web", three.port()))?;
        answered_by(&daprd, "three").await?;
        assert_eq!(daprd.process.lines_with("level=fatal").len(), 0);
        Ok(())
    });
}
