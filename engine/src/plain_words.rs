//! Messages of parsers in plain words: serde names the types of Rust.

/// Words of serde and of the standard library, and what they mean to somebody who writes a file or a request.
/// Longer ones are before their parts.
const WORDS: [(&str, &str); 32] = [
    ("expected a nonzero usize", "expected a whole number from 1"),
    ("expected a nonzero u64", "expected a whole number from 1"),
    ("expected a nonzero u32", "expected a whole number from 1"),
    ("expected usize", "expected a whole number from 0"),
    ("expected u64", "expected a whole number from 0"),
    ("expected u32", "expected a whole number from 0 to 4294967295"),
    ("expected u16", "expected a whole number from 0 to 65535"),
    ("expected u8", "expected a whole number from 0 to 255"),
    ("expected i64", "expected a whole number"),
    ("expected i32", "expected a whole number"),
    ("expected f64", "expected a number"),
    ("expected f32", "expected a number"),
    ("expected a sequence", "expected a list"),
    ("expected a map", "expected a table"),
    ("expected path string", "expected a path in quotes"),
    ("expected a string", "expected text in quotes"),
    ("expected a boolean", "expected true or false"),
    (
        "string values must be quoted, expected literal string",
        "expected a value: text is in quotes",
    ),
    ("invalid socket address syntax", "expected ADDRESS:PORT, such as \"127.0.0.1:8080\""),
    ("invalid digit found in string", "expected a whole number from 0"),
    ("invalid float literal", "expected a number"),
    (
        "input contains invalid characters",
        "expected a time, such as 2026-01-31T12:00:00Z (in a URL, + is written %2B)",
    ),
    ("premature end of input", "expected a time, such as 2026-01-31T12:00:00Z"),
    ("Failed to deserialize the JSON body into the target type: ", ""),
    ("Failed to deserialize query string: ", ""),
    ("invalid type: sequence", "invalid type: list"),
    ("invalid type: map", "invalid type: table"),
    ("invalid type: unit variant", "invalid type: name without settings"),
    ("floating point `", "number `"),
    ("integer `", "number `"),
    (": string \"", ": text \""),
    ("unknown variant", "unknown value"),
];

/// Replaces the words of serde in a message.
pub fn plain_words(message: &str) -> String {
    let message = without_rust_types(message);
    WORDS.iter().fold(message, |message, (rust, plain)| message.replace(rust, plain))
}

/// Replaces `expected struct variant Window::Tumbling` and the like, which name types of the program.
fn without_rust_types(message: &str) -> String {
    const EXPECTED: &str = "expected struct ";
    let Some((before, after)) = message.split_once(EXPECTED) else { return message.to_owned() };
    let is_name = |letter: char| letter.is_alphanumeric() || "_:".contains(letter);
    let name = after.strip_prefix("variant ").unwrap_or(after);
    let rest = name.trim_start_matches(is_name);
    format!("{before}expected a table of settings{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_no_types_of_rust() {
        for (message, expected) in [
            (
                "invalid type: integer `60`, expected struct variant WindowAssigner::Tumbling",
                "invalid type: number `60`, expected a table of settings",
            ),
            (
                "invalid value: integer `0`, expected a nonzero usize",
                "invalid value: number `0`, expected a whole number from 1",
            ),
            ("limit: invalid digit found in string", "limit: expected a whole number from 0"),
            ("no words of it", "no words of it"),
        ] {
            assert_eq!(plain_words(message), expected);
        }
    }
}
