//! The commands of the README do what it says.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use outrigger_test_kit::{Directory, Program, Result, example_store, isolated, outrigger_binary};

const README: &str = include_str!("../../README.md");

/// What a script prints between the blocks.
const MARK: &str = "=== block";

/// A shell block of the README that is marked `<!-- run -->` or `<!-- run: expected text -->`.
struct Block {
    commands: &'static str,
    expected: Option<&'static str>,
}

/// All marked blocks in their order.
fn blocks() -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut rest = README;
    while let Some((_, marked)) = rest.split_once("<!-- run") {
        let (mark, tail) = marked.split_once("-->").context("a mark without an end")?;
        let tail = tail
            .strip_prefix("\n```bash\n")
            .context("a mark stands on the line before its block")?;
        let (commands, tail) = tail.split_once("```").context("a block without an end")?;
        let expected = mark.strip_prefix(':').map(str::trim);
        blocks.push(Block { commands, expected });
        rest = tail;
    }
    Ok(blocks)
}

/// One script of all blocks.
fn script(blocks: &[Block]) -> Result<String> {
    let mut script = String::new();
    for (number, block) in blocks.iter().enumerate() {
        write!(script, "{}\necho; echo '{MARK} {number}'\n", block.commands)?;
    }
    Ok(script)
}

#[test]
fn the_commands_of_the_readme_print_what_it_says() {
    isolated!(async {
        let directory = Directory::new()?;
        let programs = directory.path().join("bin");
        std::fs::create_dir(&programs)?;
        for name in ["outrigger", "daprd", "sentry"] {
            std::os::unix::fs::symlink(outrigger_binary()?, programs.join(name))?;
        }
        let Some(store) = example_store()? else {
            return Ok(());
        };
        std::os::unix::fs::symlink(store, programs.join("shelf"))?;
        let blocks = blocks()?;
        ensure!(blocks.len() > 5, "the README has lost its examples");
        let path = directory.write("tour.sh", script(&blocks)?)?;
        // The shell is the first process of a namespace, whose others end with it.
        let shell = Program::new("/usr/bin/unshare")
            .args(["--pid", "--fork", "--kill-child", "/bin/bash"])
            .arg(path)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", directory.path())
            .directory(directory.path())
            .start()?;
        for number in 0..blocks.len() {
            shell.wait_for_line(&format!("{MARK} {number}")).await?;
        }
        let output = shell.stdout().join("\n");
        let mut rest = output.as_str();
        for (number, block) in blocks.iter().enumerate() {
            let (own, tail) = rest
                .split_once(&format!("{MARK} {number}"))
                .context("a block did not end")?;
            if let Some(expected) = block.expected {
                ensure!(
                    own.contains(expected),
                    "{}prints\n{own}\nnot {expected}",
                    block.commands
                );
            }
            rest = tail;
        }
        Ok(())
    });
}
