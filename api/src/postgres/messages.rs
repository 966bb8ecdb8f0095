//! A limit of the length of the messages of a client, which are otherwise kept until they are complete.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longest message of a client that has signed in. Its parts have limits of their own.
const MAX_BYTES: u32 = 1 << 20;
/// Longest message of other clients.
const MAX_FIRST_BYTES: u32 = 16 << 10;
/// Bytes of the length at the start of a message.
const LENGTH_BYTES: usize = 4;

/// A connection whose client sends messages.
#[derive(Debug)]
pub(super) struct Messages<S> {
    stream: S,
    position: Position,
    limit: MessageLimit,
}

/// The limit of the messages of a connection. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct MessageLimit(Arc<AtomicU32>);

impl Default for MessageLimit {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(MAX_FIRST_BYTES)))
    }
}

impl MessageLimit {
    /// Allows the messages of a client that has signed in.
    pub(super) fn raise(&self) {
        self.0.store(MAX_BYTES, Ordering::Relaxed);
    }
}

/// Where in a message the next byte is. A message has its kind, its length without the kind, and a body. The
/// first one has no kind.
#[derive(Clone, Copy, Debug)]
enum Position {
    Kind,
    /// In the length, of which so many bytes were read.
    Length {
        n_read: usize,
        n_bytes: u32,
    },
    /// In the body, of which so many bytes are left.
    Body(u32),
}

const START: Position = Position::Length { n_read: 0, n_bytes: 0 };

impl Position {
    /// Returns the position after some bytes; none if they begin a message that is too long.
    fn after(mut self, mut bytes: &[u8], limit: u32) -> Option<Self> {
        while let Some((first, rest)) = bytes.split_first() {
            self = match self {
                Self::Kind => START,
                Self::Length { n_read, n_bytes } => {
                    let n_bytes = n_bytes << 8 | u32::from(*first);
                    match n_read + 1 {
                        LENGTH_BYTES if n_bytes > limit => return None,
                        // The length counts itself.
                        LENGTH_BYTES => Self::after_body(n_bytes.saturating_sub(4)),
                        n_read => Self::Length { n_read, n_bytes },
                    }
                }
                Self::Body(n_left) => {
                    let n_bytes = bytes.len().min(n_left as usize);
                    bytes = &bytes[n_bytes..];
                    self = Self::after_body(n_left - u32::try_from(n_bytes).unwrap_or(n_left));
                    continue;
                }
            };
            bytes = rest;
        }
        Some(self)
    }

    fn after_body(n_left: u32) -> Self {
        if n_left == 0 { Self::Kind } else { Self::Body(n_left) }
    }
}

impl<S> Messages<S> {
    /// Takes a connection of which some bytes, fewer than a message, have been read.
    pub(super) fn new(stream: S, read: &[u8], limit: MessageLimit) -> Self {
        Self { stream, position: START.after(read, MAX_FIRST_BYTES).unwrap_or(START), limit }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Messages<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n_before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let limit = self.limit.0.load(Ordering::Relaxed);
        let Some(position) = self.position.after(&buffer.filled()[n_before..], limit) else {
            let reason = format!("a message is longer than {} KiB", limit / 1024);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason)));
        };
        self.position = position;
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Messages<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &[u8], n_bytes: u32) -> Vec<u8> {
        let body = vec![7; n_bytes as usize];
        [kind, &(n_bytes + 4).to_be_bytes(), &body].concat()
    }

    /// True if all messages are accepted, however they arrive.
    fn fits(bytes: &[u8]) -> bool {
        let after = |position: Position, part: &[u8]| position.after(part, MAX_BYTES);
        let fits = |part| bytes.chunks(part).try_fold(START, after).is_some();
        let (bytewise, at_once) = (fits(1), fits(bytes.len()));
        assert_eq!(bytewise, at_once);
        at_once
    }

    #[test]
    fn a_message_has_a_limit() {
        let startup = message(b"", 100);
        assert!(fits(&[&startup[..], &message(b"Q", MAX_BYTES - 4), &message(b"X", 0)].concat()));
        assert!(!fits(&[&startup[..], &message(b"Q", MAX_BYTES - 3)].concat()));
        assert!(!fits(&[&startup[..], &message(b"Q", 9), b"Q\xff\xff\xff\xff"].concat()));
        assert!(!fits(b"GET / HTTP/1.1\r\n\r\n"), "another protocol");
    }
}
