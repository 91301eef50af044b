//! Places: how many connections there are at once, of all and of each address, and a reserve for what must be
//! answered when the others are taken. It decides nothing about requests but which of them the reserve is for.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most connections at once, beside the reserve. Each is an open file.
pub const CONNECTIONS_MAX: usize = 4_096;

/// The most connections at once of one address where nothing else is set, so that it does not take everybody's.
pub const ADDRESS_CONNECTIONS: usize = 100;

/// Places that are kept for [`KEPT`].
pub const RESERVE_MAX: usize = 256;

/// Of these, how many one address has.
const ADDRESS_RESERVE_MAX: usize = 32;

/// The paths that connections of the reserve are kept for: whether the process lives, and what was used.
const KEPT: [&str; 3] = ["/healthz", "/readyz", shared::wire::INGEST_PATH];

/// Bodies of flushes that are read at once, of those whose connection has shown that it is ours and of others: until
/// one is whole, nobody knows whether a home sends it.
const BODIES_MAX: usize = 256;

/// Of the others', how many one address has.
const ADDRESS_BODIES_MAX: usize = 16;

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// At once, beside the reserve.
    pub all: usize,
    /// Of one address; `None` where all come through a proxy, whose address says nothing.
    pub address: Option<usize>,
}

impl Default for Connections {
    fn default() -> Self {
        Self { all: CONNECTIONS_MAX, address: Some(ADDRESS_CONNECTIONS) }
    }
}

/// The places of a process.
#[derive(Debug)]
pub(super) struct Places {
    limits: Connections,
    all: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    bodies_of_ours: Arc<Semaphore>,
    addresses: Mutex<BTreeMap<IpAddr, Weak<Address>>>,
}

/// The places of one address, as long as one is taken.
#[derive(Debug)]
struct Address {
    connections: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

/// What a connection holds; with the last clone it is free.
#[derive(Debug, Clone)]
pub(super) struct Place(Arc<Held>);

#[derive(Debug)]
struct Held {
    places: Arc<Places>,
    address: Arc<Address>,
    _of_all: OwnedSemaphorePermit,
    of_address: Mutex<Option<OwnedSemaphorePermit>>,
    is_reserve: bool,
    from: IpAddr,
}

/// The places that a body holds while it is read.
#[derive(Debug)]
pub(super) struct Reading {
    _places: [Option<OwnedSemaphorePermit>; 2],
}

impl Places {
    pub(super) fn new(limits: Connections) -> Arc<Self> {
        let semaphore = |count| Arc::new(Semaphore::new(count));
        Arc::new(Self {
            limits,
            all: semaphore(limits.all),
            reserve: semaphore(RESERVE_MAX),
            bodies: semaphore(BODIES_MAX),
            bodies_of_ours: semaphore(BODIES_MAX),
            addresses: Mutex::default(),
        })
    }

    /// A place for a connection from there, in the reserve if there is no other; `None` where that is taken too.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let from = machine(from);
        let address = self.address(from);
        let usual = take(&self.all).zip(take(&address.connections));
        let is_reserve = usual.is_none();
        let (of_all, of_address) = match usual {
            Some(places) => places,
            None => take(&self.reserve).zip(take(&address.reserve))?,
        };
        Some(Place(Arc::new(Held {
            places: Arc::clone(self),
            address,
            _of_all: of_all,
            of_address: Mutex::new(Some(of_address)),
            is_reserve,
            from,
        })))
    }

    fn address(&self, address: IpAddr) -> Arc<Address> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = addresses.get(&address).and_then(Weak::upgrade) {
            return known;
        }
        // No more of them have places than there are places.
        if addresses.len() >= self.limits.all {
            addresses.retain(|_, known| known.strong_count() > 0);
        }
        let of_address = |max| {
            Arc::new(Semaphore::new(if self.limits.address.is_some() { max } else { Semaphore::MAX_PERMITS }))
        };
        let new = Arc::new(Address {
            connections: of_address(self.limits.address.unwrap_or_default()),
            reserve: of_address(ADDRESS_RESERVE_MAX),
            bodies: of_address(ADDRESS_BODIES_MAX),
        });
        addresses.insert(address, Arc::downgrade(&new));
        new
    }
}

impl Place {
    /// Whether it is of the reserve: for one request, and only of the paths that it is kept for.
    pub(super) fn is_reserve(&self) -> bool {
        self.0.is_reserve
    }

