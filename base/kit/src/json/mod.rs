//! JSON the way Go's `encoding/json` reads and writes it.

mod canonical;
mod decode;
mod encode;
mod error;
mod read;

pub use canonical::{canonical, compact, to_value};
pub use decode::{from_str_ignoring_case, from_value_ignoring_case, get_ignoring_case};
pub use encode::{escape_html, sorted, to_go_string, to_go_vec, write_go_string};
pub use error::DecodeError;
pub use read::{Kind, MAX_DEPTH, Raw, ReadError, Reader, first, whole};
