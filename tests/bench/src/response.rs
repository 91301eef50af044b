//! Reads HTTP/1.1 answers from bytes as they arrive. Pure: it must never touch a socket, and never take half an
//! answer for a whole one.

use std::borrow::Cow;

/// A head that is longer than this is not one of ours.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEAD_END: &[u8] = b"\r\n\r\n";
const LINE_END: &[u8] = b"\r\n";

/// A complete answer at the beginning of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response<'a> {
    /// The status.
    pub(crate) status: u16,
    /// The status line and the headers, without the empty line.
    pub(crate) head: &'a str,
    /// The body, without its chunks' frames.
    pub(crate) body: Cow<'a, [u8]>,
    /// How many bytes the answer has.
    pub(crate) length: usize,
    /// Whether the server will close the connection.
    pub(crate) closes: bool,
}

impl<'a> Response<'a> {
    /// The headers' names and values as they came.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        headers(self.head)
    }
}

/// Why bytes are not an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Reads the answer at the beginning of `bytes`; `None` as long as it is not complete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Response<'_>>, Malformed> {
    let Some(head_length) = find(bytes, HEAD_END) else {
        return if bytes.len() > HEAD_BYTES_MAX { Err(Malformed("the head is too long")) } else { Ok(None) };
    };
    let (head, rest) = bytes.split_at(head_length);
    let rest = rest.get(HEAD_END.len()..).unwrap_or_default();
    let head = std::str::from_utf8(head).map_err(|_| Malformed("the head is not text"))?;
    let status = status(head).ok_or(Malformed("the first line is not a status line"))?;
    let mut framing = if matches!(status, 204 | 304) { Some(Framing::Length(0)) } else { None };
    let mut closes = false;
    for (name, value) in headers(head) {
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.parse().map_err(|_| Malformed("Content-Length is not a number"))?;
            framing = framing.or(Some(Framing::Length(length)));
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            framing = framing.or(Some(Framing::Chunked));
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.eq_ignore_ascii_case("close");
        }
    }
    let body = match framing.ok_or(Malformed("the body's length is not told"))? {
        Framing::Length(length) => rest.get(..length).map(|body| (Cow::Borrowed(body), length)),
        Framing::Chunked => dechunk(rest)?,
    };
    let start = head_length.saturating_add(HEAD_END.len());
    Ok(body.map(|(body, length)| Response {
        status,
        head,
        body,
        length: start.saturating_add(length),
        closes,
    }))
}

/// A body's content, and how many bytes it took on the wire.
type Body<'a> = (Cow<'a, [u8]>, usize);

#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
}

fn status(head: &str) -> Option<u16> {
    let (version, rest) = head.lines().next()?.split_once(' ')?;
    let digits = rest.get(..3)?;
    version.starts_with("HTTP/1.").then(|| digits.parse().ok())?
}

fn headers(head: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = head.split("\r\n").skip(1);
    lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim()))
}

/// The content of all chunks and the length of the whole; `None` as long as the last is not there.
fn dechunk(bytes: &[u8]) -> Result<Option<Body<'_>>, Malformed> {
    let mut content = Vec::new();
    let mut rest = bytes;
    loop {
        let Some(line_length) = find(rest, LINE_END) else { return Ok(None) };
        let (line, after) = rest.split_at(line_length);
        let after = after.get(LINE_END.len()..).unwrap_or_default();
        let size = chunk_size(line).ok_or(Malformed("a chunk's size is not a number"))?;
        let (Some(chunk), Some(end)) = (after.get(..size), after.get(size..)) else { return Ok(None) };
        let Some(frame) = end.get(..LINE_END.len()) else { return Ok(None) };
        // workerd sends no trailers: after the last chunk there is only the empty line.
        if frame != LINE_END {
            return Err(Malformed("a chunk is longer than announced"));
        }
        rest = end.get(LINE_END.len()..).unwrap_or_default();
        if size == 0 {
            return Ok(Some((Cow::Owned(content), bytes.len().saturating_sub(rest.len()))));
        }
        content.extend_from_slice(chunk);
    }
}

fn chunk_size(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok()?;
    usize::from_str_radix(text.split(';').next()?.trim(), 16).ok()
}

/// Where `needle` first is.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b: c \r\n\r\nok";
    const CHUNKED: &str =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\na;x=1\r\n0123456789\r\n0\r\n\r\n";
    const EMPTY: &str = "HTTP/1.1 204 No Content\r\nConnection: Close\r\n\r\n";

    #[test]
    fn answers_are_read_whole_and_what_follows_is_left() {
        for (text, status, body, closes) in
            [(PLAIN, 200, "ok", false), (CHUNKED, 200, "ok0123456789", false), (EMPTY, 204, "", true)]
        {
            let followed = format!("{text}HTTP/1.1 500 ");
            let response = parse(followed.as_bytes()).unwrap().unwrap();
            assert_eq!((response.status, response.closes), (status, closes), "{text}");
            assert_eq!(response.body.as_ref(), body.as_bytes());
            assert_eq!(response.length, text.len());
        }
        let headers: Vec<_> = parse(PLAIN.as_bytes()).unwrap().unwrap().headers().collect();
        assert_eq!(headers, [("Content-Length", "2"), ("X-A", "b: c")]);
    }

    #[test]
    fn no_beginning_of_an_answer_is_an_answer() {
        for text in [PLAIN, CHUNKED, EMPTY] {
            for length in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..length]), Ok(None), "{length} bytes of {text}");
            }
        }
    }

    #[test]
    fn what_is_not_an_answer_is_refused() {
        let long = "x".repeat(HEAD_BYTES_MAX + 1);
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nokay\r\n0\r\n\r\n",
            long.as_str(),
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
