//! Where to go for the server that has a home: to itself where it is known, else to somebody who says where it is, which
//! is a sentinel, or any server of a cluster.
//!
//! What a sentinel says is believed for a moment, and no longer than the server there answers as a primary does. A
//! server that is none any more refuses by itself; see `home.lua`. A server of a cluster refuses keys that it has not,
//! and what it was believed to have is believed until then.

use std::ops::RangeInclusive;

use redis::{Cmd, Value, cmd};
use shared::time::Timestamp;

use crate::address::{Address, Servers};
use crate::groups::Group;
use crate::proof::Proof;
use crate::slots::{self, Range};
use crate::told::{Place, Wrong};

/// For how long a sentinel is believed: a primary that was given up and has not heard of it may answer meanwhile.
const BELIEVED_MS: u64 = 1_000;
/// How many servers of a cluster may be asked for the others: some that are named may be gone for good.
const GUIDES_MAX: usize = 8;

/// Where to go next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// To the server that has the home.
    Server(Address),
    /// To the server that is being given it. It hears `ASKING` before each command, and once only: nobody else shall go
    /// there yet.
    Importing(Address),
    /// To somebody who is asked for the way, with [`Route::question`].
    Guide(Address),
}

impl Stop {
    /// Where that is.
    #[must_use]
    pub fn address(&self) -> &Address {
        match self {
            Self::Server(address) | Self::Importing(address) | Self::Guide(address) => address,
        }
    }

    /// Where a server there sends somebody whose keys it is giving away.
    #[must_use]
    pub fn importing(&self, place: &Place) -> Self {
        Self::Importing(self.address().beside(place))
    }
}

/// The way to each home, as far as it is known.
#[derive(Debug, Clone)]
pub struct Route {
    /// The first of those that are asked for the way is the one to ask.
    servers: Servers,
    primary: Option<(Address, Timestamp)>,
    /// Who has which slots of a cluster, as it was told last.
    slots: Vec<Range>,
    /// Who has which homes of a cluster: as it was told, and as was found out since.
    owners: Vec<(Group, Address)>,
    /// Who was found to know of no waiting for its disk.
    waitless: Vec<Address>,
}

impl Route {
    /// Nothing but that is known yet.
    #[must_use]
    pub fn new(servers: Servers) -> Self {
        Self { servers, primary: None, slots: Vec::new(), owners: Vec::new(), waitless: Vec::new() }
    }

    /// Whom to ask for the way, where anybody is asked.
    #[must_use]
    pub fn guide(&self) -> Option<Address> {
        match &self.servers {
            Servers::One(_) => None,
            Servers::Watched { first, .. } | Servers::Cluster { first, .. } => Some(first.clone()),
        }
    }

    /// How many there are to ask for the way.
    #[must_use]
    pub fn guides(&self) -> usize {
        match &self.servers {
            Servers::One(_) => 0,
            Servers::Watched { others, .. } | Servers::Cluster { others, .. } => {
                others.len().saturating_add(1)
            }
        }
    }

    /// Where to go now.
    #[must_use]
    pub fn next(&self, group: Group, now: Timestamp) -> Stop {
        match (&self.servers, self.server(group, now)) {
            (_, Some(server)) | (Servers::One(server), None) => Stop::Server(server.clone()),
            (Servers::Watched { first, .. } | Servers::Cluster { first, .. }, None) => {
                Stop::Guide(first.clone())
            }
        }
    }

    /// All groups by the servers that have them, as far as that is known.
    #[must_use]
    pub fn shares(&self, now: Timestamp) -> Vec<(Option<Address>, Vec<Group>)> {
        let mut shares: Vec<(Option<Address>, Vec<Group>)> = Vec::new();
        for group in Group::all() {
            let server = self.server(group, now);
            match shares.iter_mut().find(|(of, _)| of.as_ref() == server) {
                Some((_, groups)) => groups.push(group),
                None => shares.push((server.cloned(), vec![group])),
            }
        }
        shares
    }

