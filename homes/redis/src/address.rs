//! `REDIS_URL`: where the server is, or who knows it, and as whom to speak to it. Passwords are never shown.

use std::fmt;

use redis::{Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo, cmd};

use crate::told::Place;

/// Where sentinels listen if nothing else is said.
const SENTINEL_PORT: &str = "26379";

/// A server, and as whom to speak to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    tls: bool,
    user: Option<String>,
    password: Option<String>,
    database: i64,
}

/// What is wrong with an address. It never repeats the address, which may have a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is none.
    #[error(
        "accepted is redis://[user[:password]@]host[:port][/database], rediss:// for TLS, with several places \
         host[:port],host[:port] for a cluster, or sentinel://[user[:password]@]host[:port][,host[:port]…]/<name of \
         the primary>"
    )]
    Form,
    /// A cluster was named, and a database of it.
    #[error("a cluster has database 0 alone: leave out what follows the last /")]
    Database,
}

/// What `REDIS_URL` names.
#[derive(Clone, PartialEq, Eq)]
pub enum Servers {
    /// One server, which is always the one.
    One(Address),
    /// Sentinels that know which server is the primary.
    Watched {
        /// Which of them is asked first.
        first: Address,
        /// Any of them may be asked.
        others: Vec<Address>,
        /// What they call the primary.
        name: String,
    },
    /// Servers that are a cluster, each of which has a part of the homes or a copy of it.
    Cluster {
        /// Which of them is asked first who has what.
        first: Address,
        /// Any of them may be asked.
        others: Vec<Address>,
    },
}

impl Servers {
    /// Reads it.
    ///
    /// # Errors
    /// When it is none; what is accepted is told.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let Some((scheme, rest)) = url.split_once("://") else { return Err(AddressError::Form) };
        // A password may have a comma, and what follows it may not.
        let (user, places) = rest.rsplit_once('@').map_or(("", rest), |(user, places)| (user, places));
        let whom = if user.is_empty() { String::new() } else { format!("{user}@") };
        if scheme != "sentinel" {
            return if places.contains(',') {
                cluster(scheme, &whom, places)
            } else {
                Address::parse(url).map(Self::One)
            };
        }
        let (hosts, name) = places.rsplit_once('/').ok_or(AddressError::Form)?;
        let sentinel = |host: &str| {
            let has_port = host.contains(':') && !host.ends_with(']');
            let host = if has_port { host.to_owned() } else { format!("{host}:{SENTINEL_PORT}") };
            Address::parse(&format!("redis://{whom}{host}"))
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(AddressError::Form);
        }
        let (first, others) = several(hosts, sentinel)?;
        Ok(Self::Watched { first, others, name: name.to_owned() })
    }
}

fn cluster(scheme: &str, whom: &str, places: &str) -> Result<Servers, AddressError> {
    let (hosts, database) = places.split_once('/').unwrap_or((places, ""));
    let (first, others) =
        several(hosts, |host| Address::parse(&format!("{scheme}://{whom}{host}/{database}")))?;
    if first.database == 0 { Ok(Servers::Cluster { first, others }) } else { Err(AddressError::Database) }
}

/// The first of several, and the others.
fn several(
    hosts: &str,
    each: impl Fn(&str) -> Result<Address, AddressError>,
) -> Result<(Address, Vec<Address>), AddressError> {
    let mut all = hosts.split(',');
    let first = each(all.next().unwrap_or_default())?;
    Ok((first, all.map(each).collect::<Result<_, _>>()?))
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) => address.fmt(f),
            Self::Watched { first, others, name } => {
                write!(f, "sentinel://{}{}/{name}", first.secret(), hosts(first, others))
            }
            Self::Cluster { first, others } => {
                write!(f, "{}://{}{}", first.scheme(), first.secret(), hosts(first, others))
            }
        }
    }
}

fn hosts(first: &Address, others: &[Address]) -> String {
    std::iter::once(first).chain(others).map(Address::host).collect::<Vec<_>>().join(",")
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Servers({self})")
    }
}

