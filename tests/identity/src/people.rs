//! Who comes, what is said of it, and codes that were given.

use std::collections::BTreeMap;

use crate::{CLIENT_ID, Provider};

/// Somebody with an account at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Names the person for ever.
    pub subject: String,
    /// The person's address, if the provider knows one.
    pub email: Option<String>,
    /// Whether it is verified, if the provider says anything of that.
    pub verified: Option<bool>,
    /// What the person is called.
    pub name: Option<String>,
}

impl Person {
    /// Somebody whose address is verified.
    #[must_use]
    pub fn of(subject: &str, email: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            email: Some(email.to_owned()),
            verified: Some(true),
            name: Some("Ada Lovelace".to_owned()),
        }
    }
}

impl Default for Person {
    fn default() -> Self {
        Self::of("subject-1", "ada@example.com")
    }
}

/// How its tokens are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Said {
    /// Right, by RS256.
    #[default]
    Right,
    /// Right, by ES256.
    RightByCurve,
    /// Right, with the address on its page about the person alone.
    AddressApart,
    /// That page is about somebody else.
    PageOfAnother,
    /// For another client.
    OtherAudience,
    /// For us and somebody else.
    TwoAudiences,
    /// Over since a second.
    Expired,
    /// Of another sign-in.
    OtherNonce,
    /// Of another provider.
    OtherIssuer,
    /// Signed by nobody.
    Unsigned,
    /// By HMAC with the client's secret.
    Symmetric,
    /// Signed by a key that it does not publish.
    ForeignKey,
    /// Something was changed after it was signed.
    Changed,
    /// Without an ID token.
    NoToken,
    /// It says in its document that it is somebody else.
    OtherName,
    /// It is broken.
    Broken,
}

/// What a code was given for.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) back: String,
    pub(crate) challenge: String,
    pub(crate) nonce: String,
    pub(crate) person: Person,
}

/// What it remembers.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) person: Person,
    pub(crate) said: Said,
    pub(crate) codes: BTreeMap<String, Given>,
    /// Whoever has such a token may see the page about its person.
    pub(crate) tokens: BTreeMap<String, Person>,
    pub(crate) exchanges: usize,
    given: usize,
}

impl Provider {
    /// Gives a code, if what is asked for is what the protocol wants.
    pub(crate) fn authorize(&self, query: &str) -> Option<String> {
        let asked: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let get = |name: &str| asked.get(name).cloned();
        let scopes = get("scope")?;
        let is_right = get("response_type")? == "code"
            && get("client_id")? == CLIENT_ID
            && get("code_challenge_method")? == "S256"
            && ["openid", "email"].iter().all(|scope| scopes.split(' ').any(|one| one == *scope));
        if !is_right {
            return None;
        }
        let (back, state) = (get("redirect_uri")?, get("state")?);
        let mut kept = self.state();
        kept.given += 1;
        let code = format!("code-{}", kept.given);
        let person = kept.person.clone();
        let given =
            Given { back: back.clone(), challenge: get("code_challenge")?, nonce: get("nonce")?, person };
        kept.codes.insert(code.clone(), given);
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("code", &code)
            .append_pair("state", &state)
            .finish();
        Some(format!("{back}?{query}"))
    }
}
