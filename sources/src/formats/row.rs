//! A row as its format has it.

/// A value of a column; text is somewhere in the row's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// None.
    Null,
    /// A whole number.
    Int(i64),
    /// Any number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Its range in [`Row::text`].
    Text(usize, usize),
}

/// One row, a value for each column.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// One for each column.
    pub values: &'a [Value],
    /// The texts of the row, one behind the other.
    pub text: &'a str,
}

impl Row<'_> {
    /// About how many bytes it takes.
    pub fn size_bytes(&self) -> usize {
        size_of::<i64>() * (1 + self.values.len()) + self.text.len()
    }
}
