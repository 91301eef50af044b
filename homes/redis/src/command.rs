//! The commands, as the `redis` crate packs them.
//!
//! All keys of a home carry its name in braces, so that a cluster keeps them on one server.

use std::sync::LazyLock;

use redis::{Cmd, Script, cmd};
use shared::home::HomeName;
use shared::home::Row;
use shared::home::storage::Commit;
use shared::time::Timestamp;

/// The script's text.
const TEXT: &str = include_str!("home.lua");
/// A set of all homes, each with the time at which somebody should look after it.
const DUE: &str = "meter:due";

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(TEXT));

/// Makes the script known to a server.
#[must_use]
pub fn load_script() -> Cmd {
    let mut command = cmd("SCRIPT");
    command.arg("LOAD").arg(TEXT);
    command
}

/// Reads a home. `nonce` is a number that no other command has.
#[must_use]
pub fn read(home: &HomeName, nonce: &str) -> Cmd {
    call(home, nonce, "", "")
}

/// Writes what was decided from that version in that life, which is [`super::Snapshot::seen`]. The same command may be sent again: it is
/// answered as before and changes nothing.
#[must_use]
pub fn write(home: &HomeName, life: &str, commit: &Commit, nonce: &str) -> Cmd {
    let mut command = call(home, nonce, &commit.expected.to_string(), life);
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

/// Waits until what this connection has written is on the server's disk and on so many replicas'. See [`super::disk`].
#[must_use]
pub fn wait(replicas: u32, wait_ms: u64) -> Cmd {
    let mut command = cmd("WAITAOF");
    command.arg(1).arg(replicas).arg(wait_ms);
    command
}

/// Asks for the home to be looked after then, or earlier if that was asked for before.
#[must_use]
pub fn mark(home: &HomeName, at: Timestamp) -> Cmd {
    let mut command = cmd("ZADD");
    command.arg(DUE).arg("LT").arg(at.as_ms()).arg(home.to_string());
    command
}

/// The set that [`mark`] writes to.
#[must_use]
pub fn due_key() -> &'static str {
    DUE
}

fn call(home: &HomeName, nonce: &str, version: &str, life: &str) -> Cmd {
    let mut command = cmd("EVALSHA");
    command.arg(SCRIPT.get_hash()).arg(2);
    command.arg(format!("{{{home}}}:home")).arg(format!("{{{home}}}:said:{nonce}"));
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
    fn a_write_declares_its_keys_under_one_tag_and_names_its_rows() {
        let home = HomeName::parse("demo/live").unwrap();
        let row =
            |key: &str, value: Option<&str>| Row { key: key.to_owned(), value: value.map(str::to_owned) };
        let rows = vec![row("meta", Some("{}")), row("cell/a", None), row("policy", Some("[]"))];
        let words = texts(&write(&home, "life", &Commit { expected: 7, rows }, "n1"));
        let hash = SCRIPT.get_hash();
        let expected = ["EVALSHA", hash, "2", "{demo/live}:home", "{demo/live}:said:n1", "7", "life", "2"];
        assert_eq!(words[..8], expected);
        assert_eq!(words[8..], ["meta", "{}", "policy", "[]", "cell/a"]);
        let words = texts(&read(&home, "n2"));
        assert_eq!(words[3..], ["{demo/live}:home", "{demo/live}:said:n2", "", ""]);
    }
}