    /// Whether some home is believed to be on that server.
    #[must_use]
    pub fn leads_to(&self, address: &Address) -> bool {
        match &self.servers {
            Servers::One(server) => server == address,
            Servers::Watched { .. } => self.primary.as_ref().is_some_and(|(primary, _)| primary == address),
            Servers::Cluster { .. } => self.owners.iter().any(|(_, owner)| owner == address),
        }
    }

    /// The primaries of a cluster, as it was told last.
    #[must_use]
    pub fn primaries(&self) -> Vec<Address> {
        let mut primaries: Vec<Address> = Vec::new();
        for (_, primary) in &self.slots {
            if !primaries.contains(primary) {
                primaries.push(primary.clone());
            }
        }
        primaries
    }

    /// The slots that no server of a cluster has.
    #[must_use]
    pub fn missing(&self) -> Vec<RangeInclusive<u16>> {
        slots::missing(&self.slots)
    }

    /// What whoever knows the way is asked. A sentinel that knows no passwords refuses the greeting, and answers
    /// nevertheless.
    #[must_use]
    pub fn question(&self) -> Vec<Cmd> {
        let (first, question) = match &self.servers {
            Servers::One(_) => return Vec::new(),
            Servers::Watched { first, name, .. } => {
                let mut where_is = cmd("SENTINEL");
                where_is.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
                (first, where_is)
            }
            Servers::Cluster { first, .. } => (first, slots::question()),
        };
        let mut said = first.greeting();
        said.push(question);
        said
    }

    /// Takes what was answered to [`Route::question`] by whoever was asked. Where that does not lead to that group of
    /// homes, another is asked next.
    ///
    /// # Errors
    /// When it does not, or the question is refused.
    pub fn heard(
        &mut self,
        asked: &Address,
        answers: &[Value],
        group: Group,
        now: Timestamp,
    ) -> Result<(), Wrong> {
        let answer = answers.last().ok_or(Wrong::Form);
        let taken = match &self.servers {
            Servers::One(_) => Err(Wrong::Form),
            Servers::Watched { name, .. } => {
                answer.and_then(|answer| primary(answer, asked, name)).map(|primary| {
                    self.primary = Some((primary, now));
                })
            }
            Servers::Cluster { .. } => {
                answer.and_then(|answer| slots::read(answer, asked)).and_then(|slots| {
                    self.learn(slots);
                    self.server(group, now).map(|_| ()).ok_or(Wrong::NoOwner(group.slot()))
                })
            }
        };
        if taken.is_err() {
            self.pass_over(asked);
        }
        taken
    }

    /// How the server there proves that a write is on its disk, as far as that is known.
    #[must_use]
    pub fn proof(&self, stop: &Stop) -> Proof {
        if self.waitless.contains(stop.address()) { Proof::Settings } else { Proof::Waits }
    }

    /// Notes that the server there knows of no waiting for its disk.
    pub fn cannot_wait(&mut self, stop: &Stop) {
        if !self.waitless.contains(stop.address()) {
            self.waitless.push(stop.address().clone());
        }
    }

    /// Notes that a group's homes are elsewhere, as the server there has said.
    ///
    /// # Errors
    /// When no cluster was named.
    pub fn moved(&mut self, group: Group, place: &Place, by: &Stop) -> Result<(), Wrong> {
        let Servers::Cluster { .. } = self.servers else { return Err(Wrong::OfCluster) };
        self.owners.retain(|(of, _)| *of != group);
        self.owners.push((group, by.address().beside(place)));
        Ok(())
    }

    /// Notes that nobody has answered there, or nobody who is what was sought.
    pub fn failed(&mut self, stop: &Stop) {
        self.pass_over(stop.address());
        // It may be a newer one when it comes back.
        self.waitless.retain(|one| one != stop.address());
        if let Stop::Server(address) = stop {
            // Somebody may have heard of another meanwhile.
            self.primary = self.primary.take().filter(|(known, _)| known != address);
            self.owners.retain(|(_, owner)| owner != address);
        }
    }

