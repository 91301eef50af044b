//! Asks a server on this machine whether it answers.
//!
//! It must never take longer than [`PATIENCE`]: the caller asks again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// An answer longer than this is not one of ours.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// An answer: its status, and its body as far as it could be read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    body: String,
}

impl Answer {
    /// The JSON object in the body. Its braces are looked for, so that no transfer coding has to be undone.
    pub(crate) fn json(&self) -> Option<Value> {
        let (start, end) = (self.body.find('{')?, self.body.rfind('}')?);
        serde_json::from_str(self.body.get(start..=end)?).ok()
    }
}

/// The answer to `GET path`, if there is one; `key` goes into the `Authorization` header.
pub(crate) fn get(address: SocketAddr, path: &str, key: Option<&str>) -> Option<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let authorization = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    // In one piece: a server may answer and close as soon as it has seen the first line.
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    // What came before an error counts: the status is in the first line.
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).ok();
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn only_an_http_answer_counts() {
        for (answer, expected) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", Some(204)),
            ("HTTP/1.1 401 X\r\n\r\n", Some(401)),
            ("SSH-2.0-x y\r\n", None),
            ("", None),
        ] {
            assert_eq!(get(answering(answer), "/", None).map(|answer| answer.status), expected, "{answer}");
        }
        let unused = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        assert!(get(unused, "/", None).is_none());
    }

    #[test]
    fn json_is_found_in_any_transfer_coding() {
        for answer in [
            "HTTP/1.1 200 OK\r\n\r\n{\"plan\":\"pro\"}",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n{\"plan\":\"pro\"}\r\n0\r\n\r\n",
        ] {
            let json = get(answering(answer), "/", Some("key")).and_then(|answer| answer.json()).unwrap();
            assert_eq!(json, serde_json::json!({"plan": "pro"}));
        }
        assert!(get(answering("HTTP/1.1 200 OK\r\n\r\n} {"), "/", None).unwrap().json().is_none());
    }
}
