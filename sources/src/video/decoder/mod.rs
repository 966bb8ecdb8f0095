//! The decoders of a video: `ffmpeg` as a process, or its libraries. Both return the same pictures.

#[cfg(feature = "ffmpeg-next")]
mod library;
mod process;

use std::io;
use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::video::VideoConfig;
use crate::video::address::Address;
use crate::video::arguments::arguments;
#[cfg(feature = "ffmpeg-next")]
use crate::video::decoder::library::LibraryDecoder;
use crate::video::decoder::process::DecoderProcess;
use crate::video::nut::{Frame, Header};

/// The capacity of the queue between a decoder and the source, in pictures.
const MAX_WAITING: usize = 2;

/// The decoder of a video.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VideoDecoder {
    /// `ffmpeg` as a process, whose faults cannot harm the pipeline.
    #[default]
    Process,
    /// The libraries of ffmpeg within the pipeline's process, for trusted videos. Needs the cargo feature
    /// `ffmpeg-next`.
    Library,
}

impl VideoDecoder {
    /// Returns the reason why this program cannot use the decoder, if there is one.
    pub(super) fn problem(self, address: &Address) -> Option<String> {
        let needs = match (self, address) {
            (Self::Library, _) if !cfg!(feature = "ffmpeg-next") => {
                "a program that was built with `--features ffmpeg-next`"
            }
            (Self::Library, Address::Device(_)) => "a file or a URL",
            _ => return None,
        };
        Some(format!("decoder \"library\" needs {needs}"))
    }
}

/// A picture with the description of its stream.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) header: Header,
    pub(super) frame: Frame,
}

/// The next event of a decoder.
#[derive(Debug)]
pub(super) enum Next {
    Picture(Decoded),
    /// No picture within the time.
    Nothing,
    /// The decoder has ended.
    End(End),
}

/// How a decoder ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All of the video was read.
    Complete,
    /// Part of it could not be read, for this reason.
    Damaged(String),
    /// A signal ended the process.
    Killed,
}

/// A running decoder. Dropping it ends the decoder.
#[derive(Debug)]
pub(super) enum RunningDecoder {
    Process(DecoderProcess),
    #[cfg(feature = "ffmpeg-next")]
    Library(LibraryDecoder),
}

impl RunningDecoder {
    /// Starts a decoder, for all pictures or for those after a presentation time.
    ///
    /// # Errors
    ///
    /// [`io::Error`] if the decoder cannot be started.
    pub(super) fn start(
        address: &Address,
        directory: &Path,
        config: &VideoConfig,
        after_ns: Option<i64>,
    ) -> io::Result<Self> {
        #[cfg(feature = "ffmpeg-next")]
        if config.decoder == VideoDecoder::Library {
            let library = LibraryDecoder::start(address, directory, config, after_ns);
            return Ok(Self::Library(library));
        }
        let arguments = arguments(address, directory, config, after_ns);
        DecoderProcess::start(arguments, address.needs_network(), after_ns.is_some())
            .map(Self::Process)
    }

    /// Returns the next picture, if there is one within a time.
    pub(super) fn next(&mut self, timeout: Duration) -> Next {
        match self {
            Self::Process(process) => process.next(timeout),
            #[cfg(feature = "ffmpeg-next")]
            Self::Library(library) => library.next(timeout),
        }
    }
}
