//! The requests before the first message: whether the connection is to be encrypted.
//!
//! Source: `PostgreSQL` documentation, "SSL Session Encryption" and "GSSAPI Session Encryption".

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::server::Stream;

/// The first bytes of a message, or a whole request.
type Start = [u8; 8];

/// Asks for TLS.
const SSL_REQUEST: Start = [0, 0, 0, 8, 4, 210, 22, 47];
/// Asks for encryption by GSSAPI.
const GSS_REQUEST: Start = [0, 0, 0, 8, 4, 210, 22, 48];
/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 22;
const YES: &[u8] = b"S";
const NO: &[u8] = b"N";

/// Negotiates encryption with a client. Also returns the bytes of its first message that were read.
pub(super) async fn negotiate(
    mut stream: TcpStream,
    tls: Option<&TlsAcceptor>,
) -> io::Result<(Stream, Vec<u8>)> {
    loop {
        if tls.is_some() && is_handshake(&stream).await? {
            return Ok((Stream::accept(stream, tls).await?, Vec::new()));
        }
        let mut start = Start::default();
        stream.read_exact(&mut start).await?;
        match start {
            SSL_REQUEST if tls.is_some() => {
                stream.write_all(YES).await?;
                return Ok((Stream::accept(stream, tls).await?, Vec::new()));
            }
            SSL_REQUEST | GSS_REQUEST => stream.write_all(NO).await?,
            _ => return Ok((Stream::accept(stream, None).await?, start.to_vec())),
        }
    }
}

/// True if the client begins with a handshake, without a request.
async fn is_handshake(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    Ok(first == [HANDSHAKE])
}
