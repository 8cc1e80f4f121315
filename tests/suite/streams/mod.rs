//! Bodies without end, between two sidecars with mTLS.

mod flat;
mod long;
mod websocket;
