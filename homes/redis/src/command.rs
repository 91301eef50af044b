//! The commands, as the `redis` crate packs them.
//!
//! Every key carries the tag of its home's group in braces; see [`Group`].

use std::sync::LazyLock;

use redis::{Cmd, Script, cmd};
use shared::home::HomeName;
use shared::home::Row;
use shared::home::storage::Commit;
use shared::time::Timestamp;

use crate::groups::Group;

/// The script's text.
const TEXT: &str = include_str!("home.lua");

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(TEXT));

/// Makes the script known to a server.
#[must_use]
pub fn load_script() -> Cmd {
    let mut command = cmd("SCRIPT");
    command.arg("LOAD").arg(TEXT);
    command
}

/// Reads a home.
#[must_use]
pub fn read(home: &HomeName) -> Cmd {
    call(home, "", "")
}

/// Writes what was decided from that version in that life, which is [`super::Snapshot::seen`].
///
/// `nonce` is a number that no other command has. The same command may be sent again: it changes nothing, and is answered
/// as before where no other has come between.
#[must_use]
pub fn write(home: &HomeName, life: &str, commit: &Commit, nonce: &str) -> Cmd {
    let mut command = call(home, &commit.expected.to_string(), life);
    command.arg(nonce);
    let changed = |row: &Row| Some((row.key.clone(), row.value.clone()?));
    let changed: Vec<(String, String)> = commit.rows.iter().filter_map(changed).collect();
    command.arg(changed.len());
    for (name, text) in changed {
        command.arg(name).arg(text);
    }
    for row in commit.rows.iter().filter(|row| row.value.is_none()) {
        command.arg(&row.key);
    }
    command
}

/// Waits until what this connection has written is on the server's disk and on so many replicas'.
#[must_use]
pub(crate) fn wait(replicas: u32, wait_ms: u64) -> Cmd {
    let mut command = cmd("WAITAOF");
    command.arg(1).arg(replicas).arg(wait_ms);
    command
}

/// Asks for the home to be looked after then, or earlier if that was asked for before.
#[must_use]
pub fn mark(home: &HomeName, at: Timestamp) -> Cmd {
    let mut command = cmd("ZADD");
    command.arg(Group::of(home).due()).arg("LT").arg(at.as_ms()).arg(home.to_string());
    command
}

fn call(home: &HomeName, version: &str, life: &str) -> Cmd {
    let mut command = cmd("EVALSHA");
    command.arg(SCRIPT.get_hash()).arg(1).arg(Group::of(home).key(&format!("home:{home}")));
    command.arg(version).arg(life);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(command: &Cmd) -> Vec<String> {
        let value = redis::parse_redis_value(&command.get_packed_command()).unwrap();
        let redis::Value::Array(parts) = value else { panic!("{value:?}") };
        let text = |part| {
            let redis::Value::BulkString(bytes) = part else { panic!("{part:?}") };
            String::from_utf8(bytes).unwrap()
        };
        parts.into_iter().map(text).collect()
    }

    #[test]
    fn a_write_declares_its_one_key_and_names_its_rows() {
        let home = HomeName::parse("demo/live").unwrap();
        let row =
            |key: &str, value: Option<&str>| Row { key: key.to_owned(), value: value.map(str::to_owned) };
        let rows = vec![row("meta", Some("{}")), row("cell/a", None), row("policy", Some("[]"))];
        let words = texts(&write(&home, "life", &Commit { expected: 7, rows }, "n1"));
        let (hash, key) = (SCRIPT.get_hash(), Group::of(&home).key("home:demo/live"));
        assert_eq!(words[..8], ["EVALSHA", hash, "1", &key, "7", "life", "n1", "2"]);
        assert_eq!(words[8..], ["meta", "{}", "policy", "[]", "cell/a"]);
        assert_eq!(texts(&read(&home))[3..], [&key, "", ""]);
        let words = texts(&mark(&home, Timestamp::from_ms(5)));
        assert_eq!(words, ["ZADD", &Group::of(&home).due(), "LT", "5", "demo/live"]);
    }
}
