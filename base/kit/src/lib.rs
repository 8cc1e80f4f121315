//! Go look-alikes without IO: the formats, parsers and small rules that the whole product shares.
//!
//! Clients compare texts byte for byte and files are written for a Go reader, so each module
//! follows one facility of the Go standard library or of Kubernetes:
//!
//! | Module | Follows |
//! |---|---|
//! | [`duration`] | `time.ParseDuration`, `Duration.String` |
//! | [`quantity`] | Kubernetes resource quantities (`4Mi`) |
//! | [`json`], [`yaml`] | `encoding/json`, YAML 1.1 turned into JSON |
//! | [`quote`], [`number`], [`float`] | `strconv` |
//! | [`path`], [`method`] | `path.Clean`, the rules for invocation methods |
//! | [`header`], [`percent`] | MIME canonical header names, URL unescaping |
//! | [`expand`], [`csv`], [`boolean`] | `os.Expand`, list options, the words for yes |
//! | [`time`], [`clock`] | RFC 3339, UTC |
//! | [`backoff`], [`token`], [`id`] | retry pauses, secret comparison, random ids |
//!
//! Nothing here reads a file, a socket or the environment, and nothing knows the protocol.

pub mod backoff;
pub mod boolean;
pub mod clock;
pub mod csv;
pub mod duration;
pub mod expand;
pub mod float;
pub mod header;
pub mod id;
pub mod json;
pub mod method;
pub mod number;
pub mod path;
pub mod percent;
pub mod quantity;
pub mod quote;
pub mod system;
pub mod time;
pub mod token;
pub mod yaml;