    fn server(&self, group: Group, now: Timestamp) -> Option<&Address> {
        match &self.servers {
            Servers::One(address) => Some(address),
            Servers::Watched { .. } => {
                let is_believed =
                    |told_at: &Timestamp| *told_at <= now && now.ms_since(*told_at) < BELIEVED_MS;
                self.primary.as_ref().filter(|(_, told_at)| is_believed(told_at)).map(|(primary, _)| primary)
            }
            Servers::Cluster { .. } => {
                self.owners.iter().find(|(of, _)| *of == group).map(|(_, owner)| owner)
            }
        }
    }

    fn learn(&mut self, slots: Vec<Range>) {
        let owner = |group: Group| {
            let of = slots.iter().find(|(range, _)| range.contains(&group.slot()));
            of.map(|(_, owner)| (group, owner.clone()))
        };
        self.owners = Group::all().filter_map(owner).collect();
        self.slots = slots;
        let primaries = self.primaries();
        if let Servers::Cluster { first, others } = &mut self.servers {
            let new = primaries.into_iter().filter(|one| one != first && !others.contains(one));
            let room = GUIDES_MAX.saturating_sub(others.len().saturating_add(1));
            let new: Vec<Address> = new.take(room).collect();
            others.extend(new);
        }
    }

    /// Asks another one for the way, if that was the one to ask.
    fn pass_over(&mut self, asked: &Address) {
        let (Servers::Watched { first, others, .. } | Servers::Cluster { first, others }) = &mut self.servers
        else {
            return;
        };
        if first == asked && !others.is_empty() {
            others.push(first.clone());
            *first = others.remove(0);
        }
    }
}