impl Address {
    /// Reads it.
    ///
    /// # Errors
    /// When it is none; what is accepted is told.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let (tls, plain) = match url.split_once("://") {
            Some(("redis", rest)) => (false, rest),
            // The crate reads these only where it also speaks TLS, which here is the platform's.
            Some(("rediss", rest)) => (true, rest),
            Some(_) | None => return Err(AddressError::Form),
        };
        let info = format!("redis://{plain}").into_connection_info().map_err(|_| AddressError::Form)?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else { return Err(AddressError::Form) };
        let settings = info.redis_settings();
        Ok(Self {
            host: host.clone(),
            port: *port,
            tls,
            user: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
            database: settings.db(),
        })
    }

    /// The server that this one names, where it may leave out its own host.
    #[must_use]
    pub fn beside(&self, place: &Place) -> Self {
        self.beside_of(&place.host, place.port)
    }

    /// The same, where no slot is spoken of.
    pub(crate) fn beside_of(&self, host: &str, port: u16) -> Self {
        self.at(if host.is_empty() { &self.host } else { host }, port)
    }

    /// The server there, spoken to as the same.
    #[must_use]
    pub(crate) fn at(&self, host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, ..self.clone() }
    }

    /// The place alone, for whoever connects by the crate itself and says the [`Address::greeting`] then.
    ///
    /// # Errors
    /// Never for what was parsed.
    pub fn place(&self) -> Result<ConnectionInfo, AddressError> {
        let (host, port) = (self.host.clone(), self.port);
        let place = if self.tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let place = place.into_connection_info().map_err(|_| AddressError::Form)?;
        Ok(place.set_redis_settings(RedisConnectionInfo::default().set_skip_set_lib_name()))
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "rediss" } else { "redis" }
    }

    /// What stands for a user and a password where they are not to be seen.
    fn secret(&self) -> &'static str {
        if self.password.is_some() { "…@" } else { "" }
    }

    /// Where it listens, as sockets are told.
    #[must_use]
    pub fn host(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Whether what is said is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// What a connection says first; each is answered with OK.
    #[must_use]
    pub fn greeting(&self) -> Vec<Cmd> {
        let mut greeting = Vec::new();
        if let Some(password) = &self.password {
            let mut auth = cmd("AUTH");
            if let Some(user) = &self.user {
                auth.arg(user);
            }
            auth.arg(password);
            greeting.push(auth);
        }
        if self.database != 0 {
            let mut select = cmd("SELECT");
            select.arg(self.database);
            greeting.push(select);
        }
        greeting
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}/{}", self.scheme(), self.secret(), self.host(), self.database)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(url: &str) -> Vec<String> {
        let packed = |command: &Cmd| String::from_utf8(command.get_packed_command()).unwrap();
        Address::parse(url).unwrap().greeting().iter().map(packed).collect()
    }

    #[test]
    fn a_url_says_where_and_as_whom() {
        let address = Address::parse("redis://127.0.0.1").unwrap();
        assert_eq!((address.host().as_str(), address.is_tls()), ("127.0.0.1:6379", false));
        assert!(address.greeting().is_empty());
        let address = Address::parse("rediss://meter:hunter2@redis.example:7000/3").unwrap();
        assert_eq!((address.host().as_str(), address.is_tls()), ("redis.example:7000", true));
        let said = said("redis://meter:hunter%402@h/3");
        assert_eq!(said[0], "*3\r\n$4\r\nAUTH\r\n$5\r\nmeter\r\n$9\r\nhunter@2\r\n".replace("$9", "$8"));
        assert_eq!(said[1], "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n");
        assert!(!format!("{address} {address:?}").contains("hunter2"));
    }

    #[test]
    fn sentinels_are_told_apart_from_the_name_of_the_primary() {
        let url = "sentinel://meter:hunter2@10.0.0.1,10.0.0.2:5000,[::1]/the-meter";
        let servers = Servers::parse(url).unwrap();
        let shown = "sentinel://…@10.0.0.1:26379,10.0.0.2:5000,[::1]:26379/the-meter";
        assert_eq!(servers.to_string(), shown);
        assert!(!format!("{servers:?}").contains("hunter2"));
        let Servers::Watched { others, .. } = servers else { panic!("{servers}") };
        assert_eq!(others[1].greeting().len(), 1, "each of them hears who asks");
        let place = others[1].at("10.0.0.9", 6379).place().unwrap();
        assert_eq!(place.addr(), &ConnectionAddr::Tcp("10.0.0.9".to_owned(), 6379));
        assert_eq!(place.redis_settings().password(), None, "it is said once, by the greeting");
    }

    #[test]
    fn several_servers_are_a_cluster_and_each_hears_the_same() {
        let servers = Servers::parse("rediss://meter:hunter,2@10.0.0.1,node.b:7000,[::1]").unwrap();
        assert_eq!(servers.to_string(), "rediss://…@10.0.0.1:6379,node.b:7000,[::1]:6379");
        let Servers::Cluster { first, others } = servers else { panic!("{servers}") };
        assert!(others.iter().all(|other| other.is_tls() && other.greeting().len() == 1));
        let place = first.place().unwrap();
        assert!(matches!(place.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
        let named = |host: &str| first.beside(&Place { slot: 1, host: host.to_owned(), port: 9 }).host();
        assert_eq!([named(""), named("h")], ["10.0.0.1:9", "h:9"]);
        assert!(matches!(Servers::parse("redis://a,b/0"), Ok(Servers::Cluster { .. })));
        assert_eq!(Servers::parse("redis://a,b/1"), Err(AddressError::Database));
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for url in [
            "",
            "127.0.0.1:6379",
            "http://hunter2@h",
            "redis://",
            "redis://h:hunter2",
            "redis://h/hunter2",
            "sentinel://h",
            "sentinel://h/",
            "sentinel://u:hunter2@h,/name",
            "sentinel://h/hunter2 1",
            "redis://u:hunter2@h,",
            "redis://u:hunter2@h,i:hunter2",
        ] {
            let error = Servers::parse(url).unwrap_err().to_string();
            assert!(error.contains("redis://") && !error.contains("hunter2"), "{url}");
        }
    }
}
