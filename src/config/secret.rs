//! [`Secret`]: a text that cannot be printed.

use std::hash::{Hash, Hasher};
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// A password or a token: it is compared and hashed as the text that it is, and cannot be printed.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl ExposeSecret<str> for Secret {
    fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }
}

impl Secret {
    /// The end of a token: `exp` of a JSON Web Token (RFC 7519, section 4.1.4). Nothing else of it is read or verified.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        let parts: Vec<_> = self.expose_secret().splitn(4, '.').collect();
        let &[_, claims, _] = parts.as_slice() else { return None };
        let claims: Value = serde_json::from_slice(&base64url(claims)?).ok()?;
        let exp = Duration::try_from_secs_f64(claims.get("exp")?.as_f64()?).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(exp)
    }
}

/// The bytes of a text in base64 for URLs, without padding (RFC 4648, section 5).
fn base64url(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digit = |byte: u8| u32::try_from(DIGITS.iter().position(|&digit| digit == byte)?).ok();
    let digits = text.bytes().map(digit).collect::<Option<Vec<_>>>()?;
    let bytes = digits.chunks(4).flat_map(|chunk| {
        let bits = chunk.iter().zip([18, 12, 6, 0]).map(|(digit, shift)| digit << shift).sum::<u32>();
        bits.to_be_bytes().into_iter().skip(1).take(chunk.len() - 1)
    });
    Some(bytes.collect())
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose_secret() == other.expose_secret()
    }
}

impl Eq for Secret {}

impl Hash for Secret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expose_secret().hash(state);
    }
}

/// The text in the place of a hidden value.
pub(crate) const MASK: &str = "***";

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

    use super::*;

    #[test]
    fn secrets_are_equal_and_have_one_hash_if_their_texts_are_equal() {
        let secrets = ["one", "one", "another"].map(Secret::from);
        assert_eq!(secrets[0], secrets[1]);
        assert_ne!(secrets[0], secrets[2]);
        let hash = |secret: &Secret| BuildHasherDefault::<DefaultHasher>::default().hash_one(secret);
        assert_eq!(hash(&secrets[0]), hash(&secrets[1]));
        assert_ne!(hash(&secrets[0]), hash(&secrets[2]));
    }

    #[test]
    fn only_a_token_with_exp_ends() {
        // The claims in base64: {"sub":"canary","exp":1767225600}, {"exp":1e300}, {"exp":"soon"} and {"sub":"canary"}.
        for (password, expected) in [
            ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJjYW5hcnkiLCJleHAiOjE3NjcyMjU2MDB9.c2ln", Some(1_767_225_600)),
            // {"exp":176722560} and {"exp":17672256}, whose last digits are of two bytes and of one.
            ("eyJhbGciOiJub25lIn0.eyJleHAiOjE3NjcyMjU2MH0.c2ln", Some(176_722_560)),
            ("eyJhbGciOiJub25lIn0.eyJleHAiOjE3NjcyMjU2fQ.c2ln", Some(17_672_256)),
            ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJjYW5hcnkiLCJleHAiOjE3NjcyMjU2MDB9", None),
            ("a.eyJzdWIiOiJjYW5hcnkiLCJleHAiOjE3NjcyMjU2MDB9.b.c", None),
            ("eyJhbGciOiJub25lIn0.eyJleHAiOjFlMzAwfQ.c2ln", None),
            ("eyJhbGciOiJub25lIn0.eyJleHAiOiJzb29uIn0.c2ln", None),
            ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJjYW5hcnkifQ.c2ln", None),
            ("a.b.c", None),
            ("..", None),
            ("correct horse battery staple", None),
        ] {
            let expected = expected.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(Secret::from(password).expires(), expected, "{password}");
        }
    }
}
