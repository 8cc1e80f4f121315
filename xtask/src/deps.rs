//! The levels of the architecture.
use anyhow::Result;
pub(crate) fn run() -> Result<()> {
    Ok(())
}
