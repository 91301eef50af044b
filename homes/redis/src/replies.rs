//! The bytes of a connection as replies, whatever the pieces they arrive in.

use redis::{Parser, RedisError, Value};

/// Replies that are on their way.
#[derive(Debug, Default)]
pub struct Replies {
    bytes: Vec<u8>,
}

impl Replies {
    /// Takes what has arrived.
    pub fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// So many replies, once all of them are here; nothing else may be on its way then.
    ///
    /// # Errors
    /// When the bytes are none of Redis'.
    pub fn next(&mut self, count: usize) -> Result<Option<Vec<Value>>, RedisError> {
        let mut parser = Parser::new();
        let mut rest = self.bytes.as_slice();
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            match parser.parse_value(&mut rest) {
                Ok(reply) => replies.push(reply),
                // The last piece is not here yet.
                Err(error) if error.is_io_error() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        Ok(Some(replies))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_whatever_the_pieces_are() {
        let bytes = b"*2\r\n:1\r\n$3\r\n17\n\r\n-NOSCRIPT no such script\r\n+OK\r\n";
        for at in 0..bytes.len() {
            let mut replies = Replies::default();
            replies.take(&bytes[..at]);
            assert!(replies.next(3).unwrap().is_none(), "{at}");
            replies.take(&bytes[at..]);
            let all = replies.next(3).unwrap().unwrap();
            let first = Value::Array(vec![Value::Int(1), Value::BulkString(b"17\n".to_vec())]);
            assert_eq!(all[0], first);
            assert!(matches!(&all[1], Value::ServerError(_)) && all[2] == Value::Okay);
        }
    }

    #[test]
    fn what_is_not_of_redis_is_an_error() {
        let mut replies = Replies::default();
        replies.take(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        assert!(replies.next(1).is_err());
    }
}
