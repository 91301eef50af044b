//! People whom an identity provider has proven and whom nobody here knows: where, if anywhere, they become members.

use shared::ids::ProjectId;

use super::Role;
use super::account::Email;

/// Who somebody is, as an identity provider has proven it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The provider.
    pub issuer: String,
    /// Names the person there, for ever.
    pub subject: String,
    /// The person's address, which the provider has verified.
    pub email: Email,
    /// What the person is called there, if it says so.
    pub name: Option<String>,
}

/// People of one domain become members of one project when they first come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    domain: String,
    /// Of which project.
    pub project: ProjectId,
    /// As what.
    pub role: Role,
}

/// What is accepted as admissions, in words.
pub const ADMISSIONS: &str =
    "<domain>:<project>:<role>, several separated by commas, such as example.com:acme:viewer";

impl Admission {
    /// Reads admissions that are separated by commas.
    ///
    /// # Errors
    /// Says what is accepted.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let refused = |part: &str| format!("got {part:?}, accepted is {ADMISSIONS}");
        parts.map(|part| Self::parse(part).ok_or_else(|| refused(part))).collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(':');
        let (domain, project, role) = (words.next()?, words.next()?, words.next()?);
        // A domain is what an address may have behind its @.
        let domain = Email::parse(&format!("a@{domain}"))?.domain().to_owned();
        let (project, role) = (ProjectId::parse(project).ok()?, Role::parse(role)?);
        words.next().is_none().then_some(Self { domain, project, role })
    }

    /// Where somebody of that address becomes a member: the domain is the whole domain, so that those below it, which
    /// others may own, are not meant.
    #[must_use]
    pub fn of<'a>(all: &'a [Self], email: &Email) -> Option<&'a Self> {
        all.iter().find(|one| one.domain == email.domain())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_admitted_whole_and_alone() {
        let all = Admission::parse_all("Example.com:acme:viewer, b.example:other:admin").unwrap();
        for (email, project) in [
            ("ada@example.com", Some("acme")),
            ("ADA@EXAMPLE.COM", Some("acme")),
            ("ada@b.example", Some("other")),
            ("ada@evil.example.com", None),
            ("ada@notexample.com", None),
            ("ada@example.com.evil.net", None),
        ] {
            let email = Email::parse(email).unwrap();
            let found = Admission::of(&all, &email).map(|one| one.project.as_str());
            assert_eq!(found, project, "{}", email.as_str());
        }
        assert_eq!(Admission::parse_all(""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_admission_is_refused() {
        for text in [
            "example.com",
            "example.com:acme",
            "example.com:acme:king",
            "a@b.c:acme:viewer",
            ":a:viewer",
            "example.com:acme:viewer:more",
            "com:acme:viewer",
        ] {
            assert!(Admission::parse_all(text).unwrap_err().contains("accepted is"), "{text}");
        }
    }
}
