//! What a Redis promises, by what it says of itself: whether what it acknowledges survives. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::Serialize;
use shared::units::Units;

/// What the server says of itself: the lines of `INFO`, and of its configuration what it tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// `INFO`, by name.
    pub info: BTreeMap<String, String>,
    /// Settings by name; a managed server may hide them all.
    pub settings: BTreeMap<String, String>,
    /// Whether it can be asked to wait until a write is on its disk.
    pub waits_for_disk: Waits,
}

/// Whether a server waits until a write is on its disk (`WAITAOF`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Waits {
    /// It does, where it is asked to.
    Asked,
    /// It knows of no such thing.
    #[default]
    Unknown,
    /// It would, but not for this user.
    Forbidden,
}

/// What is asked of the server.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// What an operator accepts that is lost of each project.
    pub loss: Option<Units>,
    /// On how many replicas' disks a write must be.
    pub replicas: u32,
    /// Whether sentinels or a cluster may make another server the primary.
    pub is_watched: bool,
    /// Whether several servers of a cluster were named.
    pub is_cluster: bool,
}

/// One thing that a server promises, or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "text", rename_all = "lowercase")]
pub enum Promise {
    /// It holds.
    #[serde(rename = "ok")]
    Kept(String),
    /// It does not matter much, or cannot be known.
    Remark(String),
    /// It does not hold: acknowledged units could be lost. What to change is said.
    #[serde(rename = "refused")]
    Broken(String),
}

impl Promise {
    /// The same of one server among several.
    #[must_use]
    pub fn of(self, server: &str) -> Self {
        let named = |text: String| if server.is_empty() { text } else { format!("{server}: {text}") };
        match self {
            Self::Kept(text) => Self::Kept(named(text)),
            Self::Remark(text) => Self::Remark(named(text)),
            Self::Broken(text) => Self::Broken(named(text)),
        }
    }

    /// Whether every slot of a cluster has a server.
    #[must_use]
    pub fn of_slots(missing: &[RangeInclusive<u16>]) -> Self {
        if missing.is_empty() {
            return Self::Kept("each slot of the cluster has a server".to_owned());
        }
        let slots: Vec<String> =
            missing.iter().map(|slots| format!("{}-{}", slots.start(), slots.end())).collect();
        Self::Broken(format!(
            "no server of the cluster has slots {}: homes there cannot be asked; `redis-cli --cluster fix` gives them to \
             one",
            slots.join(", ")
        ))
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(text) => write!(f, "ok       {text}"),
            Self::Remark(text) => write!(f, "remark   {text}"),
            Self::Broken(text) => write!(f, "refused  {text}"),
        }
    }
}

impl Facts {
    /// Reads the text of `INFO`.
    #[must_use]
    pub fn of_info(text: &str) -> BTreeMap<String, String> {
        let pair =
            |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        text.lines().filter_map(pair).collect()
    }

    /// Everything that the server promises. What may be lost with it needs no promise where an operator accepts a
    /// `loss`.
    #[must_use]
    pub fn promises(&self, wanted: Wanted) -> Vec<Promise> {
        let loss = wanted.loss;
        let mut lasting = vec![self.file()];
        lasting.extend(self.sync());
        lasting.extend([self.rewrite(), self.eviction()].into_iter().flatten());
        let accepted = |promise| match (promise, loss) {
            (Promise::Broken(why), Some(loss)) => {
                Promise::Remark(format!("{why} (a loss of {loss} units of each project is accepted)"))
            }
            (promise, _) => promise,
        };
        let told = [Some(self.role()), self.alone(wanted)].into_iter().flatten();
        told.chain(lasting.into_iter().map(accepted)).chain(self.copies(wanted)).collect()
    }

