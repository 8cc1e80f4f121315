//! Bodies without end, between two sidecars with mTLS.

mod duplex;
mod flat;
pub(super) mod long;
mod websocket;

pub(super) use self::flat::{download, upload};
