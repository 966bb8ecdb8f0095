//! A row in the terms of its format.

/// A value of a column; texts are ranges of the row's text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// A whole number.
    Int(i64),
    /// Any number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// The range of a text in [`Row::text`].
    Text(usize, usize),
}

/// One row, a value for each column.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// One for each column.
    pub values: &'a [Value],
    /// The texts of the row, concatenated.
    pub text: &'a str,
}

impl Row<'_> {
    /// Returns the approximate size in bytes.
    pub fn size_bytes(&self) -> usize {
        size_of::<i64>() * (1 + self.values.len()) + self.text.len()
    }
}
