//! The texts of what goes wrong.

use std::error::Error;
use std::fmt::Write as _;

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// An error of the official client as a text: `operation error <service>: <operation>, <code>: <message>`, or what
/// kept the request from its server. Requests, and so what they carry, are not in it.
pub(crate) fn text<E, R>(service: &str, operation: &str, error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug,
{
    let mut text = format!("operation error {service}: {operation}");
    let served = error.as_service_error().map(ProvideErrorMetadata::meta);
    match served.and_then(|meta| Some((meta.code()?, meta.message().unwrap_or_default()))) {
        Some((code, message)) => write!(text, ", {code}: {message}"),
        None => write!(text, ", {}", causes(error)),
    }
    .expect("a string takes all text");
    text
}

/// The texts of an error and of what is behind it; each that only repeats the one before is left out.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            write!(text, ": {cause_text}").expect("a string takes all text");
        }
        next = cause.source();
    }
    text
}
