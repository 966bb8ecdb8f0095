//! The two headers of a file, which a writer may repeat but not change.
//!
//! The stream header and all frames need the main header, so their order is checked here.

use super::Header;
use super::fault::Fault;
use super::fields::{FieldError, Fields};
use super::main_header::MainHeader;
use super::stream_header::StreamHeader;

/// The headers so far: the main header comes first.
#[derive(Debug, Default)]
pub(super) struct Headers {
    main: Option<MainHeader>,
    stream: Option<StreamHeader>,
}

impl Headers {
    /// Returns true after both headers.
    pub(super) fn is_complete(&self) -> bool {
        self.stream.is_some()
    }

    /// Returns both headers, which come before all frames and syncpoints.
    pub(super) fn both(&self) -> Result<(&MainHeader, StreamHeader), Fault> {
        match (&self.main, self.stream) {
            (Some(main), Some(stream)) => Ok((main, stream)),
            _ => Err(Fault::HeaderMissing),
        }
    }

    /// Reads the main header, or compares it with the first.
    pub(super) fn read_main(&mut self, fields: &mut Fields<'_>) -> Result<(), FieldError> {
        let main = MainHeader::read(fields)?;
        match &self.main {
            Some(first) if *first != main => return Err(Fault::HeaderChanged.into()),
            Some(_) => {}
            None => self.main = Some(main),
        }
        Ok(())
    }

    /// Reads the stream header, or compares it with the first.
    ///
    /// Returns the first, and none for a repeated one.
    pub(super) fn read_stream(
        &mut self,
        fields: &mut Fields<'_>,
        max_picture_bytes: usize,
    ) -> Result<Option<Header>, FieldError> {
        let main = self.main.as_ref().ok_or(Fault::HeaderMissing)?;
        let stream = StreamHeader::read(fields, &main.time_bases, max_picture_bytes)?;
        match self.stream {
            Some(first) if first != stream => Err(Fault::HeaderChanged.into()),
            Some(_) => Ok(None),
            None => {
                self.stream = Some(stream);
                Ok(Some(stream.header))
            }
        }
    }
}
