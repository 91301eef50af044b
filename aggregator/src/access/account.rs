//! Accounts: people who sign in. What an e-mail address and a password may be is decided here.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use shared::ids::ProjectId;
use shared::time::Timestamp;

use super::{Role, Scope};

/// The longest e-mail address (RFC 5321 §4.5.3.1.3).
pub const EMAIL_CHARS_MAX: usize = 254;

/// The longest part before the `@` (RFC 5321 §4.5.3.1.1).
const LOCAL_CHARS_MAX: usize = 64;

/// What is accepted as an e-mail address, in words.
pub const EMAIL: &str = "an e-mail address such as ada@example.com, of at most 254 characters";

/// The shortest password: long enough that guessing at the rate that is let through is hopeless.
pub const PASSWORD_CHARS_MIN: usize = 12;

/// The longest password; longer ones are no safer and cost us time.
pub const PASSWORD_CHARS_MAX: usize = 200;

/// What is accepted as a password, in words.
pub const PASSWORD: &str = "12 to 200 characters";

/// An e-mail address in the one way in which it is stored and looked up.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Email(String);

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Addresses of people do not belong into logs.
        f.write_str("Email(…)")
    }
}

impl Email {
    /// Reads an address; letters are made small, because people type them as they like.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let (local, host) = text.rsplit_once('@')?;
        let is_plain = |part: &str| {
            !part.is_empty()
                && !part.contains(|c: char| {
                    c.is_whitespace() || crate::text::is_unseen(c) || "@,;<>\"\\".contains(c)
                })
        };
        let is_host = host.contains('.') && host.split('.').all(|label| !label.is_empty());
        let is_short = text.chars().count() <= EMAIL_CHARS_MAX && local.chars().count() <= LOCAL_CHARS_MAX;
        (is_plain(local) && is_plain(host) && is_host && is_short).then_some(Self(text))
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind the `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl<'de> Deserialize<'de> for Email {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(EMAIL))
    }
}

/// One account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Names the account.
    pub id: String,
    /// By which its person signs in.
    pub email: Email,
    /// What the person is called.
    pub name: String,
    /// Whether the person is one of those who run the meter.
    pub operator: bool,
    /// When it was made.
    pub created: Timestamp,
    /// When it was disabled: nobody signs in with it since.
    pub disabled: Option<Timestamp>,
}

/// What an account is in a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The project.
    pub project: ProjectId,
    /// The member's id there.
    pub member: String,
    /// As what.
    pub role: Role,
}

/// What a person reaches with a call that names a project, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// This, and as that member, where the person is one.
    Scope(Scope, Option<String>),
    /// Nothing: the person is no member of what was named.
    Elsewhere,
    /// It cannot be said: the call names no project, and the person has none or several.
    Unnamed,
}

/// What a person reaches who is a member of these projects.
#[must_use]
pub fn reached(operator: bool, memberships: &[Membership], named: Option<&str>) -> Reached {
    if operator {
        return Reached::Scope(Scope::Operator, None);
    }
    let found = match (named, memberships) {
        (Some(named), all) => all.iter().find(|one| one.project.as_str() == named),
        (None, [only]) => Some(only),
        (None, _) => return Reached::Unnamed,
    };
    match found {
        Some(Membership { project, member, role }) => {
            let scope = Scope::Project { project: project.clone(), role: *role };
            Reached::Scope(scope, Some(member.clone()))
        }
        None => Reached::Elsewhere,
    }
}

/// Whether a text may be a password.
#[must_use]
pub fn is_password(text: &str) -> bool {
    (PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&text.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_stored_in_one_way() {
        for (text, stored) in [
            ("ada@example.com", Some("ada@example.com")),
            (" Ada.L+x@Example.COM ", Some("ada.l+x@example.com")),
            ("zo\u{eb}@b\u{fc}ro.example", Some("zo\u{eb}@b\u{fc}ro.example")),
            ("ada", None),
            ("@example.com", None),
            ("ada@", None),
            ("ada@localhost", None),
            ("ada@example..com", None),
            ("a b@example.com", None),
            ("a@b@example.com", None),
            ("a\u{202e}@example.com", None),
            ("<a>@example.com", None),
        ] {
            assert_eq!(Email::parse(text).as_ref().map(Email::as_str), stored, "{text:?}");
        }
        assert!(Email::parse(&format!("{}@example.com", "a".repeat(64))).is_some());
        assert!(Email::parse(&format!("{}@example.com", "a".repeat(65))).is_none());
        assert_eq!(format!("{:?}", Email::parse("ada@example.com").unwrap()), "Email(…)");
    }

    #[test]
    fn passwords_are_counted_in_characters() {
        for (length, accepted) in [(11, false), (12, true), (200, true), (201, false)] {
            assert_eq!(is_password(&"\u{e4}".repeat(length)), accepted, "{length}");
        }
    }

    #[test]
    fn a_person_reaches_the_projects_that_the_person_is_a_member_of() {
        let member = |project: &str, role| Membership {
            project: ProjectId::parse(project).unwrap(),
            member: format!("m-{project}"),
            role,
        };
        let (one, two) = (member("one", Role::Viewer), member("two", Role::Owner));
        let in_one = || {
            let scope = Scope::Project { project: ProjectId::parse("one").unwrap(), role: Role::Viewer };
            Reached::Scope(scope, Some("m-one".to_owned()))
        };
        let both = [one.clone(), two];
        for (memberships, named, expected) in [
            (&both[..], Some("one"), in_one()),
            (&both[..1], None, in_one()),
            (&both[..], None, Reached::Unnamed),
            (&[], None, Reached::Unnamed),
            (&both[..1], Some("two"), Reached::Elsewhere),
            (&both[..], Some("three"), Reached::Elsewhere),
        ] {
            assert_eq!(reached(false, memberships, named), expected, "{memberships:?} {named:?}");
            assert_eq!(reached(true, memberships, named), Reached::Scope(Scope::Operator, None));
        }
    }
}
