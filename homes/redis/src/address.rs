//! `REDIS_URL`: where the server is, and as whom to speak to it. Passwords are never shown.

use std::fmt;

use redis::{Cmd, ConnectionAddr, IntoConnectionInfo as _, cmd};

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
    #[error("accepted is redis://[user[:password]@]host[:port][/database], or rediss:// for TLS")]
    Form,
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
    fn what_is_no_address_is_refused_without_repeating_it() {
        for url in
            ["", "127.0.0.1:6379", "http://hunter2@h", "redis://", "redis://h:hunter2", "redis://h/hunter2"]
        {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains("redis://") && !error.contains("hunter2"), "{url}");
        }
    }
}
