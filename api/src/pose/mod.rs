//! People: now, earlier, one by one, and by zone.

pub(crate) mod current;
mod frame;
pub(crate) mod history;
pub(crate) mod persons;
pub(crate) mod zones;