/// Reads what a sentinel has said.
fn primary(answer: &Value, asked: &Address, name: &str) -> Result<Address, Wrong> {
    if let Value::Nil = answer {
        return Err(Wrong::NoPrimary(name.to_owned()));
    }
    if let Value::ServerError(error) = answer {
        return Err(Wrong::Refused(error.to_string()));
    }
    let Value::Array(place) = answer else { return Err(Wrong::Form) };
    let [Value::BulkString(host), Value::BulkString(port)] = place.as_slice() else {
        return Err(Wrong::Form);
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| Wrong::Form);
    Ok(asked.at(&text(host)?, text(port)?.parse().map_err(|_| Wrong::Form)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_000_000_000);

    fn group(number: usize) -> Group {
        Group::all().nth(number).unwrap()
    }

    fn watched() -> Route {
        Route::new(Servers::parse("sentinel://u:pw@a,b/main").unwrap())
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn refusal() -> Value {
        redis::parse_redis_value(b"-ERR AUTH called without any password configured\r\n").unwrap()
    }

    fn place(host: &str, port: &str) -> Value {
        Value::Array(vec![text(host), text(port)])
    }

    fn host(route: &Route, at: Timestamp) -> String {
        route.next(group(0), at).address().host()
    }

    /// Takes an answer from whoever is to be asked.
    fn hears(route: &mut Route, answers: &[Value]) -> Result<(), Wrong> {
        let asked = route.next(group(0), NOW).address().clone();
        route.heard(&asked, answers, group(0), NOW)
    }

    #[test]
    fn a_server_that_is_named_is_the_one_whatever_happens() {
        let mut route = Route::new(Servers::parse("redis://h").unwrap());
        let stop = route.next(group(0), NOW);
        route.failed(&stop);
        assert_eq!((route.next(group(9), NOW), host(&route, NOW).as_str()), (stop.clone(), "h:6379"));
        assert!(route.question().is_empty());
        let elsewhere = Place { slot: 1, host: "i".to_owned(), port: 1 };
        let error = route.moved(group(0), &elsewhere, &stop).unwrap_err().to_string();
        assert!(error.contains("separated by commas"), "{error}");
    }

    #[test]
    fn a_sentinel_is_believed_for_a_moment_and_until_the_server_fails() {
        let mut route = watched();
        assert_eq!(host(&route, NOW), "a:26379");
        // The greeting is refused by a sentinel without passwords.
        hears(&mut route, &[refusal(), place("10.0.0.1", "7000")]).unwrap();
        let server = route.next(group(0), NOW);
        assert_eq!(server.address().host(), "10.0.0.1:7000");
        assert!(route.leads_to(server.address()));
        assert_eq!(server.address().greeting().len(), 1, "the server hears the same password");
        assert!(matches!(route.next(group(0), NOW.plus_ms(BELIEVED_MS)), Stop::Guide(_)));
        assert!(
            matches!(route.next(group(0), Timestamp::from_ms(1)), Stop::Guide(_)),
            "of a clock that went back"
        );
        route.failed(&Stop::Server(server.address().at("10.0.0.9", 7000)));
        assert_eq!(route.next(group(0), NOW), server, "another one failed");
        route.failed(&server);
        assert!(matches!(route.next(group(0), NOW), Stop::Guide(_)));
    }

    #[test]
    fn one_that_does_not_answer_or_does_not_know_is_not_asked_again_at_once() {
        let mut route = watched();
        route.failed(&route.next(group(0), NOW));
        assert_eq!(host(&route, NOW), "b:26379");
        let unknown = hears(&mut route, &[refusal(), Value::Nil]).unwrap_err().to_string();
        assert!(unknown.contains("main") && unknown.contains("REDIS_URL"), "{unknown}");
        assert_eq!(host(&route, NOW), "a:26379");
        assert!(matches!(hears(&mut route, &[refusal(), refusal()]), Err(Wrong::Refused(_))));
        assert!(matches!(hears(&mut route, &[refusal(), place("h", "port")]), Err(Wrong::Form)));
    }

    fn slots(first: u16, last: u16, host: &str) -> Value {
        let primary = Value::Array(vec![text(host), Value::Int(7000)]);
        Value::Array(vec![Value::Int(first.into()), Value::Int(last.into()), primary])
    }

    #[test]
    fn a_cluster_is_asked_once_and_corrects_what_has_moved_since() {
        let mut route = Route::new(Servers::parse("redis://u:pw@a,b").unwrap());
        assert_eq!((host(&route, NOW).as_str(), route.shares(NOW).len()), ("a:6379", 1));
        let told = Value::Array(vec![slots(0, 8_191, "c"), slots(8_192, 16_383, "d")]);
        hears(&mut route, &[Value::Okay, told]).unwrap();
        assert!(route.missing().is_empty());
        let shares = route.shares(NOW.plus_ms(1_000_000));
        let shares: Vec<_> = shares.iter().map(|(of, all)| (of.clone().unwrap().host(), all.len())).collect();
        assert_eq!(shares, [("c:7000".to_owned(), 32), ("d:7000".to_owned(), 32)]);
        // One group was moved, by a server that leaves out its own host; the others stay.
        let server = route.next(group(1), NOW);
        route
            .moved(group(1), &Place { slot: group(1).slot(), host: String::new(), port: 9 }, &server)
            .unwrap();
        let hosts = |route: &Route| [1, 2].map(|number| route.next(group(number), NOW).address().host());
        assert_eq!(hosts(&route), ["c:9", "c:7000"]);
        let moved = route.next(group(1), NOW);
        assert_eq!(moved.address().greeting().len(), 1, "it hears the same password");
        route.failed(&moved);
        assert_eq!(hosts(&route), ["a:6379", "c:7000"], "it is asked for anew");
    }

    #[test]
    fn servers_of_a_cluster_that_are_gone_are_passed_over() {
        let mut route = Route::new(Servers::parse("redis://a,b").unwrap());
        let after = group(0).slot() + 1;
        let error = hears(&mut route, &[Value::Array(vec![slots(after, 16_383, "c")])]).unwrap_err();
        assert_eq!(error, Wrong::NoOwner(group(0).slot()));
        assert_eq!(route.missing(), [0..=group(0).slot()]);
        assert_eq!(host(&route, NOW), "b:6379", "another one may know better");
        // Those that it has named may be asked, too, when none is left of those that were named at first.
        assert_eq!(route.guides(), 3);
        let asked = [0, 1, 2].map(|_| {
            let asked = host(&route, NOW);
            route.failed(&route.next(group(0), NOW));
            asked
        });
        // The first was passed over before the third was heard of.
        assert_eq!(asked, ["b:6379", "c:7000", "a:6379"]);
    }
}
