//! State in a storage account: blobs, and entities of tables.

mod account;
mod blob;
mod names;
mod sign;
mod table;

pub(crate) use self::account::read_connection;
pub use self::blob::BlobStorage;
pub(crate) use self::blob::{make_v1 as make_blob_v1, make_v2 as make_blob_v2};
pub use self::table::TableStorage;
pub(crate) use self::table::make as make_table;

#[cfg(test)]
mod tests;
