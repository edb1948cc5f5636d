//! Keys and signatures: HMAC-SHA384 in lower-case hex (protocol notes, 3.1 and 4.2).

use super::out::Out;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha384;
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of a signature's hex text.
pub const SIGNATURE_SIZE: usize = 96;
/// Longest key id the venue gives, with room.
pub const KEY_ID_MAX: usize = 128;

/// A signature as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; SIGNATURE_SIZE]);

impl Signature {
    pub const fn as_bytes(&self) -> &[u8; SIGNATURE_SIZE] {
        &self.0
    }
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}
impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(…)")
    }
}

/// Why a key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The id is empty, longer than `KEY_ID_MAX` or not plain text.
    Id,
    /// The secret is empty.
    Secret,
}

/// An API key: its id in clear, its secret only as the state of the HMAC, expanded once. The state
/// is wiped when dropped; the secret given to `new` is the caller's to wipe.
#[derive(Clone)]
pub struct ApiKey {
    id: Zeroizing<String>,
    expanded: Hmac<Sha384>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

impl ApiKey {
    /// # Errors
    /// Where the id cannot stand in a header or the secret is empty.
    pub fn new(id: &str, secret: &[u8]) -> Result<Self, KeyError> {
        if id.is_empty() || id.len() > KEY_ID_MAX || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(KeyError::Id);
        }
        if secret.is_empty() {
            return Err(KeyError::Secret);
        }
        let expanded = Hmac::<Sha384>::new_from_slice(secret).map_err(|_| KeyError::Secret)?;
        Ok(Self { id: Zeroizing::new(id.to_owned()), expanded })
    }
    pub fn id(&self) -> &str {
        &self.id
    }
    fn sign(&self, parts: &[&[u8]]) -> Signature {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut mac = self.expanded.clone();
        for part in parts {
            mac.update(part);
        }
        let mut hex = [0u8; SIGNATURE_SIZE];
        for (place, byte) in hex.chunks_exact_mut(2).zip(mac.finalize().into_bytes()) {
            place[0] = HEX[(byte >> 4) as usize];
            place[1] = HEX[(byte & 15) as usize];
        }
        Signature(hex)
    }
    /// Of the payload `AUTH<nonce>`.
    pub fn sign_ws(&self, nonce: u64) -> Signature {
        let (digits, len) = decimal(nonce);
        self.sign(&[b"AUTH", &digits[..len]])
    }
    /// Of `/api/v2/<path><nonce><body>`; `path` is e.g. `auth/r/wallets`, `body` the very bytes
    /// sent.
    pub fn sign_rest(&self, path: &str, nonce: u64, body: &[u8]) -> Signature {
        let (digits, len) = decimal(nonce);
        self.sign(&[b"/api/v2/", path.as_bytes(), &digits[..len], body])
    }
}

fn decimal(value: u64) -> ([u8; 20], usize) {
    let mut digits = [0u8; 20];
    let mut out = Out::new(&mut digits);
    out.uint(value);
    let len = out.finish().unwrap_or(0);
    (digits, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str) -> ApiKey {
        ApiKey::new("id", secret.as_bytes()).unwrap()
    }

    /// Vectors S1 … S6 of the protocol notes, section 4.6.
    #[test]
    fn the_signature_vectors_are_met() {
        let go = key("apiSecret1");
        for (message, hex) in [
            (
                "AUTHnonce1",
                "6e7e3ab737bac9d36b6c3170356c9483edb0079cb65a2afa81efa9a6b906e0c3aeb16b574a44073dff4c0f604adbdd7d",
            ), // tidy-ok: a vector is one word
            (
                "AUTHnonce4",
                "3e424670c0fa4dcb293eea38b9fe62cca49cacc595da01a493d6b9328517a5c940b22141fecf16f653c2662b298238f4",
            ), // tidy-ok: a vector is one word
        ] {
            assert_eq!(go.sign(&[message.as_bytes()]).as_str(), hex);
        }
        let test = key("test-secret");
        let nonce = 1_700_000_000_000_000;
        assert_eq!(
            test.sign_ws(nonce).as_str(),
            "e2d52d5c363e7bd45570eac8e3c1e661c1113216e2a0e2699cf42e1d3df0e77b5f06f5bc283b66bf7f1e4e8967b6bec9"
        );
        assert_eq!(
            test.sign_rest("auth/r/wallets", nonce, b"{}").as_str(),
            "3a412ae5c5be49843ed7c301d32c86ec6fd14d50a14f554f004b6720a27be49f0c4ac3b9c4b0a604d77f198d8ba3833c"
        );
        assert_eq!(
            test.sign_rest("auth/r/wallets", nonce, b"").as_str(),
            "aca899f1a7fec34b9276c7a2c87c1e2be0a4fa563bc0e00d251903927290403d97edda59dd3fbe4349b9295ea627334f"
        );
        let body = br#"{"type":"EXCHANGE LIMIT","symbol":"tBTCUSD","price":"10000","amount":"0.1","cid":12345}"#;
        assert_eq!(
            test.sign_rest("auth/w/order/submit", nonce, body).as_str(),
            "0e0192f7604d410a40d801b92639b806b9acf0ca82ada3176f92ebc21e793952e5c971304ed0366936acba91cb0da70b"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?} {:?}", key("test-secret"), key("test-secret").sign_ws(1));
        assert_eq!(shown, "ApiKey(…) Signature(…)");
    }

    #[test]
    fn keys_that_cannot_be_are_refused() {
        assert_eq!(ApiKey::new("", b"x").unwrap_err(), KeyError::Id);
        assert_eq!(ApiKey::new("a b", b"x").unwrap_err(), KeyError::Id);
        assert_eq!(ApiKey::new("a\r\nb", b"x").unwrap_err(), KeyError::Id);
        assert_eq!(ApiKey::new("a", b"").unwrap_err(), KeyError::Secret);
    }
}
