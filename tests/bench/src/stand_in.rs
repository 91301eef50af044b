//! A server for tests of the load generators: it answers as told, and stalls when told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Serves until the test process ends; `answer` gets the number of the request, counted from 0 over all connections.
pub(crate) fn serve(answer: fn(u64) -> &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicU64::new(0));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, count) = (stream.unwrap(), Arc::clone(&count));
            thread::spawn(move || {
                let mut request = Vec::new();
                let mut piece = [0; 1024];
                while let Ok(length @ 1..) = stream.read(&mut piece) {
                    request.extend_from_slice(&piece[..length]);
                    if request.ends_with(b"}") {
                        request.clear();
                        stream.write_all(answer(count.fetch_add(1, Ordering::SeqCst)).as_bytes()).unwrap();
                    }
                }
            });
        }
    });
    address
}

/// A good answer.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// A bad one.
pub(crate) const FAILED: &str = "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno";
/// A good one, after which the connection may not be used.
pub(crate) const LAST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
