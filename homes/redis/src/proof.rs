//! How it is known that what a server was told last is on its disk.

use std::collections::BTreeMap;

use redis::{Cmd, Value, cmd};

use crate::command::wait;
use crate::told::{Wrong, disk, not_refused};

/// How a server proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It waits for its disk where it is asked to (`WAITAOF`: Redis 7.2 or newer, or Valkey).
    Waits,
    /// It cannot be asked to, and syncs its log before it answers anybody, as its settings say.
    Settings,
}

impl Proof {
    /// What is asked behind a write, over the same connection.
    #[must_use]
    pub fn question(self, replicas: u32, wait_ms: u64) -> Cmd {
        match self {
            Self::Waits => wait(replicas, wait_ms),
            Self::Settings => {
                let mut settings = cmd("CONFIG");
                // Those of the log: appendonly, appendfsync, no-appendfsync-on-rewrite.
                settings.arg("GET").arg("*append*");
                settings
            }
        }
    }

    /// Whether the write is on that many replicas' disks and on the server's own.
    ///
    /// # Errors
    /// When it is not, or that is not known. Where the server knows of no waiting, that is [`Wrong::NoWait`]: its
    /// settings may prove it.
    pub fn read(self, reply: &Value, replicas: u32) -> Result<(), Wrong> {
        match self {
            Self::Waits if is_unknown(reply) => Err(Wrong::NoWait),
            Self::Waits => disk(reply, replicas),
            Self::Settings if replicas > 0 => Err(Wrong::NoReplicas),
            Self::Settings => synced(reply),
        }
    }
}

/// Whether a server knows no such command; one that it refuses for another reason it knows.
#[must_use]
pub fn is_unknown(reply: &Value) -> bool {
    let Value::ServerError(error) = reply else { return false };
    error.details().is_some_and(|details| details.starts_with("unknown command"))
}

fn synced(reply: &Value) -> Result<(), Wrong> {
    not_refused(reply).map_err(|_| Wrong::NotSynced("CONFIG GET must be permitted"))?;
    let settings: BTreeMap<String, String> =
        redis::from_redis_value(reply.clone()).map_err(|_| Wrong::Form)?;
    let is = |name: &str, value: &str| settings.get(name).is_some_and(|said| said == value);
    for (name, value, wanted) in [
        ("appendonly", "yes", "set `appendonly yes`"),
        ("appendfsync", "always", "set `appendfsync always`"),
        ("no-appendfsync-on-rewrite", "no", "set `no-appendfsync-on-rewrite no`"),
    ] {
        if !is(name, value) {
            return Err(Wrong::NotSynced(wanted));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Value {
        redis::parse_redis_value(text.as_bytes()).unwrap()
    }

    fn settings(changed: (&str, &str)) -> Value {
        let usual = [("appendonly", "yes"), ("appendfsync", "always"), ("no-appendfsync-on-rewrite", "no")];
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let all = usual
            .into_iter()
            .flat_map(|(name, value)| [text(name), text(if name == changed.0 { changed.1 } else { value })]);
        Value::Array(all.collect())
    }

    #[test]
    fn a_server_that_cannot_wait_is_told_from_one_that_has_waited_in_vain() {
        let unknown = said("-ERR unknown command 'WAITAOF', with args beginning with: '1' '0' '10' \r\n");
        assert_eq!(Proof::Waits.read(&unknown, 0), Err(Wrong::NoWait));
        let off = "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n";
        for (reply, replicas) in [(off, 0), ("*2\r\n:0\r\n:0\r\n", 0), ("*2\r\n:1\r\n:1\r\n", 2)] {
            let error = Proof::Waits.read(&said(reply), replicas).unwrap_err();
            assert!(matches!(error, Wrong::Refused(_) | Wrong::NotOnDisk { .. }), "{reply}: {error}");
        }
        assert_eq!(Proof::Waits.read(&said("*2\r\n:1\r\n:2\r\n"), 2), Ok(()));
    }

    #[test]
    fn settings_prove_it_only_where_each_of_them_does() {
        assert_eq!(Proof::Settings.read(&settings(("", "")), 0), Ok(()));
        assert_eq!(Proof::Settings.read(&settings(("", "")), 1), Err(Wrong::NoReplicas));
        for (name, value, wanted) in [
            ("appendonly", "no", "`appendonly yes`"),
            ("appendfsync", "everysec", "`appendfsync always`"),
            ("no-appendfsync-on-rewrite", "yes", "`no-appendfsync-on-rewrite no`"),
        ] {
            let error = Proof::Settings.read(&settings((name, value)), 0).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let hidden = said("-NOPERM this user has no permissions to run the 'config|get' command\r\n");
        let error = Proof::Settings.read(&hidden, 0).unwrap_err().to_string();
        assert!(error.contains("CONFIG GET must be permitted"), "{error}");
        assert!(Proof::Settings.read(&said("*0\r\n"), 0).is_err(), "nothing is proven by silence");
    }
}
