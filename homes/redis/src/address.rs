//! `REDIS_URL`: where the server is, or who knows it, and as whom to speak to it. Passwords are never shown.

use std::fmt;

use redis::{Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo, cmd};

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
        "accepted is redis://[user[:password]@]host[:port][/database], rediss:// for TLS, or \
         sentinel://[user[:password]@]host[:port][,host[:port]…]/<name of the primary>"
    )]
    Form,
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
}

impl Servers {
    /// Reads it.
    ///
    /// # Errors
    /// When it is none; what is accepted is told.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let Some(rest) = url.strip_prefix("sentinel://") else { return Address::parse(url).map(Self::One) };
        let (places, name) = rest.rsplit_once('/').ok_or(AddressError::Form)?;
        let (user, hosts) = places.rsplit_once('@').map_or(("", places), |(user, hosts)| (user, hosts));
        let whom = if user.is_empty() { String::new() } else { format!("{user}@") };
        let sentinel = |host: &str| {
            let has_port = host.contains(':') && !host.ends_with(']');
            let host = if has_port { host.to_owned() } else { format!("{host}:{SENTINEL_PORT}") };
            Address::parse(&format!("redis://{whom}{host}"))
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(AddressError::Form);
        }
        let (first, others) =
            hosts.split_once(',').map_or((hosts, None), |(first, rest)| (first, Some(rest)));
        let others =
            others.iter().flat_map(|rest| rest.split(',')).map(sentinel).collect::<Result<_, _>>()?;
        Ok(Self::Watched { first: sentinel(first)?, others, name: name.to_owned() })
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) => address.fmt(f),
            Self::Watched { first, others, name } => {
                let secret = if first.password.is_some() { "…@" } else { "" };
                let hosts: Vec<String> = std::iter::once(first).chain(others).map(Address::host).collect();
                write!(f, "sentinel://{secret}{}/{name}", hosts.join(","))
            }
        }
    }
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
        let place = (self.host.as_str(), self.port).into_connection_info().map_err(|_| AddressError::Form)?;
        Ok(place.set_redis_settings(RedisConnectionInfo::default().set_skip_set_lib_name()))
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
        let scheme = if self.tls { "rediss" } else { "redis" };
        let secret = if self.password.is_some() { "…@" } else { "" };
        write!(f, "{scheme}://{secret}{}/{}", self.host(), self.database)
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
        ] {
            let error = Servers::parse(url).unwrap_err().to_string();
            assert!(error.contains("redis://") && !error.contains("hunter2"), "{url}");
        }
    }
}
