//! The internal gRPC port that stays the same over restarts.

use sha2::{Digest, Sha256};

const FIRST: u16 = 47_300;
const COUNT: u16 = 18_235;

/// The port that a sidecar prefers for internal gRPC when none is given, 47300 to 65534.
///
/// It depends on the app id, the working directory, the numeric user id and the host name. If it cannot
/// be bound on `localhost`, take any free port (specification: the daprd process 1.2).
#[must_use]
pub fn stable_port(app_id: &str, working_directory: &str, user_id: u32, host_name: &str) -> u16 {
    let text = format!("{app_id}|{working_directory}|{user_id}|{host_name}");
    let hash = Sha256::digest(text.as_bytes());
    let number = u16::from_le_bytes([hash[0], hash[1]]);
    FIRST + number % COUNT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_follows_the_hash() {
        // SHA-256 of "myapp|/tmp|0|host1" starts with the bytes that give these numbers.
        let hash = Sha256::digest(b"myapp|/tmp|0|host1");
        let expected = 47_300 + (u32::from(hash[0]) + 256 * u32::from(hash[1])) % 18_235;
        assert_eq!(u32::from(stable_port("myapp", "/tmp", 0, "host1")), expected);
        assert_ne!(
            stable_port("myapp", "/tmp", 0, "host1"),
            stable_port("myapp", "/tmp", 1, "host1")
        );
    }

    #[test]
    fn the_port_stays_in_its_range() {
        for user_id in 0..2_000 {
            let port = stable_port("a", "/", user_id, "h");
            assert!((47_300..=65_534).contains(&port), "{port}");
        }
    }
}
