//! Who a workload is, who signs that, and who believes it.

mod api_tokens;
mod authority;
mod bundle;
mod links;
mod openssl;
mod peers;
mod plaintext;
mod renewal;
mod requests;
mod rotation;
mod sentry_tls;
mod signing;
mod tokens;
mod workload_tokens;
