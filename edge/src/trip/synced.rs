//! Trips to a server that cannot be asked to wait for its disk.

use super::*;
use crate::trip::tests::{Server, WITHOUT_WAITING, contact, departing, now, travels, units};

#[test]
fn a_server_that_cannot_wait_for_its_disk_is_believed_by_its_settings_as_they_are_with_each_write() {
    let mut server = Server::start_with("synced", &WITHOUT_WAITING);
    server.register("inc00001", 0, 0);
    let way = super::Server::parse("redis", &server.redis.url(), ("", "")).unwrap().unwrap();
    let mut random = 0;
    let mut begin = |holder, way: &super::Server| {
        random += 4;
        departing(way, contact(holder, 1, 10), random, now())
    };
    for holder in 1..3 {
        let (asking, mut trip) = begin(holder, &way);
        assert_eq!(travels(&mut trip, now()), Ok(DONE));
        assert_eq!(units(&asking.reply().unwrap()), 10);
        // It was asked once, and is known by then.
        assert_eq!(way.route().proof(&trip.stop), Proof::Settings);
    }
    server.redis.ask(&["CONFIG", "SET", "appendfsync", "everysec"]).unwrap();
    let error = travels(&mut begin(3, &way).1, now()).unwrap_err();
    assert!(error.contains("set `appendfsync always`"), "{error}");
    // It may be a newer one by now: it is asked once more, and is none.
    let (_asking, mut trip) = begin(4, &way);
    assert_eq!(way.route().proof(&trip.stop), Proof::Waits);
    let error = travels(&mut trip, now()).unwrap_err();
    assert!(error.contains("set `appendfsync always`"), "{error}");
    server.redis.ask(&["CONFIG", "SET", "appendfsync", "always"]).unwrap();
    let of_replicas = super::Server { replicas: Some(1), ..way };
    let error = travels(&mut begin(5, &of_replicas).1, now()).unwrap_err();
    assert!(error.contains("set REDIS_REPLICAS=0"), "{error}");
}
