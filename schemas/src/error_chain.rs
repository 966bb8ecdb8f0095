//! An error with its causes, as text for people.

use std::error::Error;

/// Returns an error and its causes on one line. A cause that its effect repeats, and the system's number of an
/// error, are left out.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let (mut text, mut next) = (plain(error), error.source());
    while let Some(cause) = next {
        let words = plain(cause);
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}

/// Returns an error without its causes; `io::Error` adds ` (os error 111)` to its words.
pub fn plain(error: &dyn Error) -> String {
    let text = error.to_string();
    let Some((before, after)) = text.split_once(" (os error ") else { return text };
    let Some((_number, rest)) = after.split_once(')') else { return text };
    format!("{before}{rest}")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the registry does not answer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("request failed: {0}")]
    struct Inner(#[source] io::Error);

    #[test]
    fn causes_are_on_one_line_without_repetition() {
        let refused = io::Error::from_raw_os_error(111);
        let text = error_chain(&Outer(Inner(refused)));
        assert_eq!(text, "the registry does not answer: request failed: Connection refused");
    }
}