    /// Whether a connection that has this place may ask for that.
    pub(super) fn is_for(&self, path: &str) -> bool {
        !self.0.is_reserve || KEPT.contains(&path)
    }

    /// The machine at the other end; `None` where that is a proxy, which says nothing of who calls.
    pub(super) fn machine(&self) -> Option<IpAddr> {
        self.0.places.limits.address.map(|_| self.0.from)
    }

    /// Takes note that whoever is at the other end has signed with our key: it is not counted among its address'.
    pub(super) fn take_for_ours(&self) {
        // A proxy's connection carries everybody's requests.
        if self.0.places.limits.address.is_some() && !self.0.is_reserve {
            drop(self.counted().take());
        }
    }

    /// Places for a body whose sender is not known before it is whole.
    pub(super) fn read_body(&self) -> Option<Reading> {
        let Held { places, address, .. } = &*self.0;
        let _places = if self.counted().is_some() {
            let of_address = Some(take(&address.bodies)?);
            [Some(take(&places.bodies)?), of_address]
        } else {
            [Some(take(&places.bodies_of_ours)?), None]
        };
        Some(Reading { _places })
    }

    fn counted(&self) -> std::sync::MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.0.of_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(places).try_acquire_owned().ok()
}

/// What counts as one address: a machine has all of 64 bits of IPv6, and IPv4 is the same within it.
fn machine(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(all: usize, address: Option<usize>) -> Arc<Places> {
        Places::new(Connections { all, address })
    }

    fn enter(places: &Arc<Places>, from: &str, count: usize) -> Vec<Place> {
        (0..count).map_while(|_| places.enter(from.parse().unwrap())).collect()
    }

    fn usual(entered: &[Place]) -> usize {
        entered.iter().filter(|place| !place.is_reserve()).count()
    }

    #[test]
    fn an_address_has_its_places_and_some_of_the_reserve() {
        let places = places(1_000, Some(3));
        let one = enter(&places, "192.0.2.1", 500);
        assert_eq!((usual(&one), one.len()), (3, 3 + ADDRESS_RESERVE_MAX));
        assert_eq!(usual(&enter(&places, "192.0.2.2", 3)), 3, "others have theirs");
        drop(one);
        assert_eq!(usual(&enter(&places, "192.0.2.1", 3)), 3, "what is left is free again");
    }

    #[test]
    fn an_address_is_a_machine_whatever_it_calls_itself() {
        for (one, other, same) in [
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:0:0:2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            assert_eq!(
                machine(one.parse().unwrap()) == machine(other.parse().unwrap()),
                same,
                "{one} {other}"
            );
        }
    }

    #[test]
    fn the_reserve_begins_where_all_places_are_taken_and_has_an_end() {
        let places = places(10, Some(5));
        let many: Vec<_> =
            (0..200_u8).flat_map(|last| enter(&places, &format!("192.0.2.{last}"), 5)).collect();
        assert_eq!((usual(&many), many.len()), (10, 10 + RESERVE_MAX));
        let reserve = many.last().unwrap();
        assert!(reserve.is_for("/healthz") && reserve.is_for("/ingest") && !reserve.is_for("/metrics"));
        assert!(many[0].is_for("/metrics"));
    }

    #[test]
    fn whoever_is_ours_is_not_counted_and_waits_behind_no_stranger() {
        let places = places(1_000, Some(20));
        let strangers = enter(&places, "192.0.2.1", 19);
        let bodies: Vec<_> = strangers.iter().map_while(Place::read_body).collect();
        assert_eq!(bodies.len(), ADDRESS_BODIES_MAX);
        let ours = enter(&places, "192.0.2.1", 1);
        assert!(ours[0].read_body().is_none(), "nobody knows it yet");
        ours[0].take_for_ours();
        assert!(ours[0].read_body().is_some());
        assert_eq!(usual(&enter(&places, "192.0.2.1", 5)), 1, "its place is another's");
        assert!(enter(&places, "192.0.2.2", 1)[0].read_body().is_some());
    }

    #[test]
    fn a_proxy_has_all_places_and_is_never_taken_for_one_of_ours() {
        let places = places(500, None);
        let proxy = enter(&places, "192.0.2.1", 1_000);
        assert_eq!((usual(&proxy), proxy.len()), (500, 500 + RESERVE_MAX));
        proxy[0].take_for_ours();
        let bodies: Vec<_> = proxy.iter().map_while(Place::read_body).collect();
        assert_eq!(bodies.len(), BODIES_MAX);
        assert!(proxy[0].read_body().is_none());
    }
}
