//! Errors of the system in the words of Go programs.

use std::io;

/// The system's word on an error, as Go programs print it: lower case, without its number.
///
/// `Address already in use (os error 98)` is `address already in use`.
#[must_use]
pub fn text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_the_system_is_left_out() {
        let taken = io::Error::from_raw_os_error(98);
        assert_eq!(text(&taken), "address already in use");
        assert_eq!(text(&io::Error::other("Odd")), "odd");
        assert_eq!(text(&io::Error::other("")), "");
    }
}
