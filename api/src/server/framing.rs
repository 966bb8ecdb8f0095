//! Checks where the requests of an HTTP/1 connection begin and end, before they are parsed.
//!
//! A proxy and this server must agree about that, or a client could hide a request in the body of another one.
//! So everything is refused that some parser reads differently: lines that end without CR, folded lines, and
//! more than one length of a body.
//!
//! Source: RFC 9112, sections 2.2, 5 to 7 and 11.2.

/// Longest line of a header.
const MAX_LINE_BYTES: usize = 20 * 1024;
/// The first line of HTTP/2, whose frames have lengths of their own.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// What a parser in front of this server could read differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous;

/// The place in a stream of requests.
#[derive(Debug)]
pub(crate) struct Framing {
    part: Part,
    /// The line so far.
    line: Vec<u8>,
    head: Head,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    RequestLine,
    Header,
    /// Bytes of a body, or of a chunk of it.
    Body {
        n_bytes: u64,
        is_chunk: bool,
    },
    ChunkSize,
    ChunkEnd,
    Trailer,
    /// Another protocol.
    Other,
}

/// What the header says about the body.
#[derive(Debug, Default)]
struct Head {
    length: Option<u64>,
    is_chunked: bool,
}

impl Default for Framing {
    fn default() -> Self {
        let (line, head) = (Vec::new(), Head::default());
        Self { part: Part::RequestLine, line, head }
    }
}

impl Framing {
    /// Ends the checks: the server has agreed to another protocol.
    pub(crate) fn change_protocol(&mut self) {
        self.part = Part::Other;
    }

    /// True within a body, whose request may be handled already.
    pub(crate) fn is_in_body(&self) -> bool {
        !matches!(self.part, Part::RequestLine | Part::Header)
    }

    /// Checks the next bytes of the connection.
    pub(crate) fn check(&mut self, mut bytes: &[u8]) -> Result<(), Ambiguous> {
        while !bytes.is_empty() {
            bytes = match self.part {
                Part::Other => return Ok(()),
                Part::Body { n_bytes, is_chunk } => self.body(bytes, n_bytes, is_chunk),
                _ => self.line(bytes)?,
            };
        }
        Ok(())
    }

    /// Passes over a body. Returns the rest.
    fn body<'a>(&mut self, bytes: &'a [u8], n_bytes: u64, is_chunk: bool) -> &'a [u8] {
        let n_here = usize::try_from(n_bytes).map_or(bytes.len(), |n| n.min(bytes.len()));
        let n_bytes = n_bytes - n_here as u64;
        self.part = match (n_bytes, is_chunk) {
            (0, false) => Part::RequestLine,
            (0, true) => Part::ChunkEnd,
            _ => Part::Body { n_bytes, is_chunk },
        };
        &bytes[n_here..]
    }

    /// Reads up to the end of a line. Returns the rest.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Ambiguous> {
        let end = memchr::memchr(b'\n', bytes);
        let (here, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        if self.line.len() + here.len() > MAX_LINE_BYTES {
            return Err(Ambiguous);
        }
        self.line.extend_from_slice(here);
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\r\n").ok_or(Ambiguous)?;
            if line.contains(&b'\r') || line.contains(&0) {
                return Err(Ambiguous);
            }
            self.part = self.after(line)?;
        }
        Ok(rest)
    }

    /// Returns what follows a line.
    fn after(&mut self, line: &[u8]) -> Result<Part, Ambiguous> {
        match self.part {
            Part::RequestLine if line == PREFACE => Ok(Part::Other),
            Part::RequestLine | Part::Trailer if line.is_empty() => Ok(Part::RequestLine),
            Part::RequestLine => {
                self.head = Head::default();
                Ok(Part::Header)
            }
            Part::Header if line.is_empty() => self.head.body(),
            Part::Header => {
                self.head.add(line)?;
                Ok(Part::Header)
            }
            Part::ChunkSize => match chunk_size(line)? {
                0 => Ok(Part::Trailer),
                n_bytes => Ok(Part::Body { n_bytes, is_chunk: true }),
            },
            Part::ChunkEnd if line.is_empty() => Ok(Part::ChunkSize),
            Part::ChunkEnd => Err(Ambiguous),
            other => Ok(other),
        }
    }
}

