//! One binary, several programs.

use std::os::unix::fs::symlink;

use outrigger_test_kit::{Directory, Program, Result, outrigger_binary};

const PROGRAMS: [&str; 2] = ["daprd", "sentry"];

#[tokio::test]
async fn the_name_of_the_file_chooses_the_program() -> Result<()> {
    let directory = Directory::new()?;
    for (file, program) in [
        ("daprd", "daprd"),
        ("daprd-linux-amd64", "daprd"),
        ("daprd.exe", "daprd"),
        ("sentry", "sentry"),
        ("sentry_1", "sentry"),
    ] {
        let link = directory.path().join(file);
        symlink(outrigger_binary()?, &link)?;
        let (status, process) = Program::new(&link).arg("--help").run().await?;
        assert_eq!(status.code(), Some(0), "{file}");
        assert!(
            process.lines().contains(&format!("Usage of {program}:")),
            "{file}: {:?}",
            process.lines()
        );
        let (status, process) = Program::new(&link).arg("-version").run().await?;
        assert_eq!(status.code(), Some(0), "{file}");
        assert_eq!(process.stdout().len(), 1, "{file}");
    }
    Ok(())
}

#[tokio::test]
async fn the_first_argument_chooses_the_program() -> Result<()> {
    for name in PROGRAMS {
        let (status, process) = Program::outrigger(name)?.arg("--help").run().await?;
        assert_eq!(status.code(), Some(0));
        assert!(process.lines().contains(&format!("Usage of {name}:")));
    }
    Ok(())
}

#[tokio::test]
async fn a_name_that_is_no_program_lists_the_programs() -> Result<()> {
    let directory = Directory::new()?;
    let link = directory.path().join("daprdx");
    symlink(outrigger_binary()?, &link)?;
    let programs = [
        Program::new(outrigger_binary()?),
        Program::new(outrigger_binary()?).arg("nothing"),
        Program::new(&link),
    ];
    for program in programs {
        let (status, process) = program.run().await?;
        assert_eq!(status.code(), Some(64));
        assert_eq!(process.stdout(), [""; 0]);
        let text = process.stderr().join("\n");
        for name in PROGRAMS {
            assert!(text.contains(&format!("\n  {name} ")), "{text}");
        }
    }
    let (status, process) = Program::new(outrigger_binary()?).arg("--help").run().await?;
    assert_eq!(status.code(), Some(0));
    assert!(process.stdout()[0].starts_with("usage: outrigger "));
    Ok(())
}
