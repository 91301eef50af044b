//! Tokens, signed for real. They are put together here, because no library makes wrong ones.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use ring::{error::Unspecified, hmac};
use serde_json::{Value, json};

use crate::people::{Given, Person};
use crate::{CLIENT_ID, CLIENT_SECRET, Said};

/// Made for this and used for nothing else; ring makes none.
const RSA: &str = include_str!("rsa.pkcs8.base64");

/// How long a token is good for.
const AGE_S: u64 = 300;

/// What it signs with.
pub(crate) struct Keys {
    rsa: RsaKeyPair,
    curve: EcdsaKeyPair,
    /// One that it does not publish.
    foreign: EcdsaKeyPair,
    random: SystemRandom,
}

impl Keys {
    pub(crate) fn new() -> io::Result<Self> {
        let random = SystemRandom::new();
        let text: String = RSA.split_whitespace().collect();
        let der = STANDARD.decode(text).map_err(refused)?;
        let rsa = RsaKeyPair::from_pkcs8(&der).map_err(refused)?;
        Ok(Self { rsa, curve: curve(&random)?, foreign: curve(&random)?, random })
    }

    /// What it publishes of them.
    pub(crate) fn published(&self) -> Value {
        let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        // A point that is not compressed: a byte that says so, and both coordinates.
        let (x, y) = self.curve.public_key().as_ref().get(1..).unwrap_or_default().split_at(32);
        json!({ "keys": [
            { "kty": "RSA", "use": "sig", "kid": "rsa-1", "alg": "RS256", "n": url(&n), "e": url(&e) },
            { "kty": "EC", "use": "sig", "kid": "curve-1", "alg": "ES256", "crv": "P-256", "x": url(x), "y": url(y) },
        ] })
    }

    /// A token about whom a code was given for.
    pub(crate) fn token(
        &self,
        given: &Given,
        said: Said,
        issuer: &str,
        now_s: u64,
    ) -> Result<String, Unspecified> {
        let mut claims = json!({
            "iss": if said == Said::OtherIssuer { "https://other.example.com" } else { issuer },
            "sub": given.person.subject,
            "aud": match said {
                Said::OtherAudience => json!("somebody-else"),
                Said::TwoAudiences => json!([CLIENT_ID, "somebody-else"]),
                _ => json!(CLIENT_ID),
            },
            "iat": now_s - AGE_S,
            "exp": if said == Said::Expired { now_s - 1 } else { now_s + AGE_S },
            "nonce": if said == Said::OtherNonce { "another" } else { &given.nonce },
        });
        if !matches!(said, Said::AddressApart | Said::PageOfAnother) {
            for (name, value) in about(&given.person) {
                claims[name] = value;
            }
        }
        let (alg, kid) = match said {
            Said::Unsigned => ("none", "rsa-1"),
            Said::Symmetric => ("HS256", "rsa-1"),
            Said::RightByCurve | Said::ForeignKey => ("ES256", "curve-1"),
            _ => ("RS256", "rsa-1"),
        };
        let header = json!({ "alg": alg, "typ": "JWT", "kid": kid });
        let text = format!("{}.{}", url(header.to_string().as_bytes()), url(claims.to_string().as_bytes()));
        let signature = self.sign(text.as_bytes(), said)?;
        if said == Said::Changed {
            claims["email"] = json!("root@example.com");
            return Ok(format!(
                "{}.{}.{}",
                url(header.to_string().as_bytes()),
                url(claims.to_string().as_bytes()),
                url(&signature)
            ));
        }
        Ok(format!("{text}.{}", url(&signature)))
    }

    fn sign(&self, text: &[u8], said: Said) -> Result<Vec<u8>, Unspecified> {
        match said {
            Said::Unsigned => Ok(Vec::new()),
            Said::Symmetric => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes());
                Ok(hmac::sign(&key, text).as_ref().to_vec())
            }
            Said::RightByCurve => Ok(self.curve.sign(&self.random, text)?.as_ref().to_vec()),
            Said::ForeignKey => Ok(self.foreign.sign(&self.random, text)?.as_ref().to_vec()),
            _ => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &self.random, text, &mut signature)?;
                Ok(signature)
            }
        }
    }
}

/// What is said of a person.
pub(crate) fn about(person: &Person) -> Vec<(&'static str, Value)> {
    let claims = [
        ("email", person.email.clone().map(Value::from)),
        ("email_verified", person.verified.map(Value::from)),
        ("name", person.name.clone().map(Value::from)),
    ];
    claims.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
}

fn curve(random: &SystemRandom) -> io::Result<EcdsaKeyPair> {
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, random).map_err(refused)?;
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), random).map_err(refused)
}

/// Ring says why without being an error of the standard library.
fn refused(why: impl std::fmt::Display) -> io::Error {
    io::Error::other(why.to_string())
}

fn url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