    /// What may be otherwise in a while without anybody's doing.
    #[must_use]
    pub fn unsettled(&self, wanted: Wanted) -> Option<String> {
        if self.told("loading") == "1" {
            return Some("it is reading its files".to_owned());
        }
        // Sentinels and clusters make another one the primary, and tell of it a moment later.
        let is_replica = wanted.is_watched && self.told("role") == "slave";
        is_replica.then(|| "it is a replica now".to_owned())
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    fn told(&self, name: &str) -> &str {
        self.info.get(name).map_or("", String::as_str)
    }

    fn role(&self) -> Promise {
        match self.told("role") {
            "master" => Promise::Kept("it is a primary".to_owned()),
            "slave" => Promise::Broken(format!(
                "it is a replica of {}:{}, which takes no writes: let REDIS_URL name the primary",
                self.told("master_host"),
                self.told("master_port")
            )),
            role => Promise::Broken(format!("it does not say that it is a primary, but {role:?}")),
        }
    }

    /// Whether it has all homes, where one server was named.
    fn alone(&self, wanted: Wanted) -> Option<Promise> {
        let is_cluster = self.told("cluster_enabled") == "1";
        (is_cluster && !wanted.is_cluster).then(|| {
            Promise::Broken(
                "it is a server of a cluster: let REDIS_URL name several of its servers, separated by commas (or that one \
                 twice)"
                    .to_owned(),
            )
        })
    }

    fn file(&self) -> Promise {
        if self.told("aof_enabled") == "1" {
            Promise::Kept("it logs each write to a file (appendonly yes)".to_owned())
        } else {
            Promise::Broken(
                "it logs no writes, so that a restart loses all since its last snapshot: set `appendonly yes`".to_owned(),
            )
        }
    }

    fn sync(&self) -> Vec<Promise> {
        let waits = "a write is waited for until it is on the disk (WAITAOF)";
        vec![match (self.setting("appendfsync"), self.waits_for_disk) {
            (Some("no"), _) => Promise::Broken(
                "it leaves to the system when its log reaches the disk: set `appendfsync always`".to_owned(),
            ),
            (_, Waits::Forbidden) => Promise::Broken(
                "the user of REDIS_URL may not have a write waited for: permit it (`ACL SETUSER … +waitaof`)"
                    .to_owned(),
            ),
            (Some("always"), Waits::Asked) => {
                Promise::Kept(format!("it syncs its log before it answers (appendfsync always), and {waits}"))
            }
            (Some("everysec"), Waits::Asked) => {
                return vec![
                    Promise::Kept(waits.to_owned()),
                    Promise::Remark(
                        "its log is synced once a second (appendfsync everysec), so that a renewal takes up to a second: \
                         `appendfsync always` is faster for the meter"
                            .to_owned(),
                    ),
                ];
            }
            (None, Waits::Asked) => {
                return vec![
                    Promise::Kept(waits.to_owned()),
                    Promise::Remark(
                        "it does not say how often its log is synced (CONFIG is not permitted)".to_owned(),
                    ),
                ];
            }
            (Some(other), Waits::Asked) => {
                Promise::Remark(format!("appendfsync is {other:?}, which is not known here"))
            }
            (Some("always"), Waits::Unknown) => Promise::Kept(format!(
                "it syncs its log before it answers (appendfsync always), which is asked with each write: version {} \
                 cannot be asked to wait for its disk",
                self.version()
            )),
            (Some(other), Waits::Unknown) => Promise::Broken(format!(
                "appendfsync is {other}, and version {} cannot be asked to wait for its disk: set `appendfsync always`, \
                 or use Redis 7.2 or newer, or Valkey",
                self.version()
            )),
            (None, Waits::Unknown) => Promise::Broken(format!(
                "version {} cannot be asked to wait for its disk, nor how its log is synced: permit CONFIG GET \
                 (`ACL SETUSER … +config|get`), or use Redis 7.2 or newer, or Valkey",
                self.version()
            )),
        }]
    }

    fn version(&self) -> &str {
        self.told("redis_version")
    }

    /// Whether what is acknowledged is where a fail-over may lead.
    fn copies(&self, Wanted { loss, replicas, is_watched, .. }: Wanted) -> Option<Promise> {
        let connected: u32 = self.told("connected_slaves").parse().unwrap_or_default();
        if loss.is_some() || (replicas == 0 && !is_watched) {
            return None;
        }
        Some(match replicas {
            1.. if self.waits_for_disk == Waits::Unknown => Promise::Broken(format!(
                "each write shall be on the disks of {replicas} replicas, which version {} cannot be asked: set \
                 REDIS_REPLICAS=0, or use Redis 7.2 or newer, or Valkey",
                self.version()
            )),
            0 => Promise::Remark(
                "a fail-over may make a replica the primary that lacks what was acknowledged, which costs an escrow of \
                 each project: REDIS_REPLICAS=1 has a write wait for one"
                    .to_owned(),
            ),
            _ if replicas > connected => Promise::Remark(format!(
                "{connected} replicas are connected, and each write waits for the disks of {replicas} \
                 (REDIS_REPLICAS): nothing is acknowledged until they are there"
            )),
            _ => Promise::Kept(format!(
                "a write is waited for until it is on the disks of {replicas} of {connected} replicas, too"
            )),
        })
    }

    fn rewrite(&self) -> Option<Promise> {
        (self.setting("no-appendfsync-on-rewrite") == Some("yes")).then(|| {
            Promise::Broken(
                "it does not sync while it rewrites its log: set `no-appendfsync-on-rewrite no`".to_owned(),
            )
        })
    }

    fn eviction(&self) -> Option<Promise> {
        let policy =
            self.info.get("maxmemory_policy").map(String::as_str).or(self.setting("maxmemory-policy"));
        Some(match policy {
            Some("noeviction") => {
                Promise::Kept("it drops no keys when its memory is full (noeviction)".to_owned())
            }
            // Only keys with a time to live, of which none is a home's row.
            Some(policy) if policy.starts_with("volatile-") => Promise::Kept(format!(
                "it drops only keys that expire anyway when its memory is full ({policy})"
            )),
            Some(policy) => Promise::Broken(format!(
                "it drops any keys when its memory is full (maxmemory-policy {policy}): set `maxmemory-policy noeviction`"
            )),
            None => Promise::Remark("it does not say what it drops when its memory is full".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(changes: &[(&str, &str)]) -> Facts {
        let mut facts = Facts {
            info: Facts::of_info(
                "# Replication\r\nrole:master\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n",
            ),
            settings: BTreeMap::from([("appendfsync".to_owned(), "always".to_owned())]),
            waits_for_disk: Waits::Asked,
        };
        for (name, value) in changes {
            let of = if facts.info.contains_key(*name) || name.contains('_') {
                &mut facts.info
            } else {
                &mut facts.settings
            };
            of.insert((*name).to_owned(), (*value).to_owned());
        }
        facts
    }

    fn broken(facts: &Facts) -> Vec<String> {
        let broken = |promise| match promise {
            Promise::Broken(text) => Some(text),
            Promise::Kept(_) | Promise::Remark(_) => None,
        };
        facts.promises(Wanted::default()).into_iter().filter_map(broken).collect()
    }

    #[test]
    fn what_would_lose_acknowledged_writes_is_refused_with_the_line_to_change() {
        // What differs from a server that keeps all => what is said; nothing where it keeps all.
        let table = "
            maxmemory_policy=noeviction    =>
            maxmemory_policy=volatile-lru  =>
            appendfsync=everysec           =>
            aof_enabled=0                  => set `appendonly yes`
            appendfsync=no                 => set `appendfsync always`
            no-appendfsync-on-rewrite=yes  => set `no-appendfsync-on-rewrite no`
            maxmemory_policy=allkeys-lru   => set `maxmemory-policy noeviction`
            role=slave                     => let REDIS_URL name the primary
            cluster_enabled=1              => let REDIS_URL name several of its servers
        ";
        for case in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (change, expected) = case.split_once("=>").unwrap();
            let said = broken(&facts(&[change.trim().split_once('=').unwrap()]));
            match expected.trim() {
                "" => assert!(said.is_empty(), "{case}: {said:?}"),
                expected => assert!(said.len() == 1 && said[0].contains(expected), "{case}: {said:?}"),
            }
        }
    }

    #[test]
    fn each_server_of_a_cluster_is_named_and_a_slot_that_nobody_has_is_refused() {
        let facts = facts(&[("cluster_enabled", "1")]);
        let wanted = Wanted { is_cluster: true, is_watched: true, ..Wanted::default() };
        let said: Vec<String> =
            facts.promises(wanted).into_iter().map(|promise| promise.of("h:1").to_string()).collect();
        assert!(said.iter().all(|text| text.contains("  h:1: ") && !text.starts_with("refused")), "{said:?}");
        assert_eq!(Promise::of_slots(&[]).to_string(), "ok       each slot of the cluster has a server");
        let missing = Promise::of_slots(&[0..=9, 17..=17]).to_string();
        assert!(missing.starts_with("refused") && missing.contains("slots 0-9, 17-17"), "{missing}");
    }

    #[test]
    fn programs_are_told_the_same_words_as_people() {
        let promise = Promise::Broken("it lies".to_owned());
        let told = serde_json::to_value(&promise).unwrap();
        assert_eq!(told, serde_json::json!({ "state": "refused", "text": "it lies" }));
        assert_eq!(promise.to_string(), "refused  it lies");
    }

    #[test]
    fn an_accepted_loss_excuses_what_may_be_lost_and_nothing_else() {
        let said =
            |change| facts(&[change]).promises(Wanted { loss: Some(Units::new(40)), ..Wanted::default() });
        let is_broken = |promise: &Promise| matches!(promise, Promise::Broken(_));
        let without_log = said(("aof_enabled", "0"));
        assert!(!without_log.iter().any(is_broken));
        assert!(without_log.iter().any(|promise| promise.to_string().contains("40 units of each project")));
        assert!(said(("role", "slave")).iter().any(is_broken), "a replica takes no writes at all");
    }

    #[test]
    fn what_a_fail_over_may_cost_is_said_where_there_may_be_one() {
        let said = |replicas, is_watched, connected| {
            let facts = facts(&[("connected_slaves", connected)]);
            let wanted = Wanted { replicas, is_watched, ..Wanted::default() };
            let promises = facts.promises(wanted);
            promises.last().map(ToString::to_string).unwrap_or_default()
        };
        assert!(said(0, false, "0").contains("noeviction"), "nothing is said where nothing is asked");
        assert!(said(0, true, "2").contains("REDIS_REPLICAS=1"));
        assert!(said(2, true, "1").contains("nothing is acknowledged until they are there"));
        assert!(said(1, true, "2").starts_with("ok") && said(1, true, "2").contains("1 of 2 replicas"));
    }

    #[test]
    fn a_server_that_hides_its_settings_is_judged_by_whether_it_waits_for_its_disk() {
        let mut hidden = facts(&[]);
        hidden.settings.clear();
        assert!(broken(&hidden).is_empty());
        assert!(
            hidden
                .promises(Wanted::default())
                .iter()
                .any(|promise| promise.to_string().contains("CONFIG is not permitted"))
        );
        hidden.waits_for_disk = Waits::Unknown;
        assert!(broken(&hidden)[0].contains("+config|get"), "{:?}", broken(&hidden));
    }

    #[test]
    fn a_server_that_cannot_wait_for_its_disk_must_sync_before_it_answers() {
        let said = |changes: &[(&str, &str)], replicas, waits_for_disk| {
            let facts = Facts { waits_for_disk, ..facts(changes) };
            let promises = facts.promises(Wanted { replicas, ..Wanted::default() });
            promises.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let old = ("redis_version", "7.0.15");
        let always = said(&[old], 0, Waits::Unknown);
        assert!(!always.contains("refused") && always.contains("version 7.0.15 cannot be asked"), "{always}");
        for (setting, waits, expected) in [
            ("everysec", Waits::Unknown, "set `appendfsync always`, or use Redis 7.2"),
            ("no", Waits::Unknown, "set `appendfsync always`"),
            ("always", Waits::Forbidden, "+waitaof"),
        ] {
            let said = said(&[old, ("appendfsync", setting)], 0, waits);
            assert!(said.matches("refused").count() == 1 && said.contains(expected), "{said}");
        }
        let replicas = [old, ("connected_slaves", "2")];
        let refused = said(&replicas, 1, Waits::Unknown);
        assert!(refused.contains("refused  each write shall be on the disks of 1 replicas"), "{refused}");
        assert!(refused.contains("set REDIS_REPLICAS=0"), "{refused}");
        assert!(!said(&replicas, 1, Waits::Asked).contains("refused"));
    }

    #[test]
    fn only_what_passes_by_itself_is_waited_for() {
        let watched = Wanted { is_watched: true, ..Wanted::default() };
        assert_eq!(facts(&[]).unsettled(watched), None);
        assert_eq!(facts(&[("aof_enabled", "0")]).unsettled(watched), None, "somebody must set it");
        assert!(facts(&[("role", "slave")]).unsettled(watched).is_some());
        assert_eq!(
            facts(&[("role", "slave")]).unsettled(Wanted::default()),
            None,
            "nobody makes it a primary"
        );
        let loads = Facts { info: Facts::of_info("role:master\r\nloading:1\r\n"), ..Facts::default() };
        assert!(loads.unsettled(Wanted::default()).is_some());
    }
}
