//! The socket of a connection, which keeps the connection's place until it is closed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use crate::server::activity::Activity;
use crate::server::framing::Framing;
use crate::server::tls::Stream;

/// What no parser of HTTP accepts: it makes the server respond with 400 and close the connection.
const INVALID: &[u8] = b"\0\r\n\r\n";

/// A socket that reports whether its client reads. After an upgrade, the WebSocket owns it and keeps its
/// place.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    activity: Arc<Activity>,
    /// Checks the received bytes; `None` after bytes were refused.
    framing: Option<Framing>,
    /// Released after the stream, which therefore closes first.
    _place: OwnedSemaphorePermit,
}

impl Socket {
    pub(crate) fn new(
        stream: Stream,
        activity: Arc<Activity>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { stream, activity, framing: Some(Framing::default()), _place: place }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity.wrote(written.is_pending());
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (n_before, has_changed) = (buffer.filled().len(), self.activity.has_changed_protocol());
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(framing) = &mut self.framing else {
            // The rest is nobody's request.
            buffer.set_filled(n_before);
            return read;
        };
        if has_changed {
            framing.change_protocol();
        }
        let was_in_body = framing.is_in_body();
        if framing.check(&buffer.filled()[n_before..]).is_err() {
            self.framing = None;
            buffer.set_filled(n_before);
            if was_in_body {
                // The end of the body came with what is refused, so the body stays incomplete.
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            buffer.put_slice(&INVALID[..INVALID.len().min(buffer.remaining())]);
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
