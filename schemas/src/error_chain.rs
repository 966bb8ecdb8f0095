//! An error with its causes, as text for people.

use std::error::Error;

/// Returns an error and its causes on one line.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    error_and_causes(error).join(": ")
}

/// Returns an error and its causes. A cause that its effect repeats is left out, and so is the number that the
/// system has for an error.
pub fn error_and_causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut words = Vec::<String>::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let of_this = without_number(error.to_string());
        if !words.last().is_some_and(|effect| effect.ends_with(&of_this)) {
            words.push(of_this);
        }
        next = error.source();
    }
    words
}

/// `io::Error` adds ` (os error 111)` to its words.
fn without_number(text: String) -> String {
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