impl Head {
    /// Adds a field.
    fn add(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        let colon = memchr::memchr(b':', line).ok_or(Ambiguous)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
            return Err(Ambiguous);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let is_first = self.length.replace(number(value, 10)?).is_none();
            return if is_first { Ok(()) } else { Err(Ambiguous) };
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let is_first = !std::mem::replace(&mut self.is_chunked, true);
            let is_chunked = value.eq_ignore_ascii_case(b"chunked");
            return if is_first && is_chunked { Ok(()) } else { Err(Ambiguous) };
        }
        Ok(())
    }

    /// Returns what follows the header.
    fn body(&self) -> Result<Part, Ambiguous> {
        match (self.length, self.is_chunked) {
            (Some(_), true) => Err(Ambiguous),
            (None, true) => Ok(Part::ChunkSize),
            (None | Some(0), false) => Ok(Part::RequestLine),
            (Some(n_bytes), false) => Ok(Part::Body { n_bytes, is_chunk: false }),
        }
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, Ambiguous> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    number(size.trim_ascii_end(), 16)
}

/// Parses digits, without a sign.
fn number(digits: &[u8], radix: u32) -> Result<u64, Ambiguous> {
    let text = str::from_utf8(digits).map_err(|_| Ambiguous)?;
    if !text.chars().all(|digit| digit.is_digit(radix)) {
        return Err(Ambiguous);
    }
    u64::from_str_radix(text, radix).map_err(|_| Ambiguous)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    /// Checks a text as a whole, and byte by byte.
    fn check(text: &str) -> (Result<(), Ambiguous>, Framing) {
        let mut whole = Framing::default();
        let checked = whole.check(text.as_bytes());
        let mut pieces = Framing::default();
        let of_pieces = text.bytes().try_for_each(|byte| pieces.check(&[byte]));
        assert_eq!(checked, of_pieces, "{text:?}");
        (checked, whole)
    }

    #[test]
    fn requests_end_where_the_next_ones_begin() {
        for body in [
            "Content-Length: 0\r\n\r\n",
            "Content-Length: 3\r\n\r\na\nb",
            "content-length:\t3\r\n\r\n\r\n\r",
            "Transfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n0\r\n\r\n",
            "Transfer-Encoding: Chunked\r\n\r\nA ;x=y\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n",
            "Upgrade: websocket\r\n\r\n",
            "X: a b\r\n\r\n",
        ] {
            let text = format!("{GET}\r\nPOST / HTTP/1.1\r\nHost: x\r\n{body}{GET}");
            let (checked, framing) = check(&text);
            assert_eq!(checked, Ok(()), "{text:?}");
            assert!(framing.part == Part::RequestLine && framing.line.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn what_parsers_read_differently_is_refused() {
        for text in [
            "GET / HTTP/1.1\n",
            "GET / HTTP/1.1\r\nHost: x\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\n",
            "GET / HTTP/1.1\r\nHost: x\rX: y\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n",
            "GET / HTTP/1.1\r\nHost x\r\n",
            "GET / HTTP/1.1\r\nHost : x\r\n",
            "GET / HTTP/1.1\r\n: x\r\n",
            "GET / HTTP/1.1\r\nX: \0\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +1\r\n",
            "POST / HTTP/1.1\r\nContent-Length:\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\naGET / HTTP/1.1\n",
        ] {
            assert_eq!(check(text).0, Err(Ambiguous), "{text:?}");
        }
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX_LINE_BYTES));
        assert_eq!(Framing::default().check(long.as_bytes()), Err(Ambiguous));
    }

    #[test]
    fn other_protocols_are_not_looked_into() {
        let mut framing = Framing::default();
        assert_eq!(framing.check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\n\0\n"), Ok(()));
        let upgrade = "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
        let (checked, mut framing) = check(upgrade);
        assert_eq!(checked, Ok(()));
        framing.change_protocol();
        assert_eq!(framing.check(b"\x81\n\n\0"), Ok(()));
        for next in ["\n", "\x01\n", "GET / HTTP/1.1\n"] {
            let refused = check(&format!("{upgrade}{next}")).0;
            assert_eq!(refused, Err(Ambiguous), "the server has not changed the protocol");
        }
    }
}
