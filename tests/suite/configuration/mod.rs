//! Configuration as apps meet it: real sidecars, a real Redis.

mod http;
mod streams;

use outrigger_test_kit::servers::Redis;
use outrigger_test_kit::{Daprd, DaprdBuilder, Result};

use super::state::component;

/// A sidecar `a` with the configuration store `cfg` on this server.
fn sidecar(redis: &Redis) -> Result<DaprdBuilder> {
    let store = component("cfg", "configuration.redis", &[("redisHost", &redis.address())]);
    Daprd::builder("a")?.resource("cfg.yaml", &store)
}
